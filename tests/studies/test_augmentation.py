from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eqviz.fields.grid_action import act_by_interpolation, rotate_each
from eqviz.groups.group import Element
from eqviz.studies.augmentation import (
    crop_randomly,
    flip_randomly,
    turn_by_quarters,
    turn_normally,
    turn_uniformly,
)


def images(n, height=7, width=7):
    return torch.rand(n, 2, height, width, generator=torch.Generator().manual_seed(n), dtype=torch.float64)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(-720, 720), min_size=1, max_size=4), st.integers(2, 9), st.integers(2, 9))
def test_each_image_turns_as_the_group_turns_it_alone(degrees, height, width):
    batch = images(len(degrees), height, width)
    turned = rotate_each(batch, torch.tensor(degrees, dtype=torch.float64), fill=0.3)
    for image, angle, found in zip(batch, degrees, turned, strict=True):
        expected = act_by_interpolation(image[None], Element(Fraction(angle, 360)), fill=0.3)
        torch.testing.assert_close(found[None], expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("quarter", range(4))
def test_a_quarter_turn_is_rot90(quarter):
    batch = images(3)
    turned = rotate_each(batch, torch.full((3,), 90.0 * quarter, dtype=torch.float64))
    torch.testing.assert_close(turned, torch.rot90(batch, quarter, (-2, -1)))


def test_chunks_do_not_matter(monkeypatch):
    batch, angles = images(5), torch.arange(5, dtype=torch.float64) * 33
    whole = rotate_each(batch, angles)
    monkeypatch.setattr("eqviz.fields.grid_action._PIXELS_AT_ONCE", 60)
    torch.testing.assert_close(rotate_each(batch, angles), whole)


def test_no_images_are_no_images():
    assert rotate_each(images(0), torch.zeros(0, dtype=torch.float64)).shape == (0, 2, 7, 7)


def test_uniform_angles_differ_between_images_and_corners_are_black():
    batch = torch.ones(200, 1, 8, 8)
    turned = turn_uniformly(batch, torch.Generator().manual_seed(0))
    assert len({float(image.sum()) for image in turned}) > 150
    assert turned[..., 0, 0].min() == 0
    torch.testing.assert_close(turned[..., 3:5, 3:5], torch.ones(200, 1, 2, 2))


def test_normal_turns_the_whole_batch_by_one_angle_of_that_distribution():
    batch = images(1).expand(4, -1, -1, -1)
    turned = turn_normally(batch, 45.0, 20.0, torch.Generator().manual_seed(3))
    assert all(torch.equal(turned[0], image) for image in turned)
    assert not torch.equal(turned, turn_normally(batch, 45.0, 20.0, torch.Generator().manual_seed(4)))
    fixed = turn_normally(batch, 30.0, 0.0, torch.Generator())
    torch.testing.assert_close(fixed, act_by_interpolation(batch, Element(Fraction(1, 12))), atol=1e-9, rtol=0)


def test_quarter_turns_are_exact_and_all_occur():
    batch = images(1).expand(64, -1, -1, -1)
    turned = turn_by_quarters(batch, torch.Generator().manual_seed(0))
    orbit = [torch.rot90(batch[0], quarter, (-2, -1)) for quarter in range(4)]
    counts = [sum(torch.equal(image, other) for image in turned) for other in orbit]
    assert sum(counts) == 64
    assert min(counts) > 5


def test_half_of_the_images_are_flipped_exactly():
    batch = images(1).expand(200, -1, -1, -1)
    flipped = flip_randomly(batch, torch.Generator().manual_seed(0))
    counts = [sum(torch.equal(image, other) for image in flipped) for other in (batch[0], batch[0].flip(-1))]
    assert sum(counts) == 200
    assert min(counts) > 60  # a fair coin falls below 60 of 200 once in a hundred million times


@pytest.mark.parametrize(("height", "width"), [(4, 4), (3, 5)])
def test_a_crop_is_a_window_of_the_padded_image_and_every_window_occurs(height, width):
    batch = images(1, height, width).expand(400, -1, -1, -1)
    fill = torch.tensor([-1.0, -2.0], dtype=torch.float64)
    padded = fill.view(2, 1, 1).expand(2, height + 2, width + 2).clone()
    padded[:, 1:-1, 1:-1] = batch[0]
    windows = [padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    cropped = crop_randomly(batch, 1, fill, torch.Generator().manual_seed(0))
    counts = [sum(torch.equal(image, window) for image in cropped) for window in windows]
    assert sum(counts) == 400
    assert min(counts) > 15  # 44 are expected


@pytest.mark.parametrize(
    "turn",
    [
        turn_uniformly,
        turn_by_quarters,
        flip_randomly,
        lambda x, generator: crop_randomly(x, 2, torch.zeros(2), generator),
        lambda x, generator: turn_normally(x, 45.0, 20.0, generator),
    ],
)
def test_randomness_comes_from_the_generator_alone(turn):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = turn(images(5), torch.Generator().manual_seed(1))
    torch.rand(1)
    assert torch.equal(first, turn(images(5), torch.Generator().manual_seed(1)))
    torch.manual_seed(0)
    assert torch.equal(before, torch.get_rng_state())
