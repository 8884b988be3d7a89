"""Field types of steerable libraries (e2cnn, escnn), as eqviz's own: pixels move, and the fibre by representations.

They hold matrices and no object of a library (:func:`eqviz.fields.steerable_reading.steerable` reads them out of it),
so that a type can be hashed, copied, sent to another process and read where the library is not installed.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eqviz.fields.base import FieldType
from eqviz.fields.grid_action import act_on_maps
from eqviz.groups.group import Element, Group

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fibre:
    """One representation: an orthogonal matrix `(size, size)` for every element of the group.

    Of a finite group `table` has them. Of all rotations it is a trigonometric polynomial in the angle: `waves` are its
    coefficients, `(2, frequency, size, size)` of cosines and sines, and `reflected` the matrix of one reflection.

    >>> from eqviz.groups.group import group
    >>> Fibre("sign", 1, "", {g: np.array([[(-1.0) ** k]]) for k, g in enumerate(group("C4").elements)}).permutes
    False
    """

    name: str
    size: int
    digest: str
    table: Mapping[Element, Matrix] = field(default_factory=dict, compare=False, repr=False)
    waves: Matrix | None = field(default=None, compare=False, repr=False)
    reflected: tuple[Element, Matrix] | None = field(default=None, compare=False, repr=False)

    def matrix(self, element: Element) -> Matrix:
        """The matrix of an element. Raises ValueError for one that is not in the group."""
        if self.waves is None:
            if element not in self.table:
                raise ValueError(f"{element} does not act on {self.name}")
            return self.table[element]
        if not element.reflected:
            return self._turned(element.turn)
        if self.reflected is None:
            raise ValueError(f"{element} does not act on {self.name}")
        mirror, matrix = self.reflected  # F R^t = R^(m - t) F R^m
        return np.asarray(self._turned(mirror.turn - element.turn) @ matrix)

    def _turned(self, turn: Fraction) -> Matrix:
        waves = np.zeros((2, 0, self.size, self.size)) if self.waves is None else self.waves
        cosines = [_cosine(k * turn) for k in range(waves.shape[1])]
        sines = [_cosine(k * turn - Fraction(1, 4)) for k in range(waves.shape[1])]
        return np.asarray(np.einsum("wk,wkij->ij", np.array([cosines, sines]), waves))

    @property
    def generator(self) -> Matrix | None:
        """The derivative by the angle, in radians, at the identity; None for a finite group."""
        if self.waves is None:
            return None
        return np.asarray(np.einsum("k,kij->ij", np.arange(self.waves.shape[1], dtype=np.float64), self.waves[1]))

    @cached_property
    def permutes(self) -> bool:
        """Whether every element on the pixel grid only exchanges entries."""
        quarters = [Element(Fraction(q, 4), mirrored) for mirrored in (False, True) for q in range(4)]
        known = [g for g in quarters if (g in self.table if self.waves is None else not g.reflected or self.reflected)]
        return all(np.array_equal(np.sort(self.matrix(g), axis=1)[:, -1:], np.ones((self.size, 1))) and
                   np.count_nonzero(self.matrix(g)) == self.size for g in known)  # fmt: skip


class _Plan(NamedTuple):
    """How one element moves the fibre: `out[c] = signs[c] * in[sources[c]]`, or else matrices on blocks of channels.

    `blocks` are the channels of each kind of field, in the order of the fields, with their matrix; `back` puts the
    blocks, one after another, where they belong (None: they are there).
    """

    sources: Tensor | None
    signs: Tensor | None
    blocks: tuple[tuple[Tensor, Tensor], ...]
    back: Tensor | None


@final
@dataclass(frozen=True)
class Steerable(FieldType):
    """Fields of a steerable library: `(batch, channel, height, width)` and, without space, `(batch, channel)`.

    `kinds` are the representations side by side along the channels, each with the number of times that it comes in a
    row; `symmetry` is the name of the group. `group` is None where that is SO(2) or O(2), of which every element acts;
    `reflects` says whether reflections do.

    >>> from eqviz.groups.group import group
    >>> vector = Fibre("irrep_1", 2, "", {g: g.matrix.round() for g in group("C4").elements})
    >>> field = Steerable("C4", group("C4"), False, ((vector, 3),))
    >>> field.name, field.act(torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]), group("C4").elements[1]).tolist()
    ('steerable(C4; 3 irrep_1)', [[-2.0, 1.0, -4.0, 3.0, -6.0, 5.0]])
    """

    symmetry: str
    group: Group | None
    reflects: bool
    kinds: tuple[tuple[Fibre, int], ...]

    @property
    def name(self) -> str:
        """Such as `steerable(C4; 2 regular, 3 irrep_1)`: the group, and how many fields of which kind."""
        counts: Counter[str] = Counter()
        for fibre, times in self.kinds:
            counts[fibre.name] += times
        shown = [f"{times} {name}" for name, times in list(counts.items())[:_SHOWN]]
        more = len(counts) - _SHOWN
        return f"steerable({self.symmetry}; {', '.join(shown)}{f', {more} more' if more > 0 else ''})"

    @property
    def size(self) -> int:
        """Number of channels."""
        return sum(fibre.size * times for fibre, times in self.kinds)

    @property
    def still(self) -> bool:
        """Whether no element moves the fibre: scalar fields alone."""
        return all(fibre.size == 1 and self._trivial(fibre) for fibre, _ in self.kinds)

    def _trivial(self, fibre: Fibre) -> bool:
        if fibre.waves is None:
            return all(matrix.item() == 1 for matrix in fibre.table.values())
        return fibre.waves.shape[1] == 1 and (fibre.reflected is None or fibre.reflected[1].item() == 1)

    @property
    def exact_group(self) -> Group:
        """The largest group on the pixel grid whose elements act."""
        if self.group is not None:
            return self.group.exact_subgroup
        return Group(4, Fraction(0) if self.reflects else None)

    def act(self, features: Tensor, element: Element) -> Tensor:
        """Pixels moved, if there are any, and rho(element) on the fibre."""
        moved = act_on_maps(features, element) if features.dim() == 4 else features
        return self.act_on_fibre(moved, element)

    def act_on_fibre(self, features: Tensor, element: Element) -> Tensor:
        """rho(element) on the channels, the second axis, alone. Raises ValueError if it is not in the group."""
        if element == Element(Fraction(0)):
            return features
        plan, place = _plan(self, element), features.device
        if plan.sources is not None:
            # fields that are all alike may also come in another number: one of them is a channel by itself
            moved: Tensor = _split(features, len(plan.sources))[:, :, plan.sources.to(place)].flatten(1, 2)
            if plan.signs is None:
                return moved
            signs = plan.signs.to(features.dtype).to(place).repeat(features.shape[1] // len(plan.signs))
            return moved * signs.view(-1, *(1,) * (features.dim() - 2))
        parts = []
        for channels, matrix in plan.blocks:
            rows = _split(features[:, channels.to(place)], len(matrix))
            parts.append(torch.einsum("ij,bnj...->bni...", matrix.to(features.dtype).to(place), rows).flatten(1, 2))
        found = torch.cat(parts, dim=1)
        return found if plan.back is None else found[:, plan.back.to(place)]

    def fibre_matrix(self, element: Element) -> Matrix:
        """rho(element) on all channels, `(size, size)`."""
        basis = torch.eye(self.size, dtype=torch.float64)
        return np.asarray(self.act_on_fibre(basis, element).numpy().T)

    @property
    def fibre_generator(self) -> Matrix | None:
        """The derivative of rho by the angle of rotation, in radians; None for a finite group."""
        if self.group is not None:
            return None
        found, start = np.zeros((self.size, self.size)), 0
        for fibre, times in self.kinds:
            for _ in range(times):
                end = start + fibre.size
                found[start:end, start:end] = fibre.generator
                start = end
        return found

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Maps or vectors of this number of channels."""
        return len(shape) in (2, 4) and shape[1] == self.size

    def channel_shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """One field, where all fields are alike and only exchange entries, as regular ones do."""
        alike = len({fibre for fibre, _ in self.kinds}) == 1 and self.kinds[0][0].permutes
        return (1, self.kinds[0][0].size, *shape[2:]) if alike else None

    def represents(self, element: Element) -> bool:
        """Elements of the finite group; all rotations under SO(2), everything under O(2)."""
        if self.group is not None:
            return element in self.group
        return self.reflects or not element.reflected


_SHOWN = 4
"""Kinds of fields that the name of a type counts."""


@lru_cache(maxsize=1024)
def _plan(steerable: Steerable, element: Element) -> _Plan:
    matrices = [torch.from_numpy(fibre.matrix(element)) for fibre, _ in steerable.kinds]
    if all(_exchanges(matrix) for matrix in matrices):
        alike = len({fibre for fibre, _ in steerable.kinds}) == 1
        rows = [matrix for (_, times), matrix in zip(steerable.kinds, matrices, strict=True) for _ in range(times)]
        whole: Tensor = matrices[0] if alike else torch.block_diag(*rows)  # type: ignore[no-untyped-call]  # torch's
        signs = whole.sum(1)
        return _Plan(whole.abs().argmax(1), None if bool((signs == 1).all()) else signs, (), None)
    places: dict[Fibre, list[Tensor]] = {}
    start = 0
    for fibre, times in steerable.kinds:
        places.setdefault(fibre, []).append(torch.arange(start, start + fibre.size * times))
        start += fibre.size * times
    blocks = tuple((torch.cat(where), torch.from_numpy(fibre.matrix(element))) for fibre, where in places.items())
    order = torch.cat([channels for channels, _ in blocks])
    back = order.argsort()
    return _Plan(None, None, blocks, None if bool((back == torch.arange(start)).all()) else back)


def _split(features: Tensor, size: int) -> Tensor:
    """The channels of fields of one size apart, (batch, field, size, ...)."""
    return features.reshape(len(features), -1, size, *features.shape[2:])


def _exchanges(matrix: Tensor) -> bool:
    """Whether it has one entry, 1 or -1, in every row and column."""
    ones = matrix.abs()
    return bool(((ones == 0) | (ones == 1)).all() and (ones.sum(0) == 1).all() and (ones.sum(1) == 1).all())


def _cosine(turn: Fraction) -> float:
    """The cosine of a fraction of a turn, exact at quarter turns."""
    quarters = (turn % 1) * 4
    if quarters.denominator == 1:
        return (1.0, 0.0, -1.0, 0.0)[int(quarters)]
    return math.cos(2 * math.pi * float(turn % 1))
