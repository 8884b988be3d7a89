"""The images of one run: as tensors in memory, or in their files, from which every epoch reads them anew."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from eqviz.data.crops import random_resized_crop
from eqviz.data.images import LabelledImages, Normalisation
from eqviz.data.picture_files import PictureFiles
from eqviz.data.registry import PICTURE_FILES, load_images, open_pictures
from eqviz.errors import EqvizError
from eqviz.fields.grid_action import rotate_each
from eqviz.studies.augmentation import turn_uniformly
from eqviz.studies.batches import Batch, TrainingData
from eqviz.studies.recipes import RunSpec
from eqviz.studies.settings import DataSettings
from eqviz.studies.streams import stream

_FOR_NORMALISATION = 1000
"""Pictures that the normalisation of a data set in files is computed from, where the recipe gives none."""


@final
@dataclass(frozen=True, eq=False)
class TensorData(TrainingData):
    """Training images in memory, normalised; in the uniform regime already turned."""

    images: Float[Tensor, "n channel height width"]
    labels: Int64[Tensor, " n"]

    @property
    def count(self) -> int:
        """The number of training images."""
        return len(self.labels)

    def load(self, batches: Sequence[Tensor], seed: int, epoch: int) -> Iterator[Batch]:
        """The images of these rows, batch by batch."""
        for rows in batches:
            yield self.images[rows], self.labels[rows]


@final
@dataclass(frozen=True, eq=False)
class StreamedData(TrainingData):
    """Training pictures in their files: each is a random resized crop, drawn anew in every epoch.

    `angles` are those of the uniform regime in degrees, one a picture, or None. `workers` processes read ahead.
    """

    files: PictureFiles
    angles: Float[Tensor, " n"] | None
    workers: int

    @property
    def count(self) -> int:
        """The number of training images."""
        return len(self.files)

    def load(self, batches: Sequence[Tensor], seed: int, epoch: int) -> Iterator[Batch]:
        """The pictures of these rows, batch by batch; a crop depends on seed, epoch and picture, not on the reader."""
        crops = _Crops(self.files, self.normalisation, self.angles, seed, epoch)
        wanted: Any = [rows.tolist() for rows in batches]
        yield from DataLoader(crops, batch_sampler=wanted, num_workers=self.workers)


@dataclass(frozen=True, eq=False)
class _Crops(Dataset[Batch]):
    """One random crop of every picture, normalised, and its label."""

    files: PictureFiles
    normalisation: Normalisation
    angles: Tensor | None
    seed: int
    epoch: int

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Batch:
        generator = stream(self.seed, f"crop of picture {index}", self.epoch)
        crop = torch.from_numpy(random_resized_crop(self.files.decode(index), self.files.size, generator))[None]
        if self.angles is not None:
            crop = rotate_each(crop, self.angles[index : index + 1])
        return self.normalisation.apply(crop)[0], torch.tensor(int(self.files.labels[index]))


def prepare(spec: RunSpec, workers: int = 0) -> TrainingData:
    """The data of one run at its input size; `workers` processes read pictures that memory cannot hold.

    Uniform rotation comes before normalisation (black corners), by one angle an image for the whole run. Raises
    EqvizError for data that cannot be read or do not fit together.
    """
    monitored = min(spec.training.monitor_images, spec.data.test_limit or spec.training.monitor_images)
    test = _load(spec, spec.data.test_split, monitored)
    if spec.data.stream or spec.data.source in PICTURE_FILES:
        return _in_files(spec, test, workers)
    train = _load(spec, spec.data.train_split, spec.data.train_limit)
    _check_alike(spec, train, train.images.shape[1:], test)
    normalisation = spec.variant.normalisation or Normalisation.of(train)
    images = torch.from_numpy(train.images)
    if spec.training.rotation.kind == "uniform":
        images = turn_uniformly(images, stream(spec.seed, "uniform rotation"))
    return TensorData(
        *_watched(test, normalisation),
        len(train.classes),
        normalisation,
        train.fingerprint(),
        images=normalisation.apply(images),
        labels=torch.from_numpy(train.labels),
    )


def _in_files(spec: RunSpec, test: LabelledImages, workers: int) -> StreamedData:
    data = spec.data
    files = open_pictures(data.source, data.train_split, size=spec.input_size, root=_root(data))
    if data.train_limit is not None:
        files = files.take(data.train_limit, data.seed)
    files = replace(files, channels=data.channels or files.channels)
    _check_alike(spec, files, (files.channels, *files.size), test)
    normalisation = spec.variant.normalisation or Normalisation.of(files.take(_FOR_NORMALISATION).load())
    angles = None
    if spec.training.rotation.kind == "uniform":
        generator = stream(spec.seed, "uniform rotation")
        angles = 360 * torch.rand(len(files), generator=generator, dtype=torch.float64)
    return StreamedData(
        *_watched(test, normalisation),
        len(files.classes),
        normalisation,
        files.fingerprint(),
        files=files,
        angles=angles,
        workers=workers,
    )


def _watched(test: LabelledImages, normalisation: Normalisation) -> tuple[Tensor, Tensor]:
    return normalisation.apply(torch.from_numpy(test.images)), torch.from_numpy(test.labels)


def _check_alike(
    spec: RunSpec, train: LabelledImages | PictureFiles, shape: tuple[int, ...], test: LabelledImages
) -> None:
    if train.classes != test.classes or tuple(shape) != test.images.shape[1:]:
        raise EqvizError(
            f"data {spec.data.source}", expected="train and test images of the same classes and channels",
            found=f"{train!r} and {test!r}", fix="check both splits",
        )  # fmt: skip


def _load(spec: RunSpec, split: str, limit: int | None) -> LabelledImages:
    data = spec.data
    return load_images(
        data.source, split, size=spec.input_size, limit=limit, seed=data.seed, root=_root(data), channels=data.channels
    )


def _root(data: DataSettings) -> Path | None:
    return None if data.root is None else Path(data.root).expanduser()
