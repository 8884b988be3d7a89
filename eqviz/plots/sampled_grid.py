"""What a subsampling operation reads of an image and of its moved copy, as plain arrays: middles, pixels left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eqviz.errors import EqvizError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Lists = tuple[Integers, Integers]


@dataclass(frozen=True, eq=False)
class SampledGrid:
    """What one subsampling operation reads of an image of `size` (height, width) and of its moved copy.

    The copy is the image turned counter-clockwise by `turns` quarter turns and then, if `reflected`, flipped up-down;
    `element` says so in words. `upright` and `moved` are the reading lists of rows and of columns on the two, arrays
    (positions, taps) of input positions with -1 outside, as `eqviz.groups.subsampling.windows` makes them. `image`
    (height, width), on any scale, is drawn palely underneath. `title` and `lines` stand beside the row.

    Raises EqvizError for lists that are no such arrays or reach beyond the image, and for an image of another size.
    """

    title: str
    lines: Sequence[str]
    size: tuple[int, int]
    upright: Lists
    moved: Lists
    element: str = "rotation 90"
    turns: int = 1
    reflected: bool = False
    image: npt.ArrayLike | None = None

    def __post_init__(self) -> None:
        for size, lists in ((self.size, self.upright), (self.moved_size, self.moved)):
            for length, one in zip(size, lists, strict=True):
                if one.ndim != 2 or one.size == 0 or one.max() >= length or one.min() < -1:
                    raise EqvizError(
                        f"reading list of {self.title}", expected=f"(positions, taps) of -1 to {length - 1}",
                        found=f"shape {one.shape}", fix="make it with eqviz.groups.subsampling.windows",
                    )  # fmt: skip
        if self.image is not None and np.shape(self.image) != self.size:
            raise EqvizError(
                f"image of {self.title}", expected=f"shape {self.size}", found=str(np.shape(self.image)),
                fix="give one channel at the size the operation reads",
            )  # fmt: skip

    @property
    def moved_size(self) -> tuple[int, int]:
        """Height and width of the moved copy."""
        height, width = self.size
        return (width, height) if self.turns % 2 else (height, width)

    def back(self, points: Floats) -> Floats:
        """Points (n, 2) as row and column on the moved copy, moved back onto the image."""
        y, x = points.T
        height, width = self.moved_size
        if self.reflected:
            y = height - 1 - y
        for _ in range(self.turns % 4):
            y, x = x, height - 1 - y
            height, width = width, height
        return np.stack([y, x], axis=1)


def middles(lists: Lists) -> Floats:
    """Middles (n, 2) of all windows as row and column, in pixels; they may lie in the padding.

    >>> axis = np.array([[-1, 0, 1], [1, 2, 3]])
    >>> middles((axis, axis)).tolist()
    [[0.0, 0.0], [0.0, 2.0], [2.0, 0.0], [2.0, 2.0]]
    """
    rows, columns = (_axis_middles(one) for one in lists)
    return np.stack([part.ravel() for part in np.meshgrid(rows, columns, indexing="ij")], axis=1)


def _axis_middles(one: Integers) -> Floats:
    """The middle of each window on an axis, from the taps that fall inside; windows wholly outside are left out."""
    spread = _dilation(one)
    found = []
    for row in one:
        (inside,) = np.nonzero(row >= 0)
        if len(inside):
            found.append(row[inside[0]] + spread * ((len(row) - 1) / 2 - inside[0]))
    return np.array(found, dtype=float)


def _dilation(one: Integers) -> int:
    neighbours = (one[:, :-1] >= 0) & (one[:, 1:] >= 0)
    return int((one[:, 1:] - one[:, :-1])[neighbours].min()) if neighbours.any() else 1


def step(one: Integers) -> float:
    """Pixels from the middle of one window to that of the next on an axis; the window's length where there is one.

    >>> step(np.array([[0, 1], [2, 3]]))
    2.0
    """
    middles = _axis_middles(one)
    return float(middles[1] - middles[0]) if len(middles) > 1 else float(one.shape[1])


def cut_off(size: tuple[int, int], lists: Lists) -> Floats:
    """Row and column (n, 2) of the pixels before the first window or after the last one of either axis.

    Pixels that a stride passes over between two windows are not among them.

    >>> cut_off((3, 2), (np.array([[0, 1]]), np.array([[0, 1]]))).tolist()
    [[2.0, 0.0], [2.0, 1.0]]
    """
    kept = np.zeros(size, dtype=bool)
    rows, columns = (one[one >= 0] for one in lists)
    if rows.size and columns.size:
        kept[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    return np.argwhere(~kept).astype(float)
