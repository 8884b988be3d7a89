"""The images of one run as tensors in memory, and the batches of an epoch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor

from eqviz.data.images import LabelledImages, Normalisation
from eqviz.data.registry import load_images
from eqviz.errors import EqvizError
from eqviz.studies.augmentation import crop_randomly, flip_randomly, turn_by_quarters, turn_normally, turn_uniformly
from eqviz.studies.recipes import RunSpec
from eqviz.studies.settings import TrainingSettings
from eqviz.studies.streams import stream


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Normalised images and their labels, to train on and to watch; in the uniform regime already turned.

    `fingerprint` is that of the training images, before any of this.
    """

    images: Float[Tensor, "n channel height width"]
    labels: Int64[Tensor, " n"]
    monitor_images: Float[Tensor, "m channel height width"]
    monitor_labels: Int64[Tensor, " m"]
    classes: int
    normalisation: Normalisation
    fingerprint: str

    def batches(self, settings: TrainingSettings, seed: int, epoch: int) -> "Batches":
        """The batches of one epoch of the run with this seed."""
        channels = self.images.shape[1]
        black = self.normalisation.apply(torch.zeros(1, channels, 1, 1)).flatten()
        return Batches(self.images, self.labels, settings, seed, epoch, black)


def prepare(spec: RunSpec) -> TrainingData:
    """The data of one run at its input size. Raises EqvizError for data that cannot be read or do not fit together.

    Uniform rotation comes before normalisation (black corners), by one angle an image for the whole run.
    """
    monitored = min(spec.training.monitor_images, spec.data.test_limit or spec.training.monitor_images)
    train = _load(spec, spec.data.train_split, spec.data.train_limit)
    test = _load(spec, spec.data.test_split, monitored)
    if train.classes != test.classes or train.images.shape[1:] != test.images.shape[1:]:
        raise EqvizError(
            f"data {spec.data.source}", expected="train and test images of the same classes and channels",
            found=f"{train!r} and {test!r}", fix="check both splits",
        )  # fmt: skip
    normalisation = spec.variant.normalisation or Normalisation.of(train)
    images = torch.from_numpy(train.images)
    if spec.training.rotation.kind == "uniform":
        images = turn_uniformly(images, stream(spec.seed, "uniform rotation"))
    return TrainingData(
        images=normalisation.apply(images),
        labels=torch.from_numpy(train.labels),
        monitor_images=normalisation.apply(torch.from_numpy(test.images)),
        monitor_labels=torch.from_numpy(test.labels),
        classes=len(train.classes),
        normalisation=normalisation,
        fingerprint=train.fingerprint(),
    )


def _load(spec: RunSpec, split: str, limit: int | None) -> LabelledImages:
    data = spec.data
    root = None if data.root is None else Path(data.root).expanduser()
    return load_images(data.source, split, size=spec.input_size, limit=limit, seed=data.seed, root=root)


@dataclass(frozen=True, eq=False)
class Batches:
    """The batches of one epoch, (images, labels), shuffled and turned by the run's streams.

    A last batch of a single image joins the one before it: batch norm cannot learn from one image. `black` is black
    after normalisation.

    >>> images, settings = torch.zeros(9, 1, 4, 4), TrainingSettings(1, batch_size=4)
    >>> batches = Batches(images, torch.arange(9), settings, seed=0, epoch=1, black=torch.zeros(1))
    >>> len(batches), [len(labels) for images, labels in batches]
    (2, [4, 5])
    """

    images: Float[Tensor, "n channel height width"]
    labels: Int64[Tensor, " n"]
    settings: TrainingSettings
    seed: int
    epoch: int
    black: Float[Tensor, " channel"]

    def __len__(self) -> int:
        n, size = len(self.images), self.settings.batch_size
        return n // size + (n % size > 1 or n == 1)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        n, size = len(self.images), self.settings.batch_size
        order = torch.randperm(n, generator=stream(self.seed, "shuffling", self.epoch))
        turn = augmentation(self.settings, self.black, stream(self.seed, "augmentation", self.epoch))
        for place in range(len(self)):
            rows = order[place * size : n if place == len(self) - 1 else (place + 1) * size]
            yield turn(self.images[rows]), self.labels[rows]


def augmentation(
    settings: TrainingSettings, black: Float[Tensor, " channel"], generator: Generator
) -> Callable[[Tensor], Tensor]:
    """What happens to each batch of normalised images: crops, flips, one angle, quarter turns, or nothing."""
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
