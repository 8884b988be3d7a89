"""Finite subgroups of O(2) as immutable values.

An element is "rotate counter-clockwise by `turn` of a full turn, then flip up-down if `reflected`". A group is fixed
by its rotation order n and, if it has reflections, by its first reflected element. Everything else (order of
elements, composition, subgroups) follows by arithmetic on fractions, so there is nothing to round.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt

from eqviz.errors import EqvizError

Integers = npt.NDArray[np.int64]

QUARTER = Fraction(1, 4)


@dataclass(frozen=True, order=True)
class Element:
    """One element F^m R^t of O(2): rotate by `turn` of a full turn, then flip up-down if `reflected`.

    >>> quarter, flip = Element(Fraction(1, 4)), Element(Fraction(0), reflected=True)
    >>> print(flip * quarter, "|", quarter * flip, "|", quarter * quarter.inverse)
    transpose | anti-transpose | identity
    """

    turn: Fraction
    reflected: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "turn", Fraction(self.turn) % 1)

    def __mul__(self, other: "Element") -> "Element":
        """`self * other`: first `other`, then `self` (R^t F = F R^-t)."""
        sign = -1 if other.reflected else 1
        return Element(sign * self.turn + other.turn, self.reflected != other.reflected)

    @property
    def inverse(self) -> "Element":
        """The element that undoes this one."""
        return self if self.reflected else Element(-self.turn)

    @property
    def on_grid(self) -> bool:
        """Whether it maps the square pixel grid onto itself."""
        return (self.turn / QUARTER).denominator == 1

    @property
    def quarter_turns(self) -> int:
        """Number of quarter turns, for an element on the grid."""
        if not self.on_grid:
            raise ValueError(f"{self} does not map the pixel grid onto itself")
        return int(self.turn / QUARTER)

    @property
    def transposes(self) -> bool:
        """Whether it exchanges height and width (for an element on the grid)."""
        return self.on_grid and self.quarter_turns % 2 == 1

    @property
    def degrees(self) -> float:
        """Counter-clockwise rotation angle in degrees, applied before the flip."""
        return float(self.turn * 360)

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """The (2, 2) orthogonal matrix on points (x to the right, y upwards)."""
        angle = 2 * math.pi * float(self.turn)
        rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        flip = np.diag([1.0, -1.0 if self.reflected else 1.0])
        return np.asarray(flip @ rotation, dtype=np.float64)

    def __str__(self) -> str:
        if self.reflected and self.on_grid:
            return _REFLECTIONS[self.quarter_turns]
        angle = f"{self.degrees:g}"
        if self.reflected:
            return f"rotation {angle}, then flip up-down"
        return "identity" if self.turn == 0 else f"rotation {angle}"


_REFLECTIONS = ("flip up-down", "transpose", "flip left-right", "anti-transpose")
_SETTINGS = {  # (rotation order, turn of the first reflected element) -> the setting that tells such groups apart
    (1, Fraction(0)): "up-down",
    (1, Fraction(1, 4)): "transpose",
    (1, Fraction(1, 2)): "left-right",
    (1, Fraction(3, 4)): "anti-transpose",
    (2, Fraction(0)): "axes",
    (2, Fraction(1, 4)): "diagonals",
}
_ALIASES = {"p4": "C4", "p4m": "D4", "D1": "D1(left-right)", "D2": "D2(axes)"}


@dataclass(frozen=True)
class Group:
    """A finite subgroup of O(2): `rotations` rotations and, if `mirror` is given, as many reflections.

    `mirror` is the turn of the first reflected element, F R^mirror. Elements are numbered m * rotations + r: element
    r rotates by r / rotations of a turn, element rotations + r is F R^(mirror + r / rotations). For D4 that is the
    order of the GrouPy lineage: 0 to 3 rotate by quarter turns; 4 flips up-down, 5 transposes, 6 flips left-right and
    7 transposes along the other diagonal.

    >>> D4 = group("D4")
    >>> D4.order, str(D4.elements[5]), D4.compose(4, 1)
    (8, 'transpose', 5)
    >>> [str(H) for H in group("C4").subgroups]
    ['C1', 'C2', 'C4']
    """

    rotations: int
    mirror: Fraction | None = None

    def __post_init__(self) -> None:
        if self.rotations < 1:
            raise ValueError(f"a group has at least one rotation, not {self.rotations}")
        if self.mirror is not None:
            object.__setattr__(self, "mirror", Fraction(self.mirror) % Fraction(1, self.rotations))

    @cached_property
    def elements(self) -> tuple[Element, ...]:
        """All elements in order; the first is the identity."""
        turns = [Fraction(r, self.rotations) for r in range(self.rotations)]
        mirrored = [] if self.mirror is None else [Element(self.mirror + turn, reflected=True) for turn in turns]
        return tuple([Element(turn) for turn in turns] + mirrored)

    @property
    def order(self) -> int:
        """Number of elements, |G|."""
        return len(self.elements)

    @property
    def name(self) -> str:
        """Point-group name, with the setting where several groups share it: C4, D4, D2(axes), D1(transpose)."""
        if self.mirror is None:
            return f"C{self.rotations}"
        if self.rotations == 4 and self.mirror == 0:
            return "D4"
        setting = _SETTINGS.get((self.rotations, self.mirror), f"mirror {self.mirror}")
        return f"D{self.rotations}({setting})"

    def __str__(self) -> str:
        return self.name

    @property
    def on_grid(self) -> bool:
        """Whether every element maps the square pixel grid onto itself, so that its action is exact."""
        return all(element.on_grid for element in self.elements)

    @cached_property
    def _positions(self) -> dict[Element, int]:
        return {element: position for position, element in enumerate(self.elements)}

    def index(self, element: Element) -> int:
        """Position of `element`. Raises ValueError if it is not in the group."""
        try:
            return self._positions[element]
        except KeyError:
            raise ValueError(f"{element} is not an element of {self}") from None

    def __contains__(self, element: object) -> bool:
        return element in self._positions

    @cached_property
    def cayley(self) -> Integers:
        """Composition table, (|G|, |G|): `cayley[g, h]` is the position of g h (first h, then g). Read-only."""
        table = np.array([[self.index(g * h) for h in self.elements] for g in self.elements], dtype=np.int64)
        table.flags.writeable = False
        return table

    def compose(self, g: int, h: int) -> int:
        """Position of the product g h: first h, then g."""
        return int(self.cayley[g, h])

    def inverse(self, g: int) -> int:
        """Position of the inverse of g."""
        return self.index(self.elements[g].inverse)

    def contains_group(self, other: "Group") -> bool:
        """Whether `other` is a subgroup of this group."""
        return all(element in self for element in other.elements)

    def members(self, subgroup: "Group") -> tuple[int, ...]:
        """Positions of the elements of a subgroup. Raises ValueError if it is not one."""
        return tuple(self.index(element) for element in subgroup.elements)

    @cached_property
    def subgroups(self) -> tuple["Group", ...]:
        """All subgroups, smallest first: C_n for every n that divides the rotations, and their mirrored settings."""
        found = []
        for n in (n for n in range(1, self.rotations + 1) if self.rotations % n == 0):
            found.append(Group(n))
            if self.mirror is not None:
                settings = {(self.mirror + Fraction(r, self.rotations)) % Fraction(1, n) for r in range(self.rotations)}
                found += [Group(n, mirror) for mirror in sorted(settings)]
        return tuple(sorted(found, key=lambda H: (H.order, H.mirror is not None, H.rotations, H.mirror or 0)))

    def right_cosets(self, subgroup: "Group") -> tuple[tuple[int, ...], ...]:
        """The right cosets H g as tuples of positions, in order of their first member."""
        return self._cosets([[self.compose(h, g) for h in self.members(subgroup)] for g in range(self.order)])

    def left_cosets(self, subgroup: "Group") -> tuple[tuple[int, ...], ...]:
        """The left cosets g H as tuples of positions, in order of their first member."""
        return self._cosets([[self.compose(g, h) for h in self.members(subgroup)] for g in range(self.order)])

    @staticmethod
    def _cosets(candidates: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
        return tuple(sorted({tuple(sorted(coset)) for coset in candidates}))

    @cached_property
    def exact_subgroup(self) -> "Group":
        """The largest subgroup whose elements all map the pixel grid onto itself."""
        return next(H for H in reversed(self.subgroups) if H.on_grid)


def group(name: str | Group) -> Group:
    """The group of that name: C1, C2, C4, D1, D2, D4, C<N>; p4 and p4m for C4 and D4; settings as in D1(transpose).

    D1 alone is D1(left-right), D2 alone is D2(axes). Every group is found again by its own name. Raises EqvizError for
    any other name.

    >>> group("p4m").name, group("C8").on_grid, group("D1").name
    ('D4', False, 'D1(left-right)')
    """
    if isinstance(name, Group):
        return name
    by_name = {H.name: H for H in Group(4, Fraction(0)).subgroups}
    spelt = {known.lower(): known for known in (*by_name, *_ALIASES)}
    wanted = spelt.get(name.strip().lower(), name.strip())
    wanted = _ALIASES.get(wanted, wanted)
    if wanted in by_name:
        return by_name[wanted]
    cyclic = re.fullmatch(r"[Cc]([1-9]\d{0,2})", wanted)
    if cyclic:
        return Group(int(cyclic.group(1)))
    mirrored = re.fullmatch(r"D([1-9]\d{0,2})\(mirror (0|[1-9]\d*/[1-9]\d*)\)", wanted)
    if mirrored:
        return Group(int(mirrored.group(1)), Fraction(mirrored.group(2)))
    raise EqvizError(
        "group", expected=f"p4, p4m, {', '.join(by_name)} or C<N>", found=repr(name), fix="choose one of these names"
    )
