"""How an element of O(2) moves the pixels of a map: exactly on the grid, by interpolation off it."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from eqviz.groups.group import Element


def act_on_grid(maps: Tensor, element: Element) -> Tensor:
    """Move the pixels of `maps` (..., height, width): rot90 by the element's quarter turns, then flip up-down.

    Exact: pixels are only permuted. Height and width change places for an element that transposes.
    Raises ValueError for an element off the grid.

    >>> from eqviz.groups.group import group
    >>> act_on_grid(torch.tensor([[1, 2], [3, 4]]), group("C4").elements[1]).tolist()
    [[2, 4], [1, 3]]
    """
    turned = torch.rot90(maps, element.quarter_turns, (-2, -1)) if element.quarter_turns else maps
    return turned.flip(-2) if element.reflected else turned


def act_by_interpolation(
    maps: Float[Tensor, "batch channel height width"], element: Element, *, fill: float = 0.0
) -> Float[Tensor, "batch channel height width"]:
    """Rotate by the element's angle about the centre (bilinear), then flip up-down if it is reflected.

    Not exact: off the quarter turns every value is a mixture of four, and what turns in from outside is `fill`.
    Height and width stay as they are. Agrees with :func:`act_on_grid` on square maps at quarter turns, up to rounding.
    """
    if maps.dtype not in (torch.float32, torch.float64):  # too short to hold the positions of pixels
        return act_by_interpolation(maps.float(), element, fill=fill).to(maps.dtype)
    turned = _rotate(maps, torch.tensor([element.degrees], dtype=torch.float64), fill)
    return turned.flip(-2) if element.reflected else turned


def rotate_each(
    maps: Float[Tensor, "batch channel height width"], degrees: Float[Tensor, " batch"], *, fill: float = 0.0
) -> Float[Tensor, "batch channel height width"]:
    """Every map rotated counter-clockwise by its own angle about the centre (bilinear); outside it is `fill`.

    >>> rotate_each(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), torch.tensor([90.0])).round().tolist()
    [[[[2.0, 4.0], [1.0, 3.0]]]]
    """
    height, width = maps.shape[-2:]
    step = max(1, _PIXELS_AT_ONCE // (height * width))
    parts = zip(torch.split(maps, step), torch.split(degrees, step), strict=True)
    return torch.cat([_rotate(chunk, angles, fill) for chunk, angles in parts]) if len(maps) else maps


_PIXELS_AT_ONCE = 2**22
"""Pixels whose sampling grid is held at once: 32 MiB of float32."""


def _rotate(maps: Tensor, degrees: Tensor, fill: float) -> Tensor:
    """Maps rotated by one angle each, or all by the only one."""
    height, width = maps.shape[-2:]
    angles = (degrees.double() * (math.pi / 180)).to(maps.device, maps.dtype)
    cos, sin = angles.cos(), angles.sin()
    rotations = torch.stack([torch.stack([cos, -sin], dim=-1), torch.stack([sin, cos], dim=-1)], dim=-2)
    y = (height - 1) / 2 - torch.arange(height, dtype=maps.dtype, device=maps.device)  # upwards, pixels from the centre
    x = torch.arange(width, dtype=maps.dtype, device=maps.device) - (width - 1) / 2
    target = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)
    source = torch.einsum("hwi,bij->bhwj", target, rotations)  # row vectors: (R^-1 p)^T = p^T R
    grid = torch.stack([source[..., 0] * 2 / width, -source[..., 1] * 2 / height], dim=-1)
    grid = grid.expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps - fill, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + fill


def act_on_maps(maps: Tensor, element: Element) -> Tensor:
    """Move the pixels of `maps` (..., height, width): exactly where the grid allows it, else by interpolation."""
    if element.on_grid:
        return act_on_grid(maps, element)
    flat = maps.reshape(1, -1, *maps.shape[-2:]) if maps.dim() < 4 else maps.flatten(1, -3)
    return act_by_interpolation(flat, element).reshape(maps.shape)


def disc_mask(height: int, width: int, *, device: torch.device | None = None) -> Bool[Tensor, "height width"]:
    """The pixels whose centre lies within the largest disc around the middle of the map.

    A rotated square loses its corners; inside this disc nothing is lost, so it is the fair place to compare.

    >>> disc_mask(3, 3).int().tolist()
    [[1, 1, 1], [1, 1, 1], [1, 1, 1]]
    >>> disc_mask(6, 6)[0].int().tolist()
    [0, 1, 1, 1, 1, 0]
    """
    y = torch.arange(height, device=device) - (height - 1) / 2
    x = torch.arange(width, device=device) - (width - 1) / 2
    return y[:, None] ** 2 + x[None, :] ** 2 <= (min(height, width) / 2) ** 2


def mask_disc(maps: Float[Tensor, "... height width"], *, fill: float = 0.0) -> Float[Tensor, "... height width"]:
    """`maps` with everything outside :func:`disc_mask` set to `fill`."""
    return maps.where(disc_mask(*maps.shape[-2:], device=maps.device), fill)
