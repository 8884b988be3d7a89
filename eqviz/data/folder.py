"""A folder of pictures by class: `root/<class>/*.png`, or `root/train/<class>/*.png` and `root/test/...`.

Pictures without labels lie as they like: `root/*.png`, or `root/train/*.png` and `root/test/*.png`.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eqviz.data.images import UNLABELLED, LabelledImages
from eqviz.data.picture_files import PictureFiles
from eqviz.data.pictures import SUFFIXES, Probe, probe
from eqviz.data.resize import check_size
from eqviz.data.splits import check_split, held_out
from eqviz.errors import EqvizError

_OTHERS = ("__MACOSX", "__pycache__")


@dataclass(frozen=True)
class _Picture:
    """`path` is relative to the folder that was asked for; `test` is None where it is in both splits."""

    path: str
    title: str
    test: bool | None


def load_folder(
    root: Path, split: str, *, size: tuple[int, int] | None = None, limit: int | None = None, seed: int = 0,
    labels: bool = True,
) -> LabelledImages:  # fmt: skip
    """The pictures of :func:`folder_files` in memory. `limit` and `seed` are those of `LabelledImages.take`; only the
    pictures it takes are decoded. Raises EqvizError as `folder_files` does, and for pictures that cannot be read.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in ("train/cat/1.pgm", "train/dog/2.pgm", "test/dog/3.pgm"):
    ...     (root / name).parent.mkdir(parents=True)
    ...     _ = (root / name).write_bytes(b"P5 2 1 255 " + bytes([0, 255]))
    >>> load_folder(root, "train").labels.tolist(), load_folder(root, "test").labels.tolist()
    ([0, 1], [1])
    """
    files = folder_files(root, split, size=size, labels=labels)
    return (files if limit is None else files.take(limit, seed)).load()


def folder_files(root: Path, split: str, *, size: tuple[int, int] | None = None, labels: bool = True) -> PictureFiles:
    """The pictures of one split, in their files: 1 channel when all pictures of the folder are grey, else 3.

    Classes are the names of the folders, sorted. Pictures further down count too; hidden files, other files and
    folders without pictures are passed over, and links to folders are followed for classes only. The test split is in
    `test`, or in `val` where there is no `test`; without any such folders, about 20% of the pictures are the test
    split, chosen by the hash of their names. `size` is (height, width) in pixels, needed when sizes differ; the aspect
    ratio is not kept. The head of every picture is read. Without `labels` all pictures are of one class, `unlabelled`,
    wherever they lie; those in `train` and `test` (or `val`) are of that split, without these two folders all are of
    both. Raises EqvizError for a folder without pictures, a split without pictures, and sizes that differ.
    """
    check_split(split)
    root = Path(root)
    pictures = _scan(root) if labels else _scan_unlabelled(root)
    classes = tuple(sorted({picture.title for picture in pictures}))
    chosen = [picture for picture in pictures if picture.test in (None, split == "test")]
    if not chosen:
        raise _fault(root, f"pictures for the {split} split", f"{len(pictures)} pictures, none of them in it")
    heads = [probe(root / picture.path) for picture in pictures]  # of both splits, so that they agree
    place = {title: number for number, title in enumerate(classes)}
    return PictureFiles(
        name=root.resolve().name,
        split=split,
        root=root,
        paths=tuple(picture.path for picture in chosen),
        labels=np.array([place[picture.title] for picture in chosen], np.int64),
        classes=classes,
        channels=1 if all(head.grey for head in heads) else 3,
        size=_one_size(heads, root) if size is None else check_size(size),
        stretched=True,
    )


def class_folders(parent: Path) -> list[Path]:
    """Folders in `parent` that may be classes, sorted; a link back to a folder above would be a loop."""
    if not parent.is_dir():
        return []
    above = parent.resolve()
    folders = (path for path in parent.iterdir() if _counts(path.name) and path.is_dir())
    return sorted(path for path in folders if not above.is_relative_to(path.resolve()))


def pictures_below(folder: Path) -> Iterator[str]:
    """Paths, relative to `folder`, of the pictures in it and further down, by their names alone: none is opened."""
    with os.scandir(folder) as entries:
        found = sorted((entry for entry in entries if _counts(entry.name)), key=lambda entry: entry.name)
    for entry in found:
        if os.path.splitext(entry.name)[1].lower() in SUFFIXES and entry.is_file():
            yield entry.name
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from (f"{entry.name}/{path}" for path in pictures_below(folder / entry.name))


def _one_size(heads: list[Probe], root: Path) -> tuple[int, int]:
    sizes = sorted({head.size for head in heads})
    if len(sizes) > 1:
        (height, width), (taller, wider) = sizes[0], sizes[-1]
        raise EqvizError(
            str(root), expected="pictures of one size",
            found=f"{len(sizes)} sizes ({height}x{width} to {taller}x{wider})", fix="give a size",
        )  # fmt: skip
    return sizes[0]


def _scan(root: Path) -> list[_Picture]:
    """Every picture under `root` with its class and split, in the order of their names."""
    try:
        train, test, val = (class_folders(root / name) for name in ("train", "test", "val"))
        divided = [*train, *(test or val)]
        pictures = list(_by_class(root, divided or class_folders(root), set(test or val)))
    except OSError as error:
        raise _fault(root, "a folder that can be read", str(error)) from error
    if not pictures:
        _refuse_published(root)
        loose = "pictures in no such folder" if any(True for _ in pictures_below(root)) else "none"
        raise _fault(root, f"folders of pictures ({' '.join(SUFFIXES[:3])} ...) by class", loose)
    if divided:
        return pictures
    test_rows = held_out([picture.path for picture in pictures])
    return [
        _Picture(picture.path, picture.title, bool(held)) for picture, held in zip(pictures, test_rows, strict=True)
    ]


def _scan_unlabelled(root: Path) -> list[_Picture]:
    """Every picture under `root`, of one class and in the order of their names."""
    try:
        found = sorted(pictures_below(root))
    except OSError as error:
        raise _fault(root, "a folder that can be read", str(error)) from error
    if not found:
        raise _fault(root, f"pictures ({' '.join(SUFFIXES[:3])} ...)", "none", "put some there")
    tops = {path: path.split("/")[0] for path in found if "/" in path}
    test = "test" if "test" in tops.values() else "val"
    if {"train", test} <= set(tops.values()):
        return [_Picture(path, UNLABELLED, top == test) for path, top in tops.items() if top in ("train", test)]
    return [_Picture(path, UNLABELLED, None) for path in found]


def _by_class(root: Path, folders: list[Path], test: set[Path]) -> Iterator[_Picture]:
    for folder in folders:
        for path in pictures_below(folder):
            yield _Picture(f"{folder.relative_to(root).as_posix()}/{path}", folder.name, folder in test)


def _refuse_published(root: Path) -> None:
    """Tells who points at the files of MNIST or CIFAR how to load them."""
    files = [path.name for path in root.iterdir() if "ubyte" in path.name or path.suffix in (".bin", ".h5", ".mat")]
    if files:
        raise EqvizError(
            str(root), expected="folders of pictures by class", found=f"the file {min(files)} of a published data set",
            fix="give the name of the data set, and this folder as root= (or the one above it as $EQVIZ_DATA)",
        )  # fmt: skip


def _counts(name: str) -> bool:
    return not name.startswith(".") and name not in _OTHERS


def _fault(root: Path, expected: str, found: str, fix: str = "") -> EqvizError:
    layout = f"lay it out as {root}/<class>/*.png or {root}/train/<class>/*.png and {root}/test/<class>/*.png"
    without = ", or set labels = false in the settings of the data" if found.startswith("pictures in no") else ""
    return EqvizError(str(root), expected=expected, found=found, fix=fix or f"{layout}{without}")
