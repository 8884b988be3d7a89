"""Pixels move exactly on the grid and by bilinear interpolation off it."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from eqviz.fields.grid_action import act_by_interpolation, act_on_grid, act_on_maps, disc_mask, mask_disc
from eqviz.groups.group import Element, group

EIGHTH = Element(Fraction(1, 8))


def bilinear(picture: np.ndarray, element: Element, fill: float) -> np.ndarray:
    """Rotate about the centre, one pixel at a time, each a mixture of the four around the place it comes from."""
    height, width = picture.shape
    padded = np.full((height + 2, width + 2), fill)
    padded[1:-1, 1:-1] = picture
    angle = 2 * math.pi * float(element.turn)
    moved = np.full((height, width), fill)
    for row in range(height):
        for column in range(width):
            x, y = column - (width - 1) / 2, (height - 1) / 2 - row
            from_x, from_y = math.cos(angle) * x + math.sin(angle) * y, -math.sin(angle) * x + math.cos(angle) * y
            r, c = (height - 1) / 2 - from_y + 1, from_x + (width - 1) / 2 + 1  # places in the padded picture
            if not (0 <= r < height + 1 and 0 <= c < width + 1):
                continue
            top, left = int(r), int(c)
            down, right = r - top, c - left
            moved[row, column] = (
                (1 - down) * ((1 - right) * padded[top, left] + right * padded[top, left + 1])
                + down * ((1 - right) * padded[top + 1, left] + right * padded[top + 1, left + 1])
            )  # fmt: skip
    return moved[::-1] if element.reflected else moved


@pytest.mark.parametrize("turn", [Fraction(1, 8), Fraction(3, 8), Fraction(1, 12), Fraction(-1, 7)])
@pytest.mark.parametrize("reflected", [False, True])
@pytest.mark.parametrize("shape", [(7, 7), (6, 6), (5, 8)])
@pytest.mark.parametrize("fill", [0.0, -1.5])
def test_interpolation_against_brute_force(turn, reflected, shape, fill):
    picture = np.random.default_rng(0).normal(size=shape)
    element = Element(turn, reflected)
    found = act_by_interpolation(torch.from_numpy(picture)[None, None], element, fill=fill)[0, 0]
    # 1e-12: products of a few float64 numbers of size 1
    np.testing.assert_allclose(found, bilinear(picture, element, fill), atol=1e-12)


@pytest.mark.parametrize("size", [6, 7])
@pytest.mark.parametrize("element", group("D4").elements, ids=str)
def test_interpolation_agrees_with_the_grid_at_quarter_turns(size, element):
    maps = torch.randn(2, 3, size, size, dtype=torch.float64)
    # 1e-12: sines of multiples of pi/2 are 1e-16 instead of 0
    torch.testing.assert_close(act_by_interpolation(maps, element), act_on_grid(maps, element), rtol=0, atol=1e-12)


def test_an_eighth_turn_is_counter_clockwise():
    picture = torch.zeros(1, 1, 9, 9)
    picture[0, 0, 4, 8] = 1  # right of the centre
    moved = act_by_interpolation(picture, EIGHTH)[0, 0]
    row, column = divmod(int(moved.argmax()), 9)
    assert row < 4 < column  # above and right of it


def test_corners_turn_out_and_fill_turns_in():
    moved = act_by_interpolation(torch.ones(1, 1, 9, 9), EIGHTH, fill=-3.0)
    assert moved[0, 0, 0, 0] == -3
    assert moved[0, 0, 4, 4] == 1


def test_non_square_maps_keep_their_shape_and_their_aspect():
    y, x = torch.meshgrid(torch.arange(15.0) - 7, torch.arange(31.0) - 15, indexing="ij")
    disc = (x**2 + y**2 <= 16).double()[None, None]
    moved = act_by_interpolation(disc, EIGHTH)
    assert moved.shape == disc.shape
    # a disc stays a disc: only its edge, some 2 pi 4 pixels of 50, is mixed, each by less than a half on average
    assert float((moved - disc).abs().sum()) < 0.5 * 2 * math.pi * 4
    assert float(moved[0, 0, 7, 13:18].min()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_dtypes_are_interpolated_in_float32(dtype):
    maps = torch.rand(1, 1, 40, 40).to(dtype)
    found = act_by_interpolation(maps, EIGHTH)
    assert found.dtype == dtype
    expected = act_by_interpolation(maps.float(), EIGHTH)
    # one rounding to the short dtype, of numbers below 1
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=torch.finfo(dtype).eps / 2)


@pytest.mark.parametrize("shape", [(4, 4), (2, 4, 4), (2, 3, 4, 4), (2, 3, 8, 4, 4)])
def test_act_on_maps_leaves_leading_axes_alone(shape):
    maps = torch.randn(shape, dtype=torch.float64)
    for element in (group("C4").elements[1], EIGHTH):
        found = act_on_maps(maps, element).reshape(-1, 4, 4)
        assert act_on_maps(maps, element).shape == maps.shape
        for one, moved in zip(maps.reshape(-1, 1, 1, 4, 4), found, strict=True):
            torch.testing.assert_close(moved, act_on_maps(one, element)[0, 0], rtol=0, atol=1e-15)


def test_grid_action_refuses_an_element_off_the_grid():
    with pytest.raises(ValueError, match="does not map the pixel grid"):
        act_on_grid(torch.zeros(3, 3), EIGHTH)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (6, 6), (7, 7), (5, 9), (28, 28)])
def test_disc_mask_by_definition(height, width):
    found = disc_mask(height, width)
    for row in range(height):
        for column in range(width):
            distance = math.hypot(row - (height - 1) / 2, column - (width - 1) / 2)
            assert bool(found[row, column]) == (distance <= min(height, width) / 2)


def test_mask_disc_fills_outside_and_commutes_with_the_grid():
    maps = torch.rand(2, 3, 6, 6) + 1
    masked = mask_disc(maps, fill=-1.0)
    inside = disc_mask(6, 6)
    assert torch.equal(masked[..., inside], maps[..., inside])
    assert set(masked[..., ~inside].flatten().tolist()) == {-1.0}
    for element in group("D4").elements:
        assert torch.equal(mask_disc(act_on_grid(maps, element)), act_on_grid(mask_disc(maps), element))
