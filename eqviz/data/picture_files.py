"""Labelled pictures that stay in their files until they are asked for, for data sets that memory cannot hold."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from eqviz.data.crops import centre_crop
from eqviz.data.images import LabelledImages, balanced_choice, check_labels
from eqviz.data.pictures import read_picture
from eqviz.data.resize import blank, check_size, resize
from eqviz.data.splits import check_split
from eqviz.errors import EqvizError


@dataclass(frozen=True, eq=False, repr=False)
class PictureFiles:
    """Picture files with one class each; nothing is opened before `decode`, `read` or `load`.

    `paths` are relative to `root`; `labels` is int64 (n,) and indexes `classes`; `channels` is 1 or 3; `size` is the
    (height, width) that pictures are read at: the centre crop, or the whole picture out of proportion if `stretched`.
    Raises EqvizError, in one line, for anything else, and for no pictures at all.

    >>> files = PictureFiles("two", "test", Path("data"), ("a/1.png", "b/2.png"), np.array([0, 1]), ("a", "b"))
    >>> files, len(files)
    (PictureFiles('two', 'test': 2 pictures read at 3x224x224, 2 classes), 2)
    """

    name: str
    split: str
    root: Path
    paths: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    channels: int = 3
    size: tuple[int, int] = (224, 224)
    stretched: bool = False

    def __post_init__(self) -> None:
        check_split(self.split)
        check_size(self.size)
        if not self.paths or self.channels not in (1, 3):
            raise EqvizError(
                f"pictures of {self.name}", expected="one or more of 1 or 3 channels",
                found=f"{len(self.paths)} of {self.channels}", fix="check the folder",
            )  # fmt: skip
        check_labels(self.name, self.labels, len(self.paths), self.classes)

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        shape = "x".join(map(str, (self.channels, *self.size)))
        return (
            f"PictureFiles({self.name!r}, {self.split!r}: {len(self)} pictures read at {shape}, "
            f"{len(self.classes)} classes)"
        )

    def decode(self, index: int) -> Float32[np.ndarray, "channel height width"]:
        """The picture as it is in its file, values 0..1. Raises EqvizError, naming the file, if it cannot be read.

        A random crop of it to train on is :func:`eqviz.data.crops.random_resized_crop`.
        """
        return read_picture(self.root / self.paths[index], self.channels)

    def read(self, index: int) -> Float32[np.ndarray, "channel height width"]:
        """The picture at `size`, values 0..1, as it is tested on. Raises EqvizError as `decode` does."""
        picture = self.decode(index)
        if self.stretched:
            return picture if picture.shape[1:] == self.size else resize(picture[None], self.size)[0]
        return centre_crop(picture, self.size)

    def take(self, n: int, seed: int = 0) -> "PictureFiles":
        """A random subset of `n` pictures with classes as equal as they can be, in the order they have here.

        The same rows as `LabelledImages.take`. Raises EqvizError for `n < 1`.

        >>> PictureFiles("two", "test", Path("data"), ("1.png", "2.png"), np.array([0, 1]), ("a", "b")).take(1).paths
        ('1.png',)
        """
        if n >= len(self):
            return self
        rows = balanced_choice(self.labels, n, seed)
        return replace(self, paths=tuple(self.paths[row] for row in rows), labels=self.labels[rows])

    def load(self) -> LabelledImages:
        """All pictures, read into memory. Raises EqvizError when they do not fit, and as `decode` does."""
        images = blank(len(self), self.channels, self.size)
        for index in range(len(self)):
            images[index] = self.read(index)
        return LabelledImages(self.name, self.split, images, self.labels, self.classes)

    def fingerprint(self) -> str:
        """SHA-256 (64 hexadecimal digits) of the relative paths, file sizes, labels, class names and how they are read.

        The pixels are not looked at. Raises EqvizError for a file that is not there.
        """
        head = [self.name, self.split, list(self.classes), self.channels, list(self.size), self.stretched]
        digest = hashlib.sha256(json.dumps(head).encode())
        digest.update(np.ascontiguousarray(self.labels, "<i8").data)
        for path in self.paths:
            digest.update(f"{path}\0{_file_size(self.root / path)}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        found = error.strerror or type(error).__name__
        raise EqvizError(str(path), expected="a picture that can be read", found=found, fix="put it back") from error
