"""Which motion of the plane every element of a steerable library's group stands for.

eqviz names a motion by an `Element`: rotate counter-clockwise by `turn`, then flip up-down if `reflected`. The
libraries number theirs by integers, angles and pairs, and flip before they rotate, about an axis of the user's choice:

    e2cnn   Rot2dOnR2, FlipRot2dOnR2, Flip2dOnR2, TrivialOnR2: k stands for k/N of a turn (an angle if N is infinite),
            (f, k) for f flips up-down, then a rotation by k/N of a turn and by twice the slope of the axis
    escnn   rot2dOnR2, flipRot2dOnR2, flip2dOnR2, trivialOnR2: `basespace_action` is the motion as a matrix on points
            (x to the right, y upwards)

A flip F before a rotation R^s is the element of turn -s, since R^s F = F R^-s.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from eqviz.errors import EqvizError
from eqviz.groups.group import Element, Group

_CLOSE = 1e-9
"""Turns that differ by less are the same: angles come as floating-point numbers, often as multiples of a rounded pi."""


@dataclass(frozen=True)
class Motions:
    """A library's group as motions of the plane.

    elements    of a finite group: the library's element of each motion; empty for a group of all rotations
    rotation    of a group of all rotations: the library's element of a rotation by so many turns
    reflection  of O(2): one reflection, as a motion and as the library's element
    """

    elements: Mapping[Element, Any]
    rotation: Callable[[float], Any] | None = None
    reflection: tuple[Element, Any] | None = None

    @property
    def group(self) -> Group | None:
        """The finite group; None for SO(2) and O(2)."""
        if self.rotation is not None:
            return None
        turns = sorted(element.turn for element in self.elements if element.reflected)
        return Group(sum(not element.reflected for element in self.elements), turns[0] if turns else None)

    @property
    def name(self) -> str:
        """C4, D4, SO(2), O(2)."""
        return str(self.group or ("O(2)" if self.reflection else "SO(2)"))


def motions(gspace: Any) -> Motions:
    """The motions that the elements of a gspace's fibre group stand for.

    Raises EqvizError for a space that is not the plane, or a group whose elements are of an unknown kind.

    >>> from types import SimpleNamespace as Fake
    >>> motions(Fake(dimensionality=2, fibergroup=Fake(order=lambda: 2), axis=math.pi / 2)).name
    'D1(left-right)'
    """
    try:
        found = _by_matrices(gspace) if hasattr(gspace, "basespace_action") else _by_numbers(gspace)
        group = found.group
    except (AttributeError, TypeError, ValueError, IndexError) as error:
        raise _unknown(gspace, f"{type(error).__name__}: {error}") from error
    if group is not None and set(group.elements) != set(found.elements):
        raise _unknown(gspace, "elements that are no group of rotations and reflections")
    return found


def _unknown(gspace: Any, why: str) -> EqvizError:
    return EqvizError(
        f"field type over {getattr(gspace, 'name', gspace)}",
        expected="a group of rotations and reflections of the plane", found=why[:120],
        fix="say how the group acts on this layer, as in fields={'layer': 'invariant'}",
    )  # fmt: skip


def _by_numbers(gspace: Any) -> Motions:
    """e2cnn: elements are numbers and pairs of numbers."""
    group, axis = gspace.fibergroup, getattr(gspace, "axis", None)
    if gspace.dimensionality != 2:
        raise ValueError(f"a space of {gspace.dimensionality} dimensions")
    order = group.order()
    mirror = None if axis is None else Element(_turns(-2 * axis), reflected=True)
    if order < 1:
        if mirror is None:
            return Motions({}, lambda turns: 2 * math.pi * turns)
        return Motions({}, lambda turns: (0, 2 * math.pi * turns), (mirror, (1, 0.0)))
    if mirror is None:
        return Motions({Element(Fraction(k, order)): k for k in range(order)})
    if not hasattr(group, "rotation_order"):  # a flip alone is a cyclic group of two elements
        return Motions({Element(Fraction(0)): 0, mirror: 1})
    n = group.rotation_order
    pairs = [(flipped, k) for flipped in (0, 1) for k in range(n)]
    start = {0: Element(Fraction(0)), 1: mirror}
    return Motions({Element(Fraction(k, n)) * start[flipped]: (flipped, k) for flipped, k in pairs})


def _by_matrices(gspace: Any) -> Motions:
    """escnn: every element acts on points by a matrix."""
    group, action = gspace.fibergroup, gspace.basespace_action
    if gspace.dimensionality != 2:
        raise ValueError(f"a space of {gspace.dimensionality} dimensions")
    if not group.continuous:
        return Motions({_of_matrix(np.asarray(action(element))): element for element in group.elements})
    if isinstance(group.identity.to("radians"), tuple):  # (flip, angle)
        flip = group.element((1, 0.0), "radians")
        return Motions(
            {}, lambda turns: group.element((0, 2 * math.pi * turns), "radians"),
            (_of_matrix(np.asarray(action(flip))), flip),
        )  # fmt: skip
    return Motions({}, lambda turns: group.element(2 * math.pi * turns, "radians"))


def _of_matrix(matrix: Any) -> Element:
    """The element of an orthogonal (2, 2) matrix on points."""
    reflected = bool(np.linalg.det(matrix) < 0)
    rotation = np.diag([1.0, -1.0]) @ matrix if reflected else matrix  # F R^t = matrix
    return Element(_turns(math.atan2(rotation[1, 0], rotation[0, 0])), reflected)


def _turns(angle: float) -> Fraction:
    """An angle in radians as a fraction of a turn: a simple one, where one is that close."""
    turns = Fraction(float(angle) / (2 * math.pi))
    simple = turns.limit_denominator(1000)
    return simple if abs(simple - turns) < _CLOSE else turns.limit_denominator(10**9)
