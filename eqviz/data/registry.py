"""The data sets by name, and the one way in: `load_images`.

Nothing is imported until it is loaded.
"""

import difflib
import importlib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqviz.data.splits import check_split
from eqviz.errors import EqvizError

if TYPE_CHECKING:
    import eqviz.data.images
    import eqviz.data.picture_files

DATASETS: dict[str, str] = {
    "digits": "eqviz.data.digits:load_digits",
    "mnist": "eqviz.data.idx:load_mnist",
    "fashion-mnist": "eqviz.data.idx:load_fashion_mnist",
    "cifar10": "eqviz.data.cifar:load_cifar10",
    "cifar100": "eqviz.data.cifar:load_cifar100",
    "pcam": "eqviz.data.pcam:load_pcam",
    "flowers102": "eqviz.data.flowers:load_flowers102",
    "imagenet": "eqviz.data.imagenet:load_imagenet",
    "rotated-pair": "eqviz.data.pairs:load_rotated_pair",
    "mirrored-pair": "eqviz.data.pairs:load_mirrored_pair",
    "transposed-pair": "eqviz.data.pairs:load_transposed_pair",
}
"""Names and their loaders, called with (split, root), and with those of `size`, `limit` and `seed` that a loader takes:
the size where it chooses one itself, the limit where it need not read what is not taken."""

PICTURE_FILES: dict[str, str] = {
    "flowers102": "eqviz.data.flowers:flowers102_files",
    "imagenet": "eqviz.data.imagenet:imagenet_files",
}
"""Data sets that lie in picture files, and the functions that give them unread, called with (split, root, size=)."""


def load_images(
    source: str | Path, split: str, *, size: tuple[int, int] | None = None, limit: int | None = None, seed: int = 0,
    root: Path | None = None, channels: int | None = None, labels: bool = True,
) -> "eqviz.data.images.LabelledImages":  # fmt: skip
    """The images of one split, as float32 (n, channel, height, width) with values 0..1, and their labels.

    `source` is a name in `DATASETS`, a folder of pictures by class, or an `.npz` file (a folder that has the name of a
    data set is written `./mnist`); `split` is 'train' or 'test'.
    `size` is (height, width) in pixels (bilinear); `limit` keeps a random subset of that many images, as balanced
    over the classes as can be, chosen by `seed`. `root` is the folder that holds the files of a named data set, for
    files that are not in the cache, and that other paths may start from. `channels` 3 repeats grey images, 1 averages
    coloured ones; None leaves them as they are. Without `labels` all images are of one class, `unlabelled`: then
    pictures need not lie in folders by class, an .npz file need not hold labels, and what comes without a split is in
    both. Raises EqvizError for an unknown name and for anything wrong with the files.

    >>> load_images("digits", "test", size=(28, 28), limit=100, channels=3)
    LabelledImages('digits', 'test': 100 images of 3x28x28, 10 classes)
    """
    check_split(split)
    name, path = str(source), _path(source, root)
    if name in DATASETS:
        images: eqviz.data.images.LabelledImages = _call(DATASETS[name], split, root, size=size, limit=limit, seed=seed)
    elif path.is_dir():
        from eqviz.data.folder import load_folder

        images = load_folder(path, split, size=size, limit=limit, seed=seed, labels=labels)
    elif path.is_file() and path.suffix.lower() == ".npz":
        from eqviz.data.arrays import load_arrays

        images = load_arrays(path, split, labels=labels)
    else:
        raise _unknown(name, path)
    images = images if limit is None else images.take(limit, seed)
    images = images if channels is None else images.with_channels(channels)
    images = images if size is None else images.resized(size)
    return images if labels else images.without_labels()


def open_pictures(
    source: str | Path, split: str, *, size: tuple[int, int] | None = None, root: Path | None = None
) -> "eqviz.data.picture_files.PictureFiles":
    """The pictures of one split in their files, for data sets that memory cannot hold.

    `source` is a name in `PICTURE_FILES` or a folder of pictures by class; the rest is as for :func:`load_images`.
    Raises EqvizError for other sources and for anything wrong with the files.

    >>> open_pictures("digits", "train")
    Traceback (most recent call last):
    eqviz.errors.EqvizError: data: expected pictures in files (flowers102, ...); found 'digits'; ...
    """
    check_split(split)
    name, path = str(source), _path(source, root)
    if name in PICTURE_FILES:
        files: eqviz.data.picture_files.PictureFiles = _call(PICTURE_FILES[name], split, root, size=size)
        return files
    if path.is_dir() and name not in DATASETS:
        from eqviz.data.folder import folder_files

        return folder_files(path, split, size=size)
    raise EqvizError(
        "data", expected=f"pictures in files ({', '.join(PICTURE_FILES)}, or a folder by class)", found=repr(name),
        fix="take it into memory",
    )  # fmt: skip


def _path(source: str | Path, root: Path | None) -> Path:
    """A file or folder by its path, which may start from `root`."""
    path = Path(source).expanduser()
    below = path if root is None else root / path
    return below if below.exists() and not path.exists() else path


def _call(entry: str, split: str, root: Path | None, **options: object) -> Any:
    """What the function of an entry gives; options that it does not take or that are None are left out."""
    module, attribute = entry.split(":")
    loader = getattr(importlib.import_module(module), attribute)
    known = inspect.signature(loader).parameters
    return loader(split, root, **{key: value for key, value in options.items() if key in known and value is not None})


def _unknown(source: str, path: Path) -> EqvizError:
    expected = f"one of {', '.join(DATASETS)}, a folder of pictures by class, or an .npz file"
    near = difflib.get_close_matches(source.lower(), DATASETS, n=1, cutoff=0.5)
    if path.is_file():
        return EqvizError("data", expected=expected, found=f"the file {source}", fix="save its arrays as .npz")
    fix = f"did you mean {near[0]!r}?" if near else "check the name or the path"
    return EqvizError("data", expected=expected, found=f"{source!r}, which is none of them", fix=fix)
