import numpy as np
import pytest
import torch

from eqviz.data.crops import centre_crop, random_resized_crop
from eqviz.data.resize import resize
from eqviz.errors import EqvizError


def picture(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def linear(height, width):
    """Pixel (row, column) is row / height in one channel and column / width in another: crops show where they are."""
    rows, columns = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
    return np.stack([rows, columns]).astype(np.float32)


@pytest.mark.parametrize("shape", [(48, 64), (65, 49), (40, 40), (7, 300), (1, 1), (2, 1), (32, 32)])
@pytest.mark.parametrize("size", [28, 29, 1])
def test_the_centre_of_a_turned_picture_is_the_turned_centre(shape, size):
    whole = picture(3, *shape)
    crop = centre_crop(whole, (size, size))
    assert crop.shape == (3, size, size)
    for turns in (1, 2, 3):
        turned = centre_crop(np.rot90(whole, turns, (1, 2)), (size, size))
        # the same sums in another order: a few units in the last place of 1
        np.testing.assert_allclose(turned, np.rot90(crop, turns, (1, 2)), atol=1e-5)


def test_the_centre_crop_keeps_seven_eighths_of_the_shorter_side_and_the_proportions():
    crop = centre_crop(linear(256, 512), (224, 224))
    pixel = 1 / 256
    for channel, span in ((crop[0], 224 / 256), (crop[1], 224 / 512)):
        found = channel.max() - channel.min() + pixel * span
        assert found == pytest.approx(span, abs=2 * pixel)
        assert channel.mean() == pytest.approx(0.5, abs=1e-5)
    assert centre_crop(linear(256, 512), (100, 200)).shape == (2, 100, 200)


def test_a_centre_crop_of_the_same_scale_is_cut_out_and_not_resized():
    whole = picture(1, 256, 300)
    np.testing.assert_array_equal(centre_crop(whole, (224, 224)), whole[:, 16:240, 38:262])


def test_random_crops_have_areas_and_proportions_from_their_ranges():
    generator = torch.Generator().manual_seed(0)
    whole, areas, middles = linear(400, 400), [], []
    for _ in range(300):
        crop = random_resized_crop(whole, (20, 20), generator)
        assert crop.shape == (2, 20, 20)
        # the range of a linear ramp over 20 pixel centres is 19/20 of the box
        tall, wide = (float(channel.max() - channel.min()) * 20 / 19 for channel in crop)
        areas.append(tall * wide)
        middles.append([float(channel.mean()) for channel in crop])
        assert 0.07 < areas[-1] < 1.02
        assert 0.72 < wide / tall < 1.39
    # uniform areas in 0.08..1 of boxes that fit: few large ones are refused, so the mean is a little below 0.54
    assert 0.42 < np.mean(areas) < 0.58
    np.testing.assert_allclose(np.mean(middles, axis=0), 0.5, atol=0.03)


def test_random_crops_follow_their_generator_and_draw_as_much_each_time():
    whole, narrow = picture(1, 30, 40), picture(1, 2, 300)
    first = random_resized_crop(whole, (8, 8), torch.Generator().manual_seed(3))
    np.testing.assert_array_equal(first, random_resized_crop(whole, (8, 8), torch.Generator().manual_seed(3)))
    assert not np.array_equal(first, random_resized_crop(whole, (8, 8), torch.Generator().manual_seed(4)))
    ends = []
    for each in (whole, narrow):
        generator = torch.Generator().manual_seed(5)
        random_resized_crop(each, (8, 8), generator)
        ends.append(torch.rand(1, generator=generator).item())
    assert ends[0] == ends[1]


@pytest.mark.parametrize("shape", [(2, 300), (300, 2), (1, 1)])
def test_a_picture_too_narrow_for_any_box_gives_its_middle(shape):
    whole = linear(*shape)
    tall, wide = shape
    crop = random_resized_crop(whole, (4, 4), torch.Generator().manual_seed(0), scale=(1.0, 1.0))
    rows, columns = min(tall, max(1, round(wide * 4 / 3))), min(wide, max(1, round(tall * 4 / 3)))
    top, left = (tall - rows) // 2, (wide - columns) // 2
    expected = resize(whole[None, :, top : top + rows, left : left + columns], (4, 4))[0]
    np.testing.assert_array_equal(crop, expected)


@pytest.mark.parametrize("size", [(0, 4), (4, 0)])
def test_sizes_are_two_numbers(size):
    with pytest.raises(EqvizError, match="size"):
        centre_crop(picture(1, 8, 8), size)
    with pytest.raises(EqvizError, match="size"):
        random_resized_crop(picture(1, 8, 8), size, torch.Generator())
