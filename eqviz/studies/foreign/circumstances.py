"""What surrounds a network: the data it was trained on, their normalisation, the input size, each with its reason."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from eqviz.data.registry import DATASETS
from eqviz.errors import EqvizError
from eqviz.studies.foreign.placeholders import SIZE_KEYS
from eqviz.studies.sizes import parse_size

Value = TypeVar("Value")
Size = tuple[int, int]


@dataclass(frozen=True)
class Because(Generic[Value]):
    """A value and why it is that; `guessed` where it is no more than likely."""

    value: Value
    why: str
    guessed: bool = False


@dataclass(frozen=True)
class DataSet:
    """What is known of a data set by its name: channels, classes, pixels, and the normalisation that is usual."""

    name: str
    channels: int
    classes: int
    size: int
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


_PHOTOGRAPHS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
KNOWN = {
    data.name: data
    for data in (
        DataSet("digits", 1, 10, 8),
        DataSet("mnist", 1, 10, 28, (0.1307,), (0.3081,)),
        DataSet("fashion-mnist", 1, 10, 28, (0.2860,), (0.3530,)),
        DataSet("cifar10", 3, 10, 32, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        DataSet("cifar100", 3, 100, 32, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
        DataSet("pcam", 3, 2, 96),
        DataSet("flowers102", 3, 102, 224, *_PHOTOGRAPHS),
        DataSet("imagenet", 3, 1000, 224, *_PHOTOGRAPHS),
    )
}
"""Data sets that checkpoints may name. Where two lists of numbers stand, they are those of the usual transforms."""

_NAMES = (
    (r"fashion[-_ ]?mnist|f-?mnist", "fashion-mnist"),
    (r"mnist", "mnist"),
    (r"cifar[-_ ]?100", "cifar100"),
    (r"cifar[-_ ]?10", "cifar10"),
    (r"pcam|patch[-_ ]?camelyon", "pcam"),
    (r"flowers?[-_ ]?102|oxford[-_ ]?flowers", "flowers102"),
    (r"imagenet(?:[-_ ]?1k)?|ilsvrc[-_ ]?2012", "imagenet"),
    (r"sklearn[-_ ]?digits|digits", "digits"),
)  # fmt: skip
_DATA_KEYS = ("dataset", "data", "data_name", "dataset_name", "data_set", "data_dir", "data_path", "data_root")
_MEAN_KEYS = ("mean", "norm_mean", "normalize_mean", "normalise_mean", "data_mean", "pixel_mean", "image_mean")
USUAL_SIZES = (28, 32, 64, 96, 224, 16, 8)
"""Input sizes to try where nothing says one, in this order."""


def data_of(asked: str | None, settings: Mapping[str, Any], names: Iterable[str]) -> Because[str]:
    """The images a network was trained on: as asked for, as the settings in its file say, as names of files say; else
    the digits that eqviz always has.

    Raises EqvizError for what was asked for and is neither a data set nor a path.

    >>> data_of(None, {"dataset": "CIFAR-10"}, []).value, data_of(None, {}, ["z2_fashion_mnist_{seed}.pt"]).value
    ('cifar10', 'fashion-mnist')
    """
    if asked is not None:
        return Because(_checked(asked), "as given")
    for key in _DATA_KEYS:
        named = _named(settings.get(key))
        if named:
            return Because(named, f"{key} in the settings of the file")
    for name in names:
        named = _named(name)
        if named:
            return Because(named, "named in the file names")
    return Because(
        "digits", "the images only show how features move; accuracy needs the data it was trained on", guessed=True
    )


def _checked(asked: str) -> str:
    if asked in DATASETS:
        return asked
    if Path(asked).expanduser().exists():
        return str(Path(asked).expanduser().resolve())
    near = difflib.get_close_matches(asked.lower(), DATASETS, n=1, cutoff=0.5)
    raise EqvizError(
        "--data", expected=f"one of {', '.join(DATASETS)}, a folder of pictures by class, or an .npz file",
        found=f"{asked!r}, which is none of them", fix=f"did you mean {near[0]!r}?" if near else "check the path",
    )  # fmt: skip


def _named(text: object) -> str:
    """The data set that a text names; "" for none."""
    if not isinstance(text, str):
        return ""
    found = (data for words, data in _NAMES if re.search(rf"(?<![a-z])(?:{words})(?![a-z])", text, re.IGNORECASE))
    return next(found, "")


def normalisation_of(
    data: Because[str], channels: int, settings: Mapping[str, Any]
) -> Because[tuple[list[float], list[float]]]:
    """Mean and standard deviation for each channel: what the settings say, what is usual for the data, or 0 and 1."""
    for key in _MEAN_KEYS:
        mean, std = _numbers(settings.get(key)), _numbers(settings.get(key.replace("mean", "std")))
        if mean and std and len(mean) == len(std) in (1, channels) and min(std) > 0:
            return Because((_spread(mean, channels), _spread(std, channels)), f"{key} in the settings of the file")
    known = KNOWN.get(data.value)
    if known is not None and known.mean and not data.guessed:
        values = (_spread(known.mean, channels), _spread(known.std, channels))
        return Because(values, f"the usual values for {known.name}", guessed=True)
    return Because(([0.0] * channels, [1.0] * channels), "none, pixels from 0 to 1", guessed=True)


def _numbers(value: object) -> list[float]:
    listed = value if isinstance(value, list | tuple) else [value]
    return [float(item) for item in listed if isinstance(item, int | float) and 0 <= item <= 1]  # not degrees, say


def _spread(values: Sequence[float], channels: int) -> list[float]:
    """As many values as channels: repeated, or their mean for each."""
    if len(values) == channels:
        return [float(value) for value in values]
    return [round(sum(values) / len(values), 6)] * channels


def said_size(settings: Mapping[str, Any]) -> Because[Size] | None:
    """The input size that the settings in a file say; None if they say none.

    >>> said_size({"img_size": 28}).value, said_size({"input_shape": [3, 32, 40]}).value
    ((28, 28), (32, 40))
    """
    for key in SIZE_KEYS:
        value = settings.get(key)
        if isinstance(value, list | tuple) and len(value) in (3, 4):
            value = value[-2:]  # channels first, as networks here take images
        try:
            size = parse_size(value, key)
        except EqvizError:
            continue
        if min(size) >= 3:
            return Because(size, f"{key} in the settings of the file")
    return None
