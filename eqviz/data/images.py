"""Labelled images in memory, and the normalisation that a network was trained with."""

import hashlib
import json
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64

from eqviz.data.resize import resize
from eqviz.data.splits import check_split
from eqviz.errors import EqvizError

UNLABELLED = "unlabelled"
"""The one class of images without labels."""

CHANNELS = (1, 3)
"""How many channels images can be given: grey or colour."""

_FLAT = 1e-6
"""A channel whose standard deviation (on the scale 0..1) is below this counts as constant."""


@dataclass(frozen=True, eq=False, repr=False)
class LabelledImages:
    """Images with one class each.

    `images` is float32 of shape (n, channel, height, width) with values 0..1; `labels` is int64 of shape (n,) and
    indexes `classes`; `split` is 'train' or 'test'. Raises EqvizError, in one line, for anything else.

    >>> pixels = np.zeros((2, 1, 8, 8), np.float32)
    >>> LabelledImages("blank", "test", pixels, np.array([0, 1]), ("a", "b"))
    LabelledImages('blank', 'test': 2 images of 1x8x8, 2 classes)
    """

    name: str
    split: str
    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        check_split(self.split)
        _check_images(self.name, self.images)
        check_labels(self.name, self.labels, len(self.images), self.classes)

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.images.shape[1:]))
        return (
            f"LabelledImages({self.name!r}, {self.split!r}: {len(self)} images of {shape}, {len(self.classes)} classes)"
        )

    def take(self, n: int, seed: int = 0) -> "LabelledImages":
        """A random subset of `n` images with classes as equal as they can be, in the order they have here.

        The same `seed` gives the same subset, and a larger `n` only adds to it; `n >= len` gives everything. Raises
        EqvizError for `n < 1`.

        >>> from eqviz.data.digits import load_digits
        >>> np.bincount(load_digits("test").take(30).labels).tolist()
        [3, 3, 3, 3, 3, 3, 3, 3, 3, 3]
        """
        if n >= len(self):
            return self
        rows = balanced_choice(self.labels, n, seed)
        return replace(self, images=self.images[rows], labels=self.labels[rows])

    def resized(self, size: tuple[int, int]) -> "LabelledImages":
        """The same images at `size` (height, width) in pixels, bilinearly, antialiased where they shrink.

        Raises EqvizError for a size that is not two numbers >= 1.

        >>> from eqviz.data.digits import load_digits
        >>> load_digits("test").resized((20, 24)).images.shape
        (597, 1, 20, 24)
        """
        if tuple(size) == self.images.shape[2:]:
            return self
        return replace(self, images=resize(self.images, size))

    def with_channels(self, channels: int) -> "LabelledImages":
        """The same images in grey (1: the mean of the channels) or in colour (3: grey repeated).

        Raises EqvizError for other numbers, and for images that are neither grey nor in colour.

        >>> from eqviz.data.digits import load_digits
        >>> load_digits("test").with_channels(3).images.shape
        (597, 3, 16, 16)
        """
        own = self.images.shape[1]
        if channels == own:
            return self
        if channels not in CHANNELS or own not in CHANNELS:
            raise EqvizError(
                f"channels of {self.name}", expected="1 (grey) or 3 (colour), of images that have 1 or 3",
                found=f"{channels} of images that have {own}", fix="leave `channels` out, or change the images",
            )  # fmt: skip
        given = self.images.mean(1, keepdims=True) if channels == 1 else np.repeat(self.images, channels, axis=1)
        return replace(self, images=np.clip(given, 0, 1))  # a mean may round to more than 1

    def without_labels(self) -> "LabelledImages":
        """The same images, all of the one class `unlabelled`."""
        return replace(self, labels=np.zeros(len(self), np.int64), classes=(UNLABELLED,))

    def fingerprint(self) -> str:
        """SHA-256 (64 hexadecimal digits) of the pixels, labels, class names, name and split: a key for caches.

        >>> from eqviz.data.digits import load_digits
        >>> load_digits("test").fingerprint() == load_digits("test").fingerprint()
        True
        """
        head = [self.name, self.split, list(self.classes), list(self.images.shape)]
        digest = hashlib.sha256(json.dumps(head).encode())
        digest.update(np.ascontiguousarray(self.labels, "<i8").data)
        digest.update(np.ascontiguousarray(self.images, "<f4").data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Normalisation:
    """Per-channel mean and standard deviation of pixels, on the scale 0..1.

    Raises EqvizError unless both have one finite number a channel and every standard deviation is above 0.

    >>> Normalisation((0.1307,), (0.3081,)).apply(torch.full((1, 1, 2, 2), 0.1307)).abs().max().item()
    0.0
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        finite = all(math.isfinite(value) for value in (*self.mean, *self.std))
        if not self.mean or len(self.mean) != len(self.std) or not finite or min(self.std) <= 0:
            raise EqvizError(
                "normalisation", expected="a finite mean and a std above 0 for each channel",
                found=f"mean {self.mean}, std {self.std}", fix="use Normalisation.of(images)",
            )  # fmt: skip

    @classmethod
    def of(cls, images: LabelledImages | Float32[np.ndarray, "n channel height width"]) -> "Normalisation":
        """Mean and standard deviation over all pixels of each channel, summed in float64.

        A constant channel has standard deviation 1, so that normalising it gives zeros. Raises EqvizError for arrays
        that are not (n, channel, height, width) or are empty.

        >>> from eqviz.data.digits import load_digits
        >>> [round(value, 3) for value in Normalisation.of(load_digits("train")).std]
        [0.319]
        """
        pixels = images.images if isinstance(images, LabelledImages) else images
        _check_images("normalisation", pixels)
        mean = pixels.mean(axis=(0, 2, 3), dtype=np.float64)
        centre = mean[:, None, None]
        squares = np.zeros(len(mean))
        for image in pixels:
            squares += ((image - centre) ** 2).sum(axis=(1, 2))
        std = np.sqrt(squares / (pixels.size / len(mean)))
        return cls(tuple(mean.tolist()), tuple(np.where(std < _FLAT, 1.0, std).tolist()))

    def apply(
        self, images: Float[torch.Tensor, "batch channel height width"]
    ) -> Float[torch.Tensor, "batch channel height width"]:
        """`(images - mean) / std` by channel, in the dtype and on the device of `images` (values 0..1).

        Raises EqvizError when the number of channels differs.

        >>> Normalisation((0.5,), (0.25,)).apply(torch.ones(1, 1, 1, 1)).item()
        2.0
        """
        if images.ndim != 4 or images.shape[1] != len(self.mean):
            raise EqvizError(
                "normalisation", expected=f"images of {len(self.mean)} channels (batch, channel, height, width)",
                found=f"shape {tuple(images.shape)}", fix="use the normalisation of the same data",
            )  # fmt: skip
        mean, std = (images.new_tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std))
        return (images - mean) / std


def balanced_choice(labels: Int64[np.ndarray, " n"], n: int, seed: int = 0) -> Int64[np.ndarray, " chosen"]:
    """Indices of `n` random samples, ascending, taken from the classes in turn until a class has no more.

    The choice for a smaller `n` is part of the choice for a larger one. Raises EqvizError for `n < 1`.

    >>> balanced_choice(np.array([0, 0, 0, 0, 1, 1]), 4).tolist()
    [2, 3, 4, 5]
    """
    if n < 1:
        raise EqvizError("limit", expected="a number of images of at least 1", found=str(n), fix="give 1 or more")
    order = np.random.default_rng(seed).permutation(len(labels))
    turn = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        turn[members] = np.arange(len(members))
    first = order[np.argsort(turn[order], kind="stable")]
    return np.sort(first[:n])


def _check_images(name: str, images: np.ndarray) -> None:
    found = _images_fault(images)
    if found:
        raise EqvizError(
            f"images of {name}", expected="float32 (n, channel, height, width) with values 0..1", found=found,
            fix="convert the pixels (bytes are divided by 255)",
        )  # fmt: skip


def _images_fault(images: np.ndarray) -> str:
    if not isinstance(images, np.ndarray):
        return type(images).__name__
    if images.dtype != np.float32 or images.ndim != 4:
        return f"{images.dtype} of shape {images.shape}"
    if images.size == 0:
        return f"no pixels (shape {images.shape})"
    low, high = images.min(), images.max()
    return "" if low >= 0 and high <= 1 else f"values {low:.4g}..{high:.4g}"


def check_labels(name: str, labels: np.ndarray, n: int, classes: tuple[str, ...]) -> None:
    """Raises EqvizError unless `labels` is int64 of shape (n,) and indexes `classes`, a tuple of names.

    >>> check_labels("two", np.array([0, 1]), 2, ("a", "b"))
    """
    found = _labels_fault(labels, n, len(classes))
    if not isinstance(classes, tuple) or not all(isinstance(title, str) for title in classes):
        found = "class names that are not a tuple of text"
    if found:
        raise EqvizError(
            f"labels of {name}", expected=f"int64 (n,) below {len(classes)}, one for each of {n} images", found=found,
            fix="number the classes from 0, in the order of their names",
        )  # fmt: skip


def _labels_fault(labels: np.ndarray, n: int, n_classes: int) -> str:
    if not isinstance(labels, np.ndarray):
        return type(labels).__name__
    if labels.dtype != np.int64 or labels.shape != (n,):
        return f"{labels.dtype} of shape {labels.shape}"
    low, high = labels.min(), labels.max()
    return "" if low >= 0 and high < n_classes else f"labels {low}..{high}"
