"""Turning, cropping and flipping training images: each by itself, or a batch by one angle.

Every function takes its randomness from a `torch.Generator`, so a batch depends on nothing but its seed.
"""

from fractions import Fraction

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from eqviz.fields.grid_action import act_by_interpolation, act_on_grid, rotate_each
from eqviz.groups.group import Element


def turn_uniformly(
    images: Float[Tensor, "batch channel height width"], generator: Generator
) -> Float[Tensor, "batch channel height width"]:
    """Every image rotated by one angle uniform in [0, 360) degrees, with black corners (before normalisation).

    >>> turn_uniformly(torch.zeros(3, 1, 4, 4), torch.Generator().manual_seed(0)).shape
    torch.Size([3, 1, 4, 4])
    """
    return rotate_each(images, 360 * torch.rand(len(images), generator=generator, dtype=torch.float64))


def turn_normally(
    images: Float[Tensor, "batch channel height width"], mean: float, std: float, generator: Generator
) -> Float[Tensor, "batch channel height width"]:
    """The whole batch rotated by one angle drawn from N(mean, std), in degrees; corners 0 (after normalisation).

    >>> turn_normally(torch.eye(2).view(1, 1, 2, 2), 90.0, 0.0, torch.Generator()).round().abs().tolist()
    [[[[0.0, 1.0], [1.0, 0.0]]]]
    """
    angle = mean + std * torch.randn((), generator=generator, dtype=torch.float64).item()
    turn = Fraction.from_float(angle / 360).limit_denominator(36_000)
    return act_by_interpolation(images, Element(turn))


def turn_by_quarters(
    images: Float[Tensor, "batch channel side side"], generator: Generator
) -> Float[Tensor, "batch channel side side"]:
    """Every image rotated by 0, 90, 180 or 270 degrees at random, exactly. Images are square.

    >>> image = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> turn_by_quarters(image, torch.Generator().manual_seed(1)).sum().item()
    10.0
    """
    quarters = torch.randint(4, (len(images),), generator=generator).to(images.device)
    turned = images.clone()
    for quarter in range(1, 4):
        rows = quarters == quarter
        turned[rows] = act_on_grid(images[rows], Element(Fraction(quarter, 4)))
    return turned


def flip_randomly(
    images: Float[Tensor, "batch channel height width"], generator: Generator
) -> Float[Tensor, "batch channel height width"]:
    """Every image flipped left-right with probability one half.

    >>> flip_randomly(torch.ones(3, 1, 2, 2), torch.Generator()).sum().item()
    12.0
    """
    flipped = (torch.rand(len(images), generator=generator) < 0.5).to(images.device)
    return torch.where(flipped.view(-1, 1, 1, 1), images.flip(-1), images)


def crop_randomly(
    images: Float[Tensor, "batch channel height width"],
    padding: int,
    fill: Float[Tensor, " channel"],
    generator: Generator,
) -> Float[Tensor, "batch channel height width"]:
    """Every image cut to its own size at a random place, after `padding` pixels of value `fill` were added around it.

    >>> crop_randomly(torch.ones(1, 1, 2, 2), 1, torch.zeros(1), torch.Generator().manual_seed(0)).shape
    torch.Size([1, 1, 2, 2])
    """
    n, _, height, width = images.shape
    padded = fill.to(images).view(1, -1, 1, 1).expand(n, -1, height + 2 * padding, width + 2 * padding).clone()
    padded[..., padding : padding + height, padding : padding + width] = images
    places = torch.randint(2 * padding + 1, (2, n), generator=generator).to(images.device)
    down = places[0, :, None] + torch.arange(height, device=images.device)
    across = places[1, :, None] + torch.arange(width, device=images.device)
    batch = torch.arange(n, device=images.device).view(n, 1, 1)
    return padded.permute(0, 2, 3, 1)[batch, down[:, :, None], across[:, None, :]].permute(0, 3, 1, 2)
