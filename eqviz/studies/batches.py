"""The batches of one epoch: which images in which order, on which device, and what augmentation makes of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor

from eqviz.data.images import Normalisation
from eqviz.studies.augmentation import crop_randomly, flip_randomly, turn_by_quarters, turn_normally
from eqviz.studies.settings import TrainingSettings
from eqviz.studies.streams import stream

Batch = tuple[Tensor, Tensor]
"""Normalised images (n, channel, height, width) and their labels (n,)."""


@dataclass(frozen=True)
class Share:
    """The part of every batch that one of `of` devices takes: the `rank`-th, from 0."""

    rank: int = 0
    of: int = 1


WHOLE = Share()


@dataclass(frozen=True, eq=False)
class TrainingData(ABC):
    """What a network is trained on, and normalised test images to watch meanwhile.

    `fingerprint` is that of the training images, before anything is done to them.
    """

    monitor_images: Float[Tensor, "m channel height width"]
    monitor_labels: Int64[Tensor, " m"]
    classes: int
    normalisation: Normalisation
    fingerprint: str

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Channels, height and width of an image."""
        return tuple(self.monitor_images.shape[1:])

    @property
    @abstractmethod
    def count(self) -> int:
        """The number of training images."""

    @abstractmethod
    def load(self, batches: Sequence[Tensor], seed: int, epoch: int) -> Iterator[Batch]:
        """The images of these rows, batch by batch, normalised; in the uniform regime already turned."""

    def batches(self, settings: TrainingSettings, seed: int, epoch: int, share: Share = WHOLE) -> "Batches":
        """The batches of one epoch of the run with this seed."""
        return Batches(self, settings, seed, epoch, share)


@dataclass(frozen=True, eq=False)
class Batches:
    """The batches of one epoch, (images, labels), shuffled and turned by the run's streams.

    A last batch of a single image joins the one before it: batch norm cannot learn from one image. Several devices
    share every batch in equal parts of at least two images; what cannot be shared so is left out of the epoch.
    """

    data: TrainingData
    settings: TrainingSettings
    seed: int
    epoch: int
    share: Share = WHOLE

    def __len__(self) -> int:
        n, size, of = self.data.count, self.settings.batch_size, self.share.of
        if of > 1:
            return n // size + (n % size >= 2 * of)
        return n // size + (n % size > 1 or n == 1)

    def __iter__(self) -> Iterator[Batch]:
        channels = self.data.image_shape[0]
        black = self.data.normalisation.apply(torch.zeros(1, channels, 1, 1)).flatten()
        augment = augmentation(self.settings, black, stream(self.seed, self._purpose, self.epoch))
        for images, labels in self.data.load(list(self._rows()), self.seed, self.epoch):
            yield augment(images), labels

    @property
    def _purpose(self) -> str:
        return "augmentation" if self.share.of == 1 else f"augmentation of part {self.share.rank}"

    def _rows(self) -> Iterator[Int64[Tensor, " rows"]]:
        n, size, of = self.data.count, self.settings.batch_size, self.share.of
        order = torch.randperm(n, generator=stream(self.seed, "shuffling", self.epoch))
        for place in range(len(self)):
            end = n if of == 1 and place == len(self) - 1 else (place + 1) * size
            rows = order[place * size : end]
            yield rows[: len(rows) // of * of][self.share.rank :: of]


def augmentation(
    settings: TrainingSettings, black: Float[Tensor, " channel"], generator: Generator
) -> Callable[[Tensor], Tensor]:
    """What happens to each batch of normalised images: crops, flips, one angle, quarter turns, or nothing.

    `black` is black after normalisation.
    """
    steps: list[Callable[[Tensor], Tensor]] = []
    if settings.crop:
        steps.append(partial(crop_randomly, padding=settings.crop, fill=black, generator=generator))
    if settings.mirror:
        steps.append(partial(flip_randomly, generator=generator))
    if settings.rotation.kind == "normal":
        steps.append(
            partial(turn_normally, mean=settings.rotation.mean, std=settings.rotation.std, generator=generator)
        )
    if settings.quarter_turns:
        steps.append(partial(turn_by_quarters, generator=generator))

    def augmented(images: Tensor) -> Tensor:
        for step in steps:
            images = step(images)
        return images

    return augmented
