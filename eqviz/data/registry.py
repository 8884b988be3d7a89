"""The data sets by name, and the one way in: `load_images`.

Nothing is imported until it is loaded.
"""

import difflib
import importlib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, cast

from eqviz.data.splits import check_split
from eqviz.errors import EqvizError

if TYPE_CHECKING:
    import eqviz.data.images

DATASETS: dict[str, str] = {
    "digits": "eqviz.data.digits:load_digits",
    "mnist": "eqviz.data.idx:load_mnist",
    "fashion-mnist": "eqviz.data.idx:load_fashion_mnist",
    "cifar10": "eqviz.data.cifar:load_cifar10",
    "cifar100": "eqviz.data.cifar:load_cifar100",
}
"""Names and their loaders, called with (split, root), and with `size` where a loader chooses the size itself."""


def load_images(
    source: str | Path, split: str, *, size: tuple[int, int] | None = None, limit: int | None = None, seed: int = 0,
    root: Path | None = None,
) -> "eqviz.data.images.LabelledImages":  # fmt: skip
    """The images of one split, as float32 (n, channel, height, width) with values 0..1, and their labels.

    `source` is a name in `DATASETS`, a folder of pictures by class, or an `.npz` file (a folder that has the name of a
    data set is written `./mnist`); `split` is 'train' or 'test'.
    `size` is (height, width) in pixels (bilinear); `limit` keeps a random subset of that many images, as balanced
    over the classes as can be, chosen by `seed`. `root` is the folder that holds the files of a named data set, for
    files that are not in the cache. Raises EqvizError for an unknown name and for anything wrong with the files.

    >>> load_images("digits", "test", size=(28, 28), limit=100)
    LabelledImages('digits', 'test': 100 images of 1x28x28, 10 classes)
    """
    check_split(split)
    name, path = str(source), Path(source).expanduser()
    if name in DATASETS:
        images = _load_named(name, split, size, root)
    elif path.is_dir():
        from eqviz.data.folder import load_folder

        return load_folder(path, split, size=size, limit=limit, seed=seed)
    elif path.is_file() and path.suffix.lower() == ".npz":
        from eqviz.data.arrays import load_arrays

        images = load_arrays(path, split)
    else:
        raise _unknown(name, path)
    images = images if limit is None else images.take(limit, seed)
    return images if size is None else images.resized(size)


def _load_named(
    name: str, split: str, size: tuple[int, int] | None, root: Path | None
) -> "eqviz.data.images.LabelledImages":
    module, attribute = DATASETS[name].split(":")
    loader = getattr(importlib.import_module(module), attribute)
    if size is not None and "size" in inspect.signature(loader).parameters:
        return cast("eqviz.data.images.LabelledImages", loader(split, root, size=size))
    return cast("eqviz.data.images.LabelledImages", loader(split, root))


def _unknown(source: str, path: Path) -> EqvizError:
    expected = f"one of {', '.join(DATASETS)}, a folder of pictures by class, or an .npz file"
    near = difflib.get_close_matches(source.lower(), DATASETS, n=1, cutoff=0.5)
    if path.is_file():
        return EqvizError("data", expected=expected, found=f"the file {source}", fix="save its arrays as .npz")
    fix = f"did you mean {near[0]!r}?" if near else "check the name or the path"
    return EqvizError("data", expected=expected, found=f"{source!r}, which is none of them", fix=fix)
