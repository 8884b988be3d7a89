"""Images and labels from the arrays of an .npz file."""

import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int64

from eqviz.data.images import UNLABELLED, LabelledImages
from eqviz.data.npz import array_names, read_array
from eqviz.data.resize import from_bytes
from eqviz.data.splits import check_split, held_out
from eqviz.errors import EqvizError

DIVIDED = (("x_train", "y_train", "x_test", "y_test"), ("train_images", "train_labels", "test_images", "test_labels"))
"""Names of arrays that come with a split: train images and labels, test images and labels."""

IMAGES, LABELS = ("images", "x"), ("labels", "y")
"""Names of arrays that come without one."""

SOURCES = ("image", "source", "group")
"""Where each picture was cut from: one source is never on both sides of the split."""

_MOST_CLASSES = 100_000


def load_arrays(path: Path, split: str, *, labels: bool = True) -> LabelledImages:
    """The images and labels of one split of an .npz file, as float32 (n, channel, height, width), values 0..1.

    The arrays are `x_train, y_train, x_test, y_test` (or `train_images, ...`), or `images` and `labels` (or `x` and
    `y`). Without a split in the file, about 20% are the test split: of the sources in `image`, `source` or `group`
    (one text or number for each picture) if there is one of these, else of the pictures, by the hash of their pixels,
    so that copies stay together. Images are n H W, n H W C (C 1 or 3) or n C H W; bytes, or floats in 0..1. Labels
    are class numbers from 0 (named by an array `classes`, if there is one) or names. Without `labels` only the images
    are looked at, all of one class, `unlabelled`; without a split in the file they are in both. Raises EqvizError
    otherwise.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "grey.npz"
    >>> np.savez(path, x=np.zeros((6, 8, 8), np.uint8), y=np.arange(6) % 2, source=list("aabbcc"))
    >>> load_arrays(path, "train")
    LabelledImages('grey', 'train': 4 images of 1x8x8, 2 classes)
    """
    check_split(split)
    path = Path(path)
    names = array_names(path)
    if not labels:
        return _unlabelled(path, split, names)
    for keys in DIVIDED:
        if set(keys) <= set(names):
            return _divided(path, split, keys, names)
    return _undivided(path, split, names)


def _unlabelled(path: Path, split: str, names: list[str]) -> LabelledImages:
    divided = [keys[0] if split == "train" else keys[2] for keys in DIVIDED if {keys[0], keys[2]} <= set(names)]
    only = names if len(names) == 1 else []
    key = divided[0] if divided else _first(path, names, (*IMAGES, *only))
    pixels = read_array(path, key)
    images = _images(path, key, pixels, len(pixels) if pixels.ndim else 0)
    return LabelledImages(path.stem, split, images, np.zeros(len(images), np.int64), (UNLABELLED,))


def _divided(path: Path, split: str, keys: tuple[str, ...], names: list[str]) -> LabelledImages:
    images_key = keys[0] if split == "train" else keys[2]
    labels = {key: read_array(path, key) for key in (keys[1], keys[3])}
    numbers, classes = _numbered(
        path, np.concatenate([_flat(path, key, values) for key, values in labels.items()]), names
    )
    n_train = labels[keys[1]].size
    mine = numbers[:n_train] if split == "train" else numbers[n_train:]
    images = _images(path, images_key, read_array(path, images_key), len(mine))
    return LabelledImages(path.stem, split, images, mine, classes)


def _undivided(path: Path, split: str, names: list[str]) -> LabelledImages:
    images_key = _first(path, names, IMAGES)
    labels_key = _first(path, names, LABELS, ", or set labels = false in the settings of the data")
    numbers, classes = _numbered(path, _flat(path, labels_key, read_array(path, labels_key)), names)
    pixels = read_array(path, images_key)
    images = _images(path, images_key, pixels, len(numbers))
    rows = _test_rows(path, pixels, names) == (split == "test")
    if not rows.any():
        raise _fault(
            path, f"images for the {split} split", f"none of {len(rows)}", "give x_train, y_train, x_test, y_test"
        )
    return LabelledImages(path.stem, split, images[rows], numbers[rows], classes)


def _first(path: Path, names: list[str], keys: tuple[str, ...], otherwise: str = "") -> str:
    found = next((key for key in keys if key in names), None)
    if found is None:
        raise _fault(
            path,
            f"an array {' or '.join(keys)}",
            ", ".join(names[:10]) or "no arrays",
            f"save it under one of these names{otherwise}",
        )
    return found


def _test_rows(path: Path, pixels: np.ndarray, names: list[str]) -> Bool[np.ndarray, " n"]:
    key = next((key for key in SOURCES if key in names), None)
    if key is None:
        return held_out([hashlib.sha256(image.tobytes()).hexdigest() for image in pixels])
    sources = read_array(path, key)
    if sources.shape != (len(pixels),) or sources.dtype.kind not in "USiu":
        raise _fault(
            path, f"one text or whole number in {key} for each of {len(pixels)} images",
            f"{sources.dtype} of shape {sources.shape}", "name the source of each image",
        )  # fmt: skip
    return held_out(_text(path, sources))


def _images(path: Path, key: str, pixels: np.ndarray, n: int) -> Float32[np.ndarray, "n channel height width"]:
    if pixels.ndim not in (3, 4) or pixels.size == 0:
        raise _fault(path, f"{key} as n H W, n H W C or n C H W", f"shape {pixels.shape}", "reshape it")
    if len(pixels) != n:
        raise _fault(path, f"as many labels as the {len(pixels)} images in {key}", f"{n}", "give one label an image")
    return _scaled(path, key, _channels_first(path, key, pixels))


def _channels_first(path: Path, key: str, pixels: np.ndarray) -> np.ndarray:
    """N C H W from any of the three layouts; with neither 1 nor 3 channels, the channel axis must be the shortest."""
    if pixels.ndim == 3:
        return pixels[:, None]
    _, second, third, last = pixels.shape
    first_fits, last_fits = second in (1, 3), last in (1, 3)
    if last_fits and not first_fits:
        return pixels.transpose(0, 3, 1, 2)
    if first_fits != last_fits or (not first_fits and second < min(third, last)):
        return pixels
    raise _fault(path, f"{key} with 1 or 3 channels, second or last", f"shape {pixels.shape}", "save it as n C H W")


def _scaled(path: Path, key: str, pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return from_bytes(np.ascontiguousarray(pixels))
    if pixels.dtype == np.bool_:
        return np.ascontiguousarray(pixels, np.float32)
    if pixels.dtype.kind != "f":
        raise _fault(
            path, f"{key} as bytes (uint8) or floats in 0..1", str(pixels.dtype), "divide it by its largest value"
        )
    low, high = pixels.min(), pixels.max()
    if not (low >= 0 and high <= 1):
        raise _fault(path, f"{key} as floats in 0..1", f"values {low:.4g}..{high:.4g}", "rescale it, or save bytes")
    return np.ascontiguousarray(pixels, np.float32)


def _flat(path: Path, key: str, labels: np.ndarray) -> np.ndarray:
    """Labels as one axis; a second axis of length 1 is dropped."""
    flat = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if flat.ndim != 1 or flat.size == 0 or flat.dtype.kind not in "USiu":
        raise _fault(
            path,
            f"{key} as n class numbers or names",
            f"{labels.dtype} of shape {labels.shape}",
            "give one label an image",
        )
    return flat


def _numbered(path: Path, labels: np.ndarray, names: list[str]) -> tuple[Int64[np.ndarray, " n"], tuple[str, ...]]:
    """Labels as numbers from 0, and the names of the classes."""
    if labels.dtype.kind in "US":
        texts = _text(path, labels)
        titles = sorted(set(texts))
        place = {title: number for number, title in enumerate(titles)}
        return np.array([place[text] for text in texts], np.int64), tuple(titles)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= _MOST_CLASSES:
        raise _fault(path, f"class numbers 0..{_MOST_CLASSES - 1}", f"{low}..{high}", "number the classes from 0")
    classes = _titles(path, names, high + 1)
    return labels.astype(np.int64), classes


def _titles(path: Path, names: list[str], least: int) -> tuple[str, ...]:
    if "classes" not in names:
        return tuple(map(str, range(least)))
    titles = read_array(path, "classes")
    if titles.ndim != 1 or len(titles) < least or titles.dtype.kind not in "USiu":
        raise _fault(
            path, f"at least {least} names in classes", f"{titles.dtype} of shape {titles.shape}", "name every class"
        )
    return tuple(_text(path, titles))


def _text(path: Path, values: np.ndarray) -> list[str]:
    try:
        return [value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist()]
    except UnicodeDecodeError as error:
        raise _fault(path, "text in UTF-8", str(error), "save it as text") from error


def _fault(path: Path, expected: str, found: str, fix: str) -> EqvizError:
    return EqvizError(str(path), expected=expected, found=found, fix=fix)
