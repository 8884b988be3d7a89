"""Input sizes as people write them: 16, "16", "16x20" or [16, 20]."""

import re

from eqviz.errors import EqvizError
from eqviz.studies.toml_tables import short

LARGEST = 4096
"""Largest height and width, in pixels."""


def parse_size(size: object, about: str = "input size") -> tuple[int, int]:
    """(height, width) in pixels of a size written as `N`, `"N"`, `"HxW"` or `[H, W]`; `N` is square.

    `about` names the value in the message. Raises EqvizError for anything else and for sides outside 1..4096. The
    inverse is :func:`eqviz.tables.format_size`.

    >>> parse_size(16), parse_size("16x20"), parse_size([16, 20])
    ((16, 16), (16, 20), (16, 20))
    """
    sides = _sides(size)
    if len(sides) not in (1, 2) or not all(1 <= side <= LARGEST for side in sides):
        raise EqvizError(
            about, expected=f"N, HxW or [H, W] with sides of 1 to {LARGEST} pixels", found=short(size),
            fix="write 28 or 28x32",
        )  # fmt: skip
    return sides[0], sides[-1]


def _sides(size: object) -> tuple[int, ...]:
    """The whole numbers in `size`; none of them where it is no size."""
    if isinstance(size, str):
        match = re.fullmatch(r"\s*([0-9]{1,5})\s*(?:[xX×]\s*([0-9]{1,5})\s*)?", size)
        return tuple(int(side) for side in match.groups() if side is not None) if match else ()
    if _is_whole(size):
        return (int(size),)  # type: ignore[call-overload]  # an int, or one of NumPy
    if isinstance(size, list | tuple) and len(size) == 2 and all(_is_whole(side) for side in size):
        return int(size[0]), int(size[1])
    return ()


def _is_whole(value: object) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool) and not hasattr(value, "__len__")
