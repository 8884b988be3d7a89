"""How group elements permute the fibre of a tensor, and which permutation a linear map gives to its output.

An action is an array p over the flattened fibre (channels, group axis): moving the input by g moves the pixels of the
tensor and puts entry p[j] of its fibre at j. A linear map with filters W, fed with that, has the action q on its output
when W[o] = g . W[q[o]] with the entries on the input side permuted by p. Whether such a q exists is read from the
weights: every filter is reduced to its products with a few random filters, and those with the moved random filters must
be the same numbers in another order. Different filters agree in that with probability 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eqviz.audit.layout import Atom, CannotFollow
from eqviz.fields.grid_action import act_on_grid
from eqviz.groups.group import Element

Action = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Match = Literal["yes", "rounding", "no"]

PROBES = 3
EXACT = 1e-12
"""Relative difference that float64 sums over filters leave."""
ROUNDED = 2e-6
"""Relative difference that weights rounded to float32 leave."""
ROUNDED_FILTER = 2 * 64 * 2.0**-24
"""The same of the numbers of a filter, by its largest.

A measurement in float64 takes half of it for rounding: the distance from a filter that is symmetric. A filter and the
moved one may each be that far off.
"""
_ROWS = 256


@dataclass(frozen=True)
class Moves:
    """What an element of the group does to rows and columns: exchange them, then reverse each or not."""

    swaps: bool
    rows_reversed: bool
    columns_reversed: bool


@lru_cache(maxsize=64)
def moves(element: Element) -> Moves:
    """Those of an element that keeps the pixel grid.

    >>> from eqviz.groups.group import group
    >>> moves(group("D4").elements[5])
    Moves(swaps=True, rows_reversed=False, columns_reversed=False)
    """
    moved = act_on_grid(torch.arange(6).reshape(2, 3), element)
    row, column = divmod(int(moved[0, 0]), 3)
    swaps = moved.shape[0] == 3
    return Moves(swaps, bool(column if swaps else row), bool(row if swaps else column))


def identity(size: int) -> Action:
    """Nothing moves."""
    return np.arange(size, dtype=np.int64)


def restrict(action: Action, sizes: Sequence[int], chosen: Sequence[int]) -> tuple[Action, Action] | None:
    """The action on some axes of the fibre and on the others, or None if it mixes the two.

    >>> restrict(np.array([1, 0, 3, 2]), [2, 2], [1])
    (array([1, 0]), array([0, 1]))
    """
    others = [axis for axis in range(len(sizes)) if axis not in chosen]
    grid = np.arange(action.size).reshape(tuple(sizes) or (1,))
    if not sizes:
        return identity(1), identity(1)
    order = [*others, *chosen]
    count = int(np.prod([sizes[axis] for axis in chosen], dtype=np.int64))
    place = np.empty(action.size, dtype=np.int64)  # position in the order (others, chosen) of each entry
    place[grid.transpose(order).reshape(-1)] = np.arange(action.size)
    sources = place[action[grid.transpose(order).reshape(-1)]].reshape(-1, count)
    outer, inner = np.divmod(sources, count)
    if not ((outer == outer[:, :1]).all() and (inner == inner[:1]).all()):
        return None
    return inner[0].copy(), outer[:, 0].copy()


def combine(outer: Action, inner: Action) -> Action:
    """The action on a product of two parts of the fibre, `inner` running fastest."""
    return (outer[:, None] * len(inner) + inner[None, :]).reshape(-1)


def reorder(action: Action, sizes: Sequence[int], order: Sequence[int]) -> Action:
    """The same action when the axes of the fibre stand in another order."""
    if list(order) == list(range(len(sizes))):
        return action
    grid = np.arange(action.size).reshape(tuple(sizes) or (1,))
    old = grid.transpose(order).reshape(-1)  # old position of each new entry
    new = np.empty_like(old)
    new[old] = np.arange(old.size)
    return new[action[old]]


def full_action(action: Action, parts: Sequence[Atom], how: Moves) -> Action | None:
    """The action on all atoms of the fibre, the taps of windows included; `action` is that on channels and group axis.

    Reversing an axis reverses its taps, and an element that swaps the axes exchanges row taps with column taps: None
    if that cannot be, because one of the two is missing or longer than the other.
    """
    taps = {atom.kind: axis for axis, atom in enumerate(parts) if atom.kind != "fibre"}
    if len(taps) < sum(atom.kind != "fibre" for atom in parts):
        raise CannotFollow("windows of windows")
    if not taps:
        return action
    rows, columns = taps.get("row taps"), taps.get("column taps")
    if how.swaps and (rows is None or columns is None or parts[rows].size != parts[columns].size):
        return None
    sizes = [atom.size for atom in parts]
    index = list(np.indices(sizes).reshape(len(sizes), -1))
    fibre = [axis for axis, atom in enumerate(parts) if atom.kind == "fibre"]
    source = list(index)
    if fibre:
        of_fibre = np.ravel_multi_index([index[axis] for axis in fibre], [sizes[axis] for axis in fibre])
        for axis, value in zip(fibre, np.unravel_index(action[of_fibre], [sizes[a] for a in fibre]), strict=True):
            source[axis] = value
    row = None if rows is None else _reversed(index[rows], sizes[rows], how.rows_reversed)
    column = None if columns is None else _reversed(index[columns], sizes[columns], how.columns_reversed)
    if how.swaps:
        row, column = column, row
    if rows is not None and row is not None:
        source[rows] = row
    if columns is not None and column is not None:
        source[columns] = column
    return np.asarray(np.ravel_multi_index(source, sizes), dtype=np.int64)


def _reversed(index: Action, size: int, reverse: bool) -> Action:
    return size - 1 - index if reverse else index


def invariant(values: Floats, moved: Floats) -> Match:
    """Whether numbers are the same after they were moved: exactly, but for rounding, or not at all."""
    other = values != moved
    if not (np.isfinite(values[other]).all() and np.isfinite(moved[other]).all()):
        return "no"
    own = np.maximum(np.abs(values[other]), np.abs(moved[other]))
    finite = np.abs(values[np.isfinite(values)])
    least = 0.01 * float(finite.max(initial=0.0))  # numbers near 0 carry the rounding of those they are sums of
    scale = np.maximum(own, least)
    return _graded(np.abs(values[other] - moved[other]), EXACT * scale, ROUNDED * scale)


def _graded(difference: Floats, exact: Floats, rounded: Floats) -> Match:
    """How well numbers agree, each by the bounds of its own."""
    if (difference <= exact).all():
        return "yes"
    return "rounding" if (difference <= rounded).all() else "no"


class Filters:
    """The filters of a linear map, (outputs, inputs / groups, height, width), as products with random filters.

    `expected` are elements that will be asked for first, with their actions on the inputs: all are done in one pass.
    """

    def __init__(self, weight: Tensor, groups: int = 1, expected: Sequence[tuple[Element, Action]] = ()) -> None:
        outputs, inputs, height, width = weight.shape
        self._weight = weight.reshape(groups, outputs // groups, inputs * height * width)
        self._shape = (groups * inputs, height, width)
        self._probes = torch.randn(
            PROBES, *self._shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
        )
        self._size = float(np.sqrt(inputs * height * width))
        moved = [self._moved(*pair) for pair in expected]
        self._own, *found = self._products([self._probes, *moved])
        self._known = [(element, action, product) for (element, action), product in zip(expected, found, strict=True)]
        norms = self._weight.norm(dim=2).double().reshape(-1, 1).numpy()
        # what a sum of that many products may be off by; products can only say that filters are not much further off
        # than by rounding, which their numbers have to confirm
        self._exact, self._rounded = EXACT * norms * self._size, ROUNDED * norms * self._size

    def _moved(self, element: Element, on_input: Action) -> Tensor:
        back = act_on_grid(self._probes, element.inverse)
        moved = torch.empty_like(back)
        moved[:, torch.from_numpy(on_input)] = back
        return moved

    def _products(self, probes: Sequence[Tensor]) -> list[Floats]:
        """Every filter times every random filter, in float64, for each of several sets of these."""
        groups = self._weight.shape[0]
        flat = torch.cat(list(probes)).reshape(len(probes) * PROBES, groups, -1).permute(1, 2, 0)
        parts = [
            self._weight[:, start : start + _ROWS].double() @ flat for start in range(0, self._weight.shape[1], _ROWS)
        ]
        together = torch.cat(parts, 1).reshape(-1, len(probes), PROBES).numpy()
        return [together[:, number] for number in range(len(probes))]

    def action(self, element: Element, on_input: Action, candidates: Sequence[Action]) -> tuple[Action | None, Match]:
        """The permutation of the outputs that goes with that of the inputs under `element`, and how well it fits.

        The first of the `candidates` that fits is taken before any other permutation is looked for; one that fits
        exactly before one that fits up to rounding.
        """
        if element.transposes and self._shape[1] != self._shape[2]:
            return None, "no"
        done = [product for known, action, product in self._known if known == element and action is on_input]
        found = done[0] if done else self._products([self._moved(element, on_input)])[0]
        rounded: Action | None = None
        for candidate in (*candidates, _sorted_match(self._own, found)):
            if len(candidate) != len(self._own):
                continue
            match = _graded(np.abs(self._own - found[candidate]), self._exact, self._rounded)
            if match == "yes":
                return candidate, match
            if match == "rounding" and rounded is None and self._rounds(element, on_input, candidate):
                rounded = candidate
        return rounded, "no" if rounded is None else "rounding"

    def _rounds(self, element: Element, on_input: Action, outputs: Action) -> bool:
        """Whether every number of every filter is that of the moved filters but for rounding."""
        groups, per_group, _ = self._weight.shape
        inputs, height, width = self._shape
        own = self._weight.double().new_zeros(groups, per_group, groups, inputs // groups, height, width)
        for number, part in enumerate(self._weight):
            own[number, :, number] = part.reshape(per_group, -1, height, width)
        own = own.reshape(-1, inputs, height, width)
        off = (act_on_grid(own[outputs][:, on_input], element) - own).abs().flatten(1).amax(1)
        return bool((off <= ROUNDED_FILTER * own.abs().flatten(1).amax(1)).all())


def _sorted_match(own: Floats, found: Floats) -> Action:
    action = np.empty(len(own), dtype=np.int64)
    action[np.argsort(own[:, 0], kind="stable")] = np.argsort(found[:, 0], kind="stable")
    return action


def compose(actions: Mapping[int, Action], g: int, h: int) -> Action:
    """The action of g h (first h, then g), from those of g and h."""
    return actions[h][actions[g]]
