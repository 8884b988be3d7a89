"""What to measure, checked before anything is measured."""

import math
import os
from dataclasses import dataclass

from eqviz.analysis.accuracy import EVERY_TEN_DEGREES
from eqviz.errors import EqvizError
from eqviz.groups.group import group as named_group
from eqviz.models.arguments import brief

_COUNTS = ("limit", "orbit_images", "batch_size")
TRAINED = "trained"
"""Of `fill`: what turned in from outside while the network was trained."""

_A_COUNT = "a whole number of at least 1"


@dataclass(frozen=True)
class Settings:
    """What to measure, the same for every run.

    group         group to measure under; None for each run's own
    data, root    source of the test images and folder of its files; None for each run's own
    limit         test images for the accuracy, chosen evenly over classes
    orbit_images  how many of them go through the orbit capture
    layers        globs of the layers to capture; the output is captured in any case
    analysis_images  images for each of the analyses in depth; None for each analysis's own number
    mask          hide everything outside the inscribed disc: by `fill` for the accuracy, by the mean of the normalised
                  images for the orbit capture
    fill          value (0..1, before normalisation) of what turns in from outside the picture, for the accuracy; or
                  `trained`: what a network was trained with, black in the uniform regime, else the mean of the
                  normalisation, which is 0 after it
    angles        degrees for the accuracy
    balanced      sum up accuracies that are balanced over the classes: the mean of the accuracies of the classes
    batch_size    images in one forward pass
    device        cpu, cuda, mps or auto
    published     file of published numbers to compare with, see :func:`eqviz.analysis.published.read_published`
    imports       modules that register the user's own models

    Raises EqvizError for values that cannot be.

    >>> Settings(group="p4").group
    'C4'
    """

    group: str | None = None
    data: str | None = None
    root: str | None = None
    limit: int = 1000
    orbit_images: int = 128
    analysis_images: int | None = None
    layers: str = "*"
    mask: bool = False
    fill: float | str = 0.0
    angles: tuple[float, ...] = EVERY_TEN_DEGREES
    balanced: bool = False
    batch_size: int = 64
    device: str = "auto"
    published: str | None = None
    imports: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in _COUNTS:
            _require(name, getattr(self, name), _A_COUNT, _is_count(getattr(self, name)))
        if self.analysis_images is not None:
            _require("analysis_images", self.analysis_images, _A_COUNT, _is_count(self.analysis_images))
        filled = self.fill == TRAINED if isinstance(self.fill, str) else _is_number(self.fill) and 0 <= self.fill <= 1
        _require("fill", self.fill, f"a number from 0 to 1, or {TRAINED!r}", filled)
        for name in ("mask", "balanced"):
            _require(name, getattr(self, name), "True or False", isinstance(getattr(self, name), bool))
        for name in ("layers", "device"):
            _require(name, getattr(self, name), "text", isinstance(getattr(self, name), str))
        angles = tuple(self.angles) if isinstance(self.angles, list | tuple | range) else ()
        _require(
            "angles", self.angles, "one or more numbers, in degrees", bool(angles) and all(map(_is_number, angles))
        )
        imports = (self.imports,) if isinstance(self.imports, str) else tuple(self.imports)
        plain = {
            "angles": tuple(map(float, angles)),
            "imports": imports,
            "group": None if self.group is None else named_group(self.group).name,
            "data": None if self.data is None else os.fspath(self.data),
            "root": None if self.root is None else os.fspath(self.root),
            "published": None if self.published is None else os.fspath(self.published),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)


def _require(name: str, value: object, expected: str, holds: bool) -> None:
    if not holds:
        raise EqvizError(name, expected=expected, found=brief(value), fix="change it")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
