"""Reading the field types of steerable libraries: their matrices, for every motion of the plane."""

import hashlib
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import groupby
from typing import Any

import numpy as np

from eqviz.errors import EqvizError
from eqviz.fields.steerable import Fibre, Matrix, Steerable
from eqviz.fields.steerable_motions import Motions, motions
from eqviz.groups.group import Element

_INTEGER = 1e-12
"""Entries this close to -1, 0 or 1 are that: libraries multiply their matrices out of cosines of rounded angles."""

_LARGEST_FREQUENCY = 512

_known: dict[int, tuple["weakref.ref[Any]", Steerable | EqvizError]] = {}


def steerable(library_type: Any) -> Steerable:
    """The field type of a library, as eqviz's own.

    Raises EqvizError for a type that is not over the plane, or whose matrices are not orthogonal.

    >>> class Fake:
    ...     def __init__(self, **attributes):
    ...         vars(self).update(attributes)
    >>> class Trivial(Fake):
    ...     def __call__(self, element):
    ...         return np.eye(1)
    >>> space = Fake(dimensionality=2, fibergroup=Fake(order=lambda: 4))
    >>> steerable(Fake(gspace=space, size=1, representations=[Trivial(name="irrep_0", size=1)])).name
    'steerable(C4; 1 irrep_0)'
    """
    kept = _known.get(id(library_type))
    found = kept[1] if kept is not None and kept[0]() is library_type else _kept(library_type)  # ids are used again
    if isinstance(found, EqvizError):
        raise found
    return found


def _kept(library_type: Any) -> Steerable | EqvizError:
    """What is read of a type, or what is wrong with it; as long as that type lives it is not read again."""
    found: Steerable | EqvizError
    try:
        found = _read(library_type)
    except EqvizError as problem:
        found = problem
    key = id(library_type)
    _known[key] = weakref.ref(library_type, lambda _: _known.pop(key, None)), found
    return found


def _read(library_type: Any) -> Steerable:
    known = motions(library_type.gspace)
    read: dict[int, Fibre] = {}
    fibres = []
    for representation in library_type.representations:
        if id(representation) not in read:
            read[id(representation)] = _fibre(representation, known)
        fibres.append(read[id(representation)])
    kinds = tuple((fibre, len(list(same))) for fibre, same in groupby(fibres))
    reflects = known.reflection is not None or any(element.reflected for element in known.elements)
    return Steerable(known.name, known.group, reflects, kinds)


def _fibre(representation: Any, known: Motions) -> Fibre:
    name, size = str(representation.name), int(representation.size)

    def matrix(element: Any) -> Matrix:
        return np.asarray(representation(element), dtype=np.float64).reshape(size, size)

    rotation = known.rotation
    if rotation is None:
        table = {motion: _clean(matrix(element)) for motion, element in known.elements.items()}
        _check(name, table.values())
        return Fibre(name, size, _digest(table), table)
    waves = _waves(lambda turns: matrix(rotation(turns)))
    mirror = None if known.reflection is None else (known.reflection[0], _clean(matrix(known.reflection[1])))
    some = [Element(Fraction(r, 7)) for r in range(7)] + ([] if mirror is None else [mirror[0]])
    fibre = Fibre(name, size, "", {}, waves, mirror)
    values = {element: fibre.matrix(element) for element in some}
    _check(name, values.values())
    return replace(fibre, digest=_digest(values) + str(waves.shape[1]))


def _waves(matrix: Callable[[float], Matrix]) -> Matrix:
    """The coefficients of cosines and sines, (2, frequency, size, size), of a representation of all rotations.

    Its entries are trigonometric polynomials of the angle, so that samples all around give them exactly.
    """
    samples = 16
    while samples <= 2 * _LARGEST_FREQUENCY:
        spectrum = np.fft.rfft(np.stack([matrix(r / samples) for r in range(samples)]), axis=0)
        waves = np.stack([spectrum.real, -spectrum.imag]) * (2 / samples)
        waves[:, 0] /= 2
        present = np.flatnonzero(np.abs(waves).max((0, 2, 3)) > 1e-9)
        highest = int(present.max()) if len(present) else 0
        if highest < samples // 4:
            return _clean(np.ascontiguousarray(waves[:, : highest + 1]))
        samples *= 2
    raise EqvizError(
        "representation", expected=f"frequencies up to {_LARGEST_FREQUENCY}", found="higher ones",
        fix="leave this layer out, or say how the group acts on it",
    )  # fmt: skip


def _clean(matrix: Matrix) -> Matrix:
    near = np.round(matrix)
    return np.where(np.abs(matrix - near) < _INTEGER, near, matrix) + 0.0  # + 0.0: no negative zeros


def _check(name: str, matrices: Iterable[Matrix]) -> None:
    for matrix in matrices:
        if np.abs(matrix @ matrix.T - np.eye(len(matrix))).max() > 1e-6:
            raise EqvizError(
                f"representation {name}", expected="orthogonal matrices", found="some that are not",
                fix="leave layers of this type out: lengths and distances mean nothing under it",
            )  # fmt: skip


def _digest(matrices: Mapping[Element, Matrix]) -> str:
    """What tells representations of one name and size apart: which matrix belongs to which motion."""
    found = hashlib.blake2b(digest_size=12)
    for element in sorted(matrices):
        found.update(f"{element.turn} {element.reflected}".encode())
        found.update((matrices[element].round(6) + 0.0).tobytes())
    return found.hexdigest()
