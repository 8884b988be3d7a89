"""Turning training images: each by its own angle, a batch by one angle, or by random quarter turns.

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
