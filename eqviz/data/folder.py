"""A folder of pictures by class: `root/<class>/*.png`, or `root/train/<class>/*.png` and `root/test/...`."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from eqviz.data.images import LabelledImages, balanced_choice
from eqviz.data.pictures import SUFFIXES, Probe, probe, read_picture
from eqviz.data.resize import blank, check_size, resize
from eqviz.data.splits import SPLITS, check_split, held_out
from eqviz.errors import EqvizError

_OTHERS = ("__MACOSX", "__pycache__")


@dataclass(frozen=True)
class _Picture:
    path: Path
    title: str
    test: bool


def load_folder(
    root: Path, split: str, *, size: tuple[int, int] | None = None, limit: int | None = None, seed: int = 0
) -> LabelledImages:
    """The pictures of one split: values 0..1, 1 channel when all pictures of the folder are grey, else 3.

    Classes are the names of the folders, sorted. Pictures further down count too; hidden files, other files and
    folders without pictures are passed over, and links to folders are followed for classes only. Without `train` and
    `test` folders, about 20% of the pictures are the test split, chosen by the hash of their names. `size` is
    (height, width) in pixels, needed when sizes differ; the aspect ratio is not kept. `limit` and `seed` are those
    of `LabelledImages.take`; only the pictures it takes are decoded. Raises EqvizError for a folder without pictures,
    a split without pictures, sizes that differ, and pictures that cannot be read.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in ("train/cat/1.pgm", "train/dog/2.pgm", "test/dog/3.pgm"):
    ...     (root / name).parent.mkdir(parents=True)
    ...     _ = (root / name).write_bytes(b"P5 2 1 255 " + bytes([0, 255]))
    >>> load_folder(root, "train").labels.tolist(), load_folder(root, "test").labels.tolist()
    ([0, 1], [1])
    """
    check_split(split)
    pictures = _scan(Path(root))
    classes = tuple(sorted({picture.title for picture in pictures}))
    chosen = [picture for picture in pictures if picture.test == (split == "test")]
    if not chosen:
        raise _fault(Path(root), f"pictures for the {split} split", f"{len(pictures)} pictures, none of them in it")
    labels = np.array([classes.index(picture.title) for picture in chosen], np.int64)
    rows = np.arange(len(chosen)) if limit is None or limit >= len(chosen) else balanced_choice(labels, limit, seed)
    images = _read([chosen[row].path for row in rows], [picture.path for picture in pictures], size, Path(root))
    return LabelledImages(Path(root).resolve().name, split, images, labels[rows], classes)


def _read(
    paths: list[Path], everything: list[Path], size: tuple[int, int] | None, root: Path
) -> Float32[np.ndarray, "n channel height width"]:
    """Pixels of `paths`; `everything` decides channels and size, so that both splits agree."""
    heads = [probe(path) for path in everything]
    channels = 1 if all(head.grey for head in heads) else 3
    new = _one_size(heads, root) if size is None else check_size(size)
    images = blank(len(paths), channels, new)
    for row, path in enumerate(paths):
        pixels = read_picture(path, channels)
        images[row] = pixels if pixels.shape[1:] == new else resize(pixels[None], new)[0]
    return images


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
        divided = [root / split for split in SPLITS if any(_folders(root / split))]
        pictures = [picture for part in divided or [root] for picture in _by_class(part)]
    except OSError as error:
        raise _fault(root, "a folder that can be read", str(error)) from error
    if not pictures:
        _refuse_published(root)
        raise _fault(root, f"folders of pictures ({' '.join(SUFFIXES[:3])} ...) by class", "none")
    if divided:
        return pictures
    test = held_out([picture.path.relative_to(root).as_posix() for picture in pictures])
    return [_Picture(picture.path, picture.title, bool(held)) for picture, held in zip(pictures, test, strict=True)]


def _refuse_published(root: Path) -> None:
    """Tells who points at the files of MNIST or CIFAR how to load them."""
    files = [path.name for path in root.iterdir() if "ubyte" in path.name or path.suffix == ".bin"]
    if files:
        raise EqvizError(
            str(root), expected="folders of pictures by class", found=f"the file {min(files)} of a published data set",
            fix="give the name of the data set, and this folder as root= (or the one above it as $EQVIZ_DATA)",
        )  # fmt: skip


def _by_class(part: Path) -> Iterator[_Picture]:
    for folder in _folders(part):
        for path in _pictures(folder):
            yield _Picture(path, folder.name, part.name == "test")


def _folders(parent: Path) -> list[Path]:
    """Folders in `parent` that may be classes, sorted; a link back to a folder above would be a loop."""
    if not parent.is_dir():
        return []
    above = parent.resolve()
    folders = (path for path in parent.iterdir() if _counts(path.name) and path.is_dir())
    return sorted(path for path in folders if not above.is_relative_to(path.resolve()))


def _pictures(folder: Path) -> Iterable[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if _counts(name))
        for name in sorted(files):
            path = Path(place, name)
            if _counts(name) and path.suffix.lower() in SUFFIXES and path.is_file():
                yield path


def _counts(name: str) -> bool:
    return not name.startswith(".") and name not in _OTHERS


def _fault(root: Path, expected: str, found: str) -> EqvizError:
    fix = f"lay it out as {root}/<class>/*.png or {root}/train/<class>/*.png and {root}/test/<class>/*.png"
    return EqvizError(str(root), expected=expected, found=found, fix=fix)
