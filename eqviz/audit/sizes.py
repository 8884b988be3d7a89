"""Which input sizes are safe: the audit over a range of sizes."""

from collections.abc import Callable, Iterable
from typing import Literal, TypeVar

import pandas as pd
from torch import nn

from eqviz.audit.auditing import Audit, examine
from eqviz.audit.judging import Answer
from eqviz.audit.layer_predictions import Fields
from eqviz.errors import EqvizError
from eqviz.groups.group import Group
from eqviz.tables import format_size

Size = TypeVar("Size", int, tuple[int, int])
Part = Literal["exact", "grid"]


def exact_sizes(
    model: nn.Module,
    sizes: Iterable[Size],
    group: str | Group = "p4",
    *,
    part: Part = "exact",
    channels: int | None = None,
    fields: Fields | None = None,
) -> list[Size]:
    """The input sizes among `sizes`, numbers or (height, width), at which the network is predicted exact.

    With `part="grid"` those at which all sampling grids fit, whatever the filters do: what shapes alone decide. Sizes
    at which the network cannot run are left out; other arguments as in `eqviz.audit`. Raises EqvizError if it can run
    at none of them.

    >>> exact_sizes(nn.Sequential(nn.MaxPool2d(2), nn.MaxPool2d(2)), range(20, 30))
    [20, 24, 28]
    """
    judge = _Sizes(model, group, part, channels, fields)
    if not isinstance(sizes, Iterable):
        raise EqvizError("sizes", expected="several sizes", found=repr(sizes), fix="give range(20, 41), or [33]")
    given = list(sizes)
    found = [size for size in given if judge(size) is True]
    judge.require_one(given)
    return found


def nearest_sizes(
    model: nn.Module,
    input_size: Size,
    group: str | Group = "p4",
    *,
    part: Part = "exact",
    channels: int | None = None,
    fields: Fields | None = None,
    reach: int = 64,
    known: Audit | None = None,
) -> tuple[Size | None, Size | None]:
    """The nearest exact sizes below and above `input_size`, at most `reach` pixels away; None where there is none.

    For (height, width) both sides change by as many pixels, or one of them does; where no such size is found, sides
    change by themselves, by at most 8 pixels.
    Arguments as in :func:`exact_sizes`; `known` is the audit of the same model at `input_size`, if it is at hand.

    >>> nearest_sizes(nn.Sequential(nn.MaxPool2d(4)), 22)
    (20, 24)
    """
    judge = _Sizes(model, group, part, channels, fields)
    if judge.learn(input_size, known) is False and part == "exact":  # filters do not depend on the size
        return None, None
    below, above = (_search(judge, input_size, sign, reach) for sign in (-1, 1))
    return below, above


def _search(judge: "_Sizes", size: Size, sign: int, reach: int) -> Size | None:
    for distance in range(1, reach + 1):
        for candidate in _around(size, sign * distance):
            if judge(candidate) is True:
                return candidate
    if isinstance(size, int):
        return None
    step = range(0, sign * (_BOTH_SIDES + 1), sign)
    pairs = sorted(((a, b) for a in step for b in step), key=lambda pair: max(map(abs, pair)))
    sizes = ((size[0] + a, size[1] + b) for a, b in pairs if (a, b) != (0, 0))
    return next((found for found in sizes if min(found) > 0 and judge(found) is True), None)


_BOTH_SIDES = 8
"""Pixels by which both sides of an image that is not square are changed by themselves."""


def _around(size: Size, change: int) -> list[Size]:
    """Sizes that differ by `change` pixels: on both sides alike, on the first alone, on the second alone."""
    if isinstance(size, int):
        return [size + change] if size + change > 0 else []
    pairs = [(size[0] + a, size[1] + b) for a, b in ((change, change), (change, 0), (0, change))]
    return [pair for pair in pairs if min(pair) > 0]


class _Sizes:
    """The answer for one size after another; filters are looked at once, shapes each time."""

    def __init__(
        self, model: nn.Module, group: str | Group, part: Part, channels: int | None, fields: Fields | None
    ) -> None:
        if part not in ("exact", "grid"):
            raise EqvizError("part", expected="exact or grid", found=repr(part), fix="choose one of these")
        self._audit: Callable[..., Audit] = lambda size, values: examine(
            model, size, group, channels=channels, fields=fields, values=values
        )
        self._part = part
        self._known_exact: str | None = None  # the operations that ran when the filters were seen to be exact
        self._ran = False
        self._error: EqvizError | None = None

    def __call__(self, size: int | tuple[int, int]) -> Answer:
        """Whether this size is exact; None if unknown or if the network cannot run at it."""
        try:
            shapes = self._audit(size, False)
            self._ran = True
            if shapes.grid_exact is False or (self._part == "grid" and shapes.grid_exact is True):
                return shapes.grid_exact
            if shapes.grid_exact is True and self._known_exact == shapes.path and self._part == "exact":
                return True
            whole = self._audit(size, True)
        except EqvizError as error:
            self._error = error
            return None
        self._known_exact = whole.path if whole.fibre_exact is True else self._known_exact
        return whole.grid_exact if self._part == "grid" else whole.exact

    def learn(self, size: int | tuple[int, int], known: Audit | None) -> Answer:
        """Whether the filters keep the symmetry, from an audit at one size."""
        try:
            found = self._audit(size, True) if known is None else known
        except EqvizError:
            return None
        self._known_exact = found.path if found.fibre_exact is True else None
        return found.fibre_exact

    def require_one(self, sizes: Iterable[int | tuple[int, int]]) -> None:
        """Raise what the network raises if it could run at none of the sizes."""
        if self._error is not None and not self._ran and list(sizes):
            raise self._error


def exactness_by_size(
    model: nn.Module,
    sizes: Iterable[int | tuple[int, int]],
    group: str | Group = "p4",
    *,
    channels: int | None = None,
    fields: Fields | None = None,
    progress: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """What is predicted of every layer at every size: input_size, layer, call, depth, exact, grid_exact, surviving.

    `exact` and `grid_exact` are yes, no or unknown for all that happened up to the layer's output. Sizes at which the
    network cannot run have no rows. `progress` is called with the number of sizes done.

    >>> found = exactness_by_size(nn.Sequential(nn.MaxPool2d(2)), [8, 9])
    >>> found.query("layer == '0'")["exact"].tolist()
    ['yes', 'no']
    """
    columns = ["input_size", "layer", "call", "depth", "exact", "grid_exact", "surviving"]
    parts = []
    for done, size in enumerate(sizes, start=1):
        try:
            found = examine(model, size, group, channels=channels, fields=fields)
        except EqvizError:
            found = None
        if found is not None:
            parts.append(found.layer_table().assign(input_size=format_size(found.input_size)))
        if progress is not None:
            progress(done)
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
