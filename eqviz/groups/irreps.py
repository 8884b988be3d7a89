"""Real irreducible representations and the projectors they give on functions over the group.

Functions on the group are vectors of length |G|; the group acts on them by (L_g f)(u) = f(g^-1 u), the left regular
representation. The projectors split an aligned orbit into its isotypic components.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from eqviz.groups.group import Group

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Irrep:
    """One real irrep of a group: its name, dimension d, dim End e and character.

    `endomorphisms` is dim End: 1, or 2 for the rotation-like irreps of C_N, which are two complex ones joined.
    `character` has one value an element, in the order of the group.

    >>> from eqviz.groups.group import group
    >>> [(r.name, r.dimension, r.endomorphisms) for r in irreps(group("C4"))]
    [('A', 1, 1), ('B', 1, 1), ('E', 2, 2)]
    """

    name: str
    dimension: int
    endomorphisms: int
    character: tuple[float, ...]

    @property
    def trivial(self) -> bool:
        """Whether every element acts as the identity: the symmetric part."""
        return self.dimension == 1 and all(value == 1 for value in self.character)


@lru_cache(maxsize=256)
def irreps(group: Group) -> tuple[Irrep, ...]:
    """All real irreps of a finite subgroup of O(2), the trivial one first, in Mulliken's names.

    C_N: A, B (N even: the sign of the half-turn step) and E_k of frequency k (E where there is only one).
    D_N: A1, A2 (sign of reflections), for even N B1 and B2 (B1 keeps the first reflection of the group), and E_k.
    """
    n, mirrored = group.rotations, group.mirror is not None
    one_dimensional = _mirrored_signs(n) if mirrored else _signs(n)
    frequencies = range(1, (n - 1) // 2 + 1)
    planar = []
    for k in frequencies:
        name = "E" if len(frequencies) == 1 else f"E{k}"
        rotations = tuple(_twice_cosine(k * r, n) for r in range(n))
        character = rotations + (0.0,) * n if mirrored else rotations
        planar.append(Irrep(name, 2, 1 if mirrored else 2, character))
    return (*one_dimensional, *planar)


def _signs(n: int) -> list[Irrep]:
    alternating = tuple((-1.0) ** r for r in range(n))
    return [Irrep("A", 1, 1, (1.0,) * n)] + ([Irrep("B", 1, 1, alternating)] if n % 2 == 0 else [])


def _mirrored_signs(n: int) -> list[Irrep]:
    ones = (1.0,) * n
    minus = (-1.0,) * n
    found = [Irrep("A1", 1, 1, ones + ones), Irrep("A2", 1, 1, ones + minus)]
    if n % 2 == 0:
        alternating = tuple((-1.0) ** r for r in range(n))
        opposite = tuple(-value for value in alternating)
        found += [Irrep("B1", 1, 1, alternating + alternating), Irrep("B2", 1, 1, alternating + opposite)]
    return found


def _twice_cosine(step: int, n: int) -> float:
    """2 cos(2 pi step / n), exact at the quarter turns."""
    if (4 * step) % n == 0:
        return (2.0, 0.0, -2.0, 0.0)[4 * step // n % 4]
    return 2 * math.cos(2 * math.pi * step / n)


def left_translation(group: Group, g: int) -> Matrix:
    """The permutation matrix of L_g, (|G|, |G|): (L_g f)(u) = f(g^-1 u)."""
    matrix = np.zeros((group.order, group.order))
    matrix[np.arange(group.order), group.cayley[group.inverse(g)]] = 1.0
    return matrix


def isotypic_projector(group: Group, irrep: Irrep) -> Matrix:
    """P_r = d_r / (|G| e_r) sum_g chi_r(g^-1) L_g, the orthogonal projector onto the isotypic component, (|G|, |G|).

    Source: Serre, Linear Representations of Finite Groups, theorem 8, divided by e_r for real irreps of complex type.

    >>> from eqviz.groups.group import group
    >>> parts = [isotypic_projector(group("D4"), r) for r in irreps(group("D4"))]
    >>> bool(np.allclose(sum(parts), np.eye(8)))
    True
    """
    scale = irrep.dimension / (group.order * irrep.endomorphisms)
    terms = (irrep.character[group.inverse(g)] * left_translation(group, g) for g in range(group.order))
    return np.asarray(scale * sum(terms))


def reynolds_projector(group: Group, subgroup: Group) -> Matrix:
    """1/|H| sum over h in H of L_h: the average over a subgroup, (|G|, |G|).

    Its image are the functions that are constant on the right cosets H g.
    """
    members = group.members(subgroup)
    return np.asarray(sum(left_translation(group, h) for h in members) / len(members))


def fibre_permutation(group: Group, g: int) -> tuple[int, ...]:
    """How g permutes the group axis of a regular field: `out[u] = field[permutation[u]]`, from (g f)(u) = f(g^-1 u).

    >>> from eqviz.groups.group import group
    >>> fibre_permutation(group("D4"), 1)
    (3, 0, 1, 2, 5, 6, 7, 4)
    """
    return tuple(int(u) for u in group.cayley[group.inverse(g)])
