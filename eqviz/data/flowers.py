"""Oxford Flowers-102, from its official files: photographs of flowers of differing sizes, in 102 classes.

M.-E. Nilsback and A. Zisserman, "Automated Flower Classification over a Large Number of Classes", 2008.
"""

import os
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from eqviz.data.images import LabelledImages
from eqviz.data.locate import locate
from eqviz.data.mat import read_matrix
from eqviz.data.picture_files import PictureFiles
from eqviz.data.resize import check_size
from eqviz.data.splits import check_split
from eqviz.errors import EqvizError

SIZE = (224, 224)
CLASSES = tuple(map(str, range(1, 103)))
"""The official files number the flowers and do not name them."""

_SPLITS = {"train": "trnid", "test": "tstid"}


def load_flowers102(
    split: str,
    root: Path | None = None,
    *,
    size: tuple[int, int] = SIZE,
    limit: int | None = None,
    seed: int = 0,
) -> LabelledImages:
    """The pictures of :func:`flowers102_files` in memory, each cut to the centre crop at `size` (height, width).

    `limit` and `seed` are those of `LabelledImages.take`; only the pictures it takes are decoded. Raises EqvizError as
    `flowers102_files` does, and for pictures that cannot be read.

    >>> load_flowers102("test", Path("no-such-folder"))
    Traceback (most recent call last):
    eqviz.errors.EqvizError: flowers102: expected its files in no-such-folder or ...
    """
    files = flowers102_files(split, root, size=size)
    return (files if limit is None else files.take(limit, seed)).load()


def flowers102_files(split: str, root: Path | None = None, *, size: tuple[int, int] = SIZE) -> PictureFiles:
    """Flowers-102 in its files: 1,020 train or 6,149 test pictures, 3 channels, 102 numbered classes.

    Train is `trnid` and test `tstid` of `setid.mat` (some papers exchange the two); the 1,020 of `valid` are not used.
    The folder `jpg`, `imagelabels.mat` and `setid.mat` are in `root`, `root/flowers102` or `root/flowers-102`; without
    `root` they are in the cache, downloaded if need be. Raises EqvizError for missing or malformed files.

    >>> flowers102_files("train", Path("no-such-folder"))
    Traceback (most recent call last):
    eqviz.errors.EqvizError: flowers102: expected its files in no-such-folder or ...
    """
    wanted = _SPLITS[check_split(split)]

    def missing(place: Path) -> list[str]:
        files = [file for file in ("imagelabels.mat", "setid.mat") if not (place / file).is_file()]
        return files if (place / "jpg").is_dir() else ["jpg", *files]

    folder = locate("flowers102", root, ("flowers102", "flowers-102"), missing)
    labels = _numbers(folder / "imagelabels.mat", "labels", len(CLASSES))
    numbers = _numbers(folder / "setid.mat", wanted, len(labels))
    paths = tuple(f"jpg/image_{number:05d}.jpg" for number in numbers)
    _check_there(folder, paths)
    return PictureFiles("flowers102", split, folder, paths, labels[numbers - 1] - 1, CLASSES, size=check_size(size))


def _numbers(path: Path, key: str, most: int) -> Int64[np.ndarray, " n"]:
    """The numbers 1..`most` under `key` of a MATLAB file."""
    values = read_matrix(path, key)
    if values.ndim != 2 or 1 not in values.shape:
        raise _malformed(path, f"{key} as one row of numbers", f"{values.dtype} of shape {values.shape}")
    row = values.ravel()
    if not row.size or not ((row >= 1) & (row <= most) & (row == np.floor(row))).all():
        found = f"{row.size} numbers" + (f", {row.min():g}..{row.max():g}" if row.size else "")
        raise _malformed(path, f"{key} as whole numbers 1..{most}", found)
    return row.astype(np.int64)


def _check_there(folder: Path, paths: tuple[str, ...]) -> None:
    """Looks for all pictures in one listing of the folder."""
    there = set(os.listdir(folder / "jpg"))
    absent = [path for path in paths if path.removeprefix("jpg/") not in there]
    if absent:
        raise _malformed(folder, f"{len(paths)} pictures of the split", f"{len(absent)} missing, such as {absent[0]}")


def _malformed(path: Path, expected: str, found: str) -> EqvizError:
    return EqvizError(str(path), expected=expected, found=found, fix="get the file again from its official source")
