"""Orbits of images, alignment of what a layer makes of them, and the Reynolds split.

The aligned orbit is A_g(x) = rho(g)^-1 Phi(g x); a layer Phi is equivariant at x exactly when it does not depend on g.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from eqviz.errors import EqvizError
from eqviz.fields.field_types import FieldType
from eqviz.fields.grid_action import act_on_maps, mask_disc
from eqviz.groups.group import Element, Group


@dataclass(frozen=True)
class OrbitBatch:
    """Images moved by some elements of a group, stacked on the batch axis.

    `positions` are the elements, in order; `images` is `(element*batch, channel, height, width)`, element outermost.
    """

    positions: tuple[int, ...]
    images: Tensor


def orbit(
    images: Float[Tensor, "batch channel height width"], group: Group, *, mask: bool = False
) -> tuple[OrbitBatch, ...]:
    """The orbit of `images` under `group`, stacked so that one forward pass serves all of it.

    Square images give one batch. If they are not square, the elements that transpose turn (height, width) into
    (width, height) and come as a second batch. `mask` blacks out (sets to 0) everything outside the inscribed disc.

    >>> from eqviz.groups.group import group
    >>> [b.images.shape[0] for b in orbit(torch.zeros(2, 1, 6, 8), group("D4"))]
    [8, 8]
    """
    height, width = images.shape[-2:]
    source = mask_disc(images) if mask else images
    plain = [i for i, g in enumerate(group.elements) if height == width or not g.transposes]
    transposed = [i for i in range(group.order) if i not in plain]
    return tuple(
        OrbitBatch(tuple(positions), torch.cat([act_on_maps(source, group.elements[i]) for i in positions]))
        for positions in (plain, transposed)
        if positions
    )


def align(stacked: Tensor, elements: Sequence[Element], field: FieldType) -> Float[Tensor, "element batch ..."]:
    """A_g = rho(g)^-1 Phi(g x) for every element of a stacked orbit.

    `stacked` is `(element*batch, ...)`, element outermost, as :func:`orbit` stacks it. Permutations (every action on
    the grid that needs no arithmetic) are one gather; anything else goes through `field.act`.
    Raises EqvizError when the field type does not fit the shape or does not know an element.
    """
    check_fits(field, tuple(stacked.shape), elements)
    parts = stacked.reshape(len(elements), -1, *stacked.shape[1:])
    channel = field.channel_shape(tuple(stacked.shape))
    if channel is None or not all(element.on_grid for element in elements):
        return _stack([field.act(part, g.inverse) for part, g in zip(parts, elements, strict=True)])
    index, moved = _sources(field, channel, tuple(elements), stacked.device)
    rows = parts.reshape(len(elements), -1, index.shape[-1])
    aligned = rows.gather(2, index[:, None].expand(-1, rows.shape[1], -1))
    shape = stacked.shape[1:] if moved == channel else (*stacked.shape[1:-2], *moved[-2:])
    return aligned.view(len(elements), -1, *shape)


@lru_cache(maxsize=512)
def _sources(
    field: FieldType, channel: tuple[int, ...], elements: tuple[Element, ...], device: torch.device
) -> tuple[Integer[Tensor, "element entry"], tuple[int, ...]]:
    """For each element, where every entry of an aligned channel is read from; and the shape of that channel."""
    entries = torch.arange(math.prod(channel), device=device).view(channel)
    moved = _stack([field.act(entries, g.inverse) for g in elements])
    return moved.flatten(1), tuple(moved.shape[1:])


def _stack(moved: Sequence[Tensor]) -> Float[Tensor, "element ..."] | Integer[Tensor, "element ..."]:
    """Stack what each element made of the same maps. Raises EqvizError if only some of them changed its shape."""
    if len({entries.shape for entries in moved}) > 1:
        height, width = moved[0].shape[-2:]
        raise EqvizError(
            "group", expected="square maps, on which quarter turns act", found=f"maps of {height} x {width}",
            fix="measure under a group that keeps height and width, such as D2",
        )  # fmt: skip
    return torch.stack(tuple(moved))


def check_fits(field: FieldType, shape: tuple[int, ...], elements: Sequence[Element]) -> None:
    """Raise EqvizError if a tensor of `shape` (batch first) is no field of this type, or an element has no action."""
    if not field.fits(shape):
        raise EqvizError(
            "field type", expected=f"activations that fit {field}", found=f"shape {shape} (batch first)",
            fix="declare another field type for this layer",
        )  # fmt: skip
    unknown = next((g for g in elements if not field.represents(g)), None)
    if unknown is not None:
        raise EqvizError(
            "group", expected=f"elements that act on {field}", found=f"{unknown}",
            fix="choose that group or a subgroup of it, as with --group",
        )  # fmt: skip


def symmetric_part(aligned: Float[Tensor, "element batch ..."]) -> Float[Tensor, "batch ..."]:
    """The Reynolds operator: S = 1/|G| sum_g A_g."""
    return aligned.mean(0)


@dataclass(frozen=True)
class Decomposition:
    """The aligned orbit of one layer and its two orthogonal parts, A_g = S + D_g, as tensors for looking at.

    `aligned` and `breaking` are `(element, batch, ...)`, `symmetric` is `(batch, ...)`.
    """

    aligned: Tensor
    symmetric: Tensor
    breaking: Tensor

    @classmethod
    def of(cls, aligned: Float[Tensor, "element batch ..."]) -> "Decomposition":
        """Split an aligned orbit."""
        symmetric = symmetric_part(aligned)
        return cls(aligned, symmetric, aligned - symmetric)
