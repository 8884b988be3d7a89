"""CIFAR-10 and CIFAR-100, from the official binary files.

A row is one label byte (CIFAR-100: coarse, then fine) and 3,072 bytes of pixels: the red, green and blue planes of
32x32, row by row (A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from eqviz.data.images import LabelledImages
from eqviz.data.locate import locate
from eqviz.data.resize import from_bytes
from eqviz.data.splits import check_split
from eqviz.errors import EqvizError

SHAPE = (3, 32, 32)
PIXELS = 3072


@dataclass(frozen=True)
class _Layout:
    """How one of the two data sets is laid out; the last label byte is the one that counts."""

    name: str
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    titles: str
    label_bytes: int
    n_classes: int


_CIFAR10 = _Layout(
    "cifar10", "cifar-10-batches-bin", tuple(f"data_batch_{batch}.bin" for batch in range(1, 6)), ("test_batch.bin",),
    "batches.meta.txt", label_bytes=1, n_classes=10,
)  # fmt: skip
_CIFAR100 = _Layout(
    "cifar100", "cifar-100-binary", ("train.bin",), ("test.bin",), "fine_label_names.txt", label_bytes=2, n_classes=100
)


def load_cifar10(split: str, root: Path | None = None) -> LabelledImages:
    """CIFAR-10: 50,000 train or 10,000 test pictures of 32x32 pixels, 3 channels (red, green, blue), values 0..1.

    The files are in `root` or `root/cifar-10-batches-bin`; without `root` they are in the cache, downloaded if need
    be. Classes are numbered where `batches.meta.txt` is missing. Raises EqvizError for missing or malformed files.

    >>> load_cifar10("test", Path("no-such-folder"))
    Traceback (most recent call last):
    eqviz.errors.EqvizError: cifar10: expected its files in no-such-folder or ...
    """
    return _load(_CIFAR10, split, root)


def load_cifar100(split: str, root: Path | None = None) -> LabelledImages:
    """CIFAR-100 with its 100 fine classes: 50,000 train or 10,000 test pictures of 32x32, 3 channels, values 0..1.

    The files are in `root` or `root/cifar-100-binary`; without `root` they are in the cache, downloaded if need be.
    Classes are numbered where `fine_label_names.txt` is missing. Raises EqvizError for missing or malformed files.

    >>> load_cifar100("test", Path("no-such-folder"))
    Traceback (most recent call last):
    eqviz.errors.EqvizError: cifar100: expected its files in no-such-folder or ...
    """
    return _load(_CIFAR100, split, root)


def _load(layout: _Layout, split: str, root: Path | None) -> LabelledImages:
    files = layout.train if check_split(split) == "train" else layout.test

    def missing(place: Path) -> list[str]:
        return [file for file in files if not (place / file).is_file()]

    folder = locate(layout.name, root, (layout.folder,), missing)
    rows = np.concatenate([_rows(folder / file, layout) for file in files])
    labels = rows[:, layout.label_bytes - 1].astype(np.int64)
    images = from_bytes(rows[:, layout.label_bytes :]).reshape(-1, *SHAPE)
    return LabelledImages(layout.name, split, images, labels, _classes(folder / layout.titles, layout.n_classes))


def _rows(path: Path, layout: _Layout) -> UInt8[np.ndarray, "n byte"]:
    width = layout.label_bytes + PIXELS
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise _malformed(path, "a readable file", str(error)) from error
    if not len(content) or len(content) % width:
        raise _malformed(path, f"rows of {width} bytes", f"{len(content)} bytes")
    rows = content.reshape(-1, width)
    highest = rows[:, layout.label_bytes - 1].max()
    if highest >= layout.n_classes:
        raise _malformed(path, f"labels 0..{layout.n_classes - 1}", f"label {highest}")
    return rows


def _classes(path: Path, n_classes: int) -> tuple[str, ...]:
    if not path.is_file():
        return tuple(map(str, range(n_classes)))
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _malformed(path, "a text file of class names", str(error)) from error
    titles = tuple(line.strip() for line in lines if line.strip())
    if len(titles) != n_classes:
        raise _malformed(path, f"{n_classes} class names, one a line", f"{len(titles)}")
    return titles


def _malformed(path: Path, expected: str, found: str) -> EqvizError:
    return EqvizError(str(path), expected=expected, found=found, fix="get the file again from its official source")
