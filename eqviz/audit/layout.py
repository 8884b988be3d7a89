"""What the dimensions of a tensor hold: images of the batch, rows, columns, channels and group axis.

Every dimension is a row-major product of atoms, so that views which merge and split dimensions can be followed. An atom
is a stretch of the batch, all rows, all columns, part of the fibre (channels, group axis), or the taps of windows that
were laid out as a dimension of their own. Tokens are the places of a map, row by row, with others beside them that have
no place (class tokens); keys are the places that attention weights are for. Atoms of size 1 are left out.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

Kind = Literal["batch", "rows", "columns", "fibre", "row taps", "column taps", "tokens", "keys"]
SPACE: tuple[Kind, ...] = ("rows", "columns")
FIBRE: tuple[Kind, ...] = ("fibre", "row taps", "column taps")


class Atom(NamedTuple):
    """A part of a dimension: what it counts, and how many."""

    kind: Kind
    size: int


Dimension = tuple[Atom, ...]


class CannotFollow(Exception):  # noqa: N818 - not an error of the user's: the operation is then reported as unknown
    """The rules do not say what an operation does; the message says why."""


def dimension(kind: Kind, size: int) -> Dimension:
    """A dimension of one atom; of none if its size is 1."""
    return (Atom(kind, size),) if size != 1 else ()


def extent(dim: Iterable[Atom]) -> int:
    """Size of a dimension."""
    return math.prod(atom.size for atom in dim)


def atoms(dims: Iterable[Dimension]) -> tuple[Atom, ...]:
    """All atoms in order."""
    return tuple(atom for dim in dims for atom in dim)


def kinds(dim: Iterable[Atom]) -> set[Kind]:
    """What a dimension counts."""
    return {atom.kind for atom in dim}


def only(dim: Iterable[Atom], *allowed: str) -> bool:
    """Whether a dimension holds nothing but atoms of these kinds."""
    return all(atom.kind in allowed for atom in dim)


def find(dims: Sequence[Dimension], kind: Kind) -> int | None:
    """The dimension that holds the rows, or the columns; None if none does."""
    return next((place for place, dim in enumerate(dims) if kind in kinds(dim)), None)


_CUT = {
    "row taps": "the taps of a window", "column taps": "the taps of a window",
    "tokens": "tokens, of which not all have a place in space", "keys": "attention weights",
}  # fmt: skip


class Split(NamedTuple):
    """Rows or columns cut into blocks of `taps` by a view."""

    kind: Kind
    taps: int


def viewed(dims: Sequence[Dimension], shape: Sequence[int]) -> tuple[tuple[Dimension, ...], tuple[Split, ...]]:
    """The dimensions after a view to `shape`, and which axes of space it cut into blocks.

    Raises CannotFollow for a view that cuts atoms in a way that has no meaning, such as blocks across rows and columns.

    >>> viewed([(Atom("batch", 2),), (Atom("fibre", 8),)], (2, 2, 4))[0][1:]
    ((Atom(kind='fibre', size=2),), (Atom(kind='fibre', size=4),))
    """
    left = list(reversed(atoms(dims)))
    found: list[Dimension] = []
    splits: list[Split] = []
    for size in shape:
        parts: list[Atom] = []
        wanted = size
        while wanted > 1:
            if not left:
                raise CannotFollow("a view to a shape of another size")
            atom = left.pop()
            if wanted % atom.size == 0:
                parts.append(atom)
                wanted //= atom.size
            elif atom.size % wanted == 0:
                inner = atom.size // wanted
                if atom.kind in SPACE:
                    splits.append(Split(atom.kind, inner))
                    left.append(Atom("row taps" if atom.kind == "rows" else "column taps", inner))
                    parts.append(Atom(atom.kind, wanted))
                elif atom.kind in ("row taps", "column taps", "tokens", "keys"):
                    raise CannotFollow(f"a view that cuts {_CUT[atom.kind]}")
                else:
                    left.append(Atom(atom.kind, inner))
                    parts.append(Atom(atom.kind, wanted))
                wanted = 1
            else:
                raise CannotFollow("a view that cuts across dimensions")
        found.append(tuple(parts))
    if left:
        raise CannotFollow("a view to a shape of another size")
    return tuple(found), tuple(splits)
