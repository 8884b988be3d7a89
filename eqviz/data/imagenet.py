"""ImageNet (ILSVRC 2012), from its folders of pictures by class.

O. Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", 2015. The licence forbids passing it on, so
there is no download.
"""

from pathlib import Path

import numpy as np

from eqviz.data.folder import class_folders, pictures_below
from eqviz.data.images import LabelledImages
from eqviz.data.locate import locate
from eqviz.data.picture_files import PictureFiles
from eqviz.data.resize import check_size
from eqviz.data.splits import check_split
from eqviz.errors import EqvizError

SIZE = (224, 224)

_FOLDERS = {"train": "train", "test": "val"}
_ADVICE = (
    "it may not be passed on: get it from image-net.org, and lay it out as train/<wnid>/*.JPEG and val/<wnid>/*.JPEG "
    "(val is our test split; its pictures come without folders and are sorted by the labels of the development kit)"
)


def load_imagenet(
    split: str,
    root: Path | None = None,
    *,
    size: tuple[int, int] = SIZE,
    limit: int | None = None,
    seed: int = 0,
) -> LabelledImages:
    """The pictures of :func:`imagenet_files` in memory, each cut to the centre crop at `size` (height, width).

    `limit` and `seed` are those of `LabelledImages.take`; only the pictures it takes are decoded. Without a limit, the
    test split takes 30 GB and the train split 770 GB. Raises EqvizError as `imagenet_files` does, and for pictures that
    cannot be read.

    >>> load_imagenet("test", Path("no-such-folder"), limit=10)
    Traceback (most recent call last):
    eqviz.errors.EqvizError: imagenet: expected its files in no-such-folder or no-such-folder/imagenet; found no ...
    """
    files = imagenet_files(split, root, size=size)
    return (files if limit is None else files.take(limit, seed)).load()


def imagenet_files(split: str, root: Path | None = None, *, size: tuple[int, int] = SIZE) -> PictureFiles:
    """The pictures of one split, in their files, 3 channels: `train/<wnid>/*.JPEG`, or for test `val/<wnid>/*.JPEG`.

    The folders are in `root` or `root/imagenet`, or without `root` in `imagenet` in the cache. Classes are the names
    of the folders of both splits (WordNet numbers), sorted. No picture is opened. Raises EqvizError for folders that
    are missing or hold no pictures.

    >>> imagenet_files("train", Path("no-such-folder"))
    Traceback (most recent call last):
    eqviz.errors.EqvizError: imagenet: expected its files in no-such-folder or ...
    """
    part = _FOLDERS[check_split(split)]

    def missing(place: Path) -> list[str]:
        return [] if class_folders(place / part) else [f"{part}/<wnid>/*.JPEG"]

    try:
        place = locate("imagenet", root, ("imagenet",), missing, advice=_ADVICE)
        titles = {folder.name for name in _FOLDERS.values() for folder in class_folders(place / name)}
        number = {title: position for position, title in enumerate(sorted(titles))}
        found = [
            (f"{part}/{folder.name}/{path}", number[folder.name])
            for folder in class_folders(place / part)
            for path in pictures_below(folder)
        ]
    except OSError as error:
        raise _unreadable(part, str(error)) from error
    if not found:
        raise _unreadable(f"{place / part}", "folders without pictures")
    return PictureFiles(
        name="imagenet",
        split=split,
        root=place,
        paths=tuple(path for path, _ in found),
        labels=np.array([label for _, label in found], np.int64),
        classes=tuple(number),
        size=check_size(size),
    )


def _unreadable(about: str, found: str) -> EqvizError:
    return EqvizError(f"imagenet, {about}", expected="folders of pictures that can be read", found=found, fix=_ADVICE)
