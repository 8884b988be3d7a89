"""How a field type that is declared for a layer moves the entries of its fibre."""

from collections.abc import Iterator

import numpy as np
import torch

from eqviz.audit.actions import Action
from eqviz.fields.field_types import FieldType, Regular
from eqviz.groups.group import Group


def declared_permutation(field: FieldType, group: Group, g: int, size: int) -> Action | None:
    """The permutation of a flattened fibre of `size` entries by which a field type moves it; None if it has none."""
    element = group.elements[g]
    if not field.represents(element):
        return None
    fibre: tuple[int, ...] = (1, size)
    if isinstance(field, Regular) and not field.flattened:
        order = field.group.order
        fibre = (1, order, size // order) if field.group_first else (1, size // order, order)
        if size % order:
            return None
    shape = next((found for found in (fibre, (*fibre, 1, 1)) if field.fits(found)), None)
    if shape is None:
        return None
    counted = torch.arange(1, size + 1, dtype=torch.float64)  # not from 0, whose sign is lost
    moved = field.act(counted.reshape(shape), element).reshape(-1) - 1
    rounded = moved.round()
    if not bool(((moved - rounded).abs() < _WHOLE).all()):
        return None
    action = np.asarray(rounded.long().numpy())
    return action if np.array_equal(np.sort(action), np.arange(size)) else None


_WHOLE = 1e-3
"""How far from a whole number the place of an entry may lie that matrices of permutations, stored in float32, give."""


def mixes(field: FieldType | None, group: Group, g: int, size: int) -> Iterator[bool]:
    """Whether a field type moves entries by a matrix that is no permutation; nothing if it is of another size."""
    if field is None or not field.represents(group.elements[g]):
        return
    if any(field.fits(shape) for shape in ((1, size, 1, 1), (1, size))):
        yield declared_permutation(field, group, g, size) is None
