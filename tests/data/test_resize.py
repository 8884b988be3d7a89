import numpy as np
import pytest

from eqviz.data import resize as module
from eqviz.data.resize import check_size, resize
from eqviz.errors import EqvizError


def weights(old, new):
    """The triangle filter as a (new, old) matrix: the definition of bilinear resizing, antialiased when shrinking."""
    scale = old / new
    support = max(scale, 1)
    centres = (np.arange(new) + 0.5) * scale
    pixels = np.arange(old) + 0.5
    if scale > 1:
        triangle = np.clip(1 - np.abs(pixels - centres[:, None]) / support, 0, None)
        return triangle / triangle.sum(axis=1, keepdims=True)
    matrix = np.zeros((new, old))
    for row, place in enumerate(np.clip(centres - 0.5, 0, old - 1)):
        low = int(place)
        high = min(low + 1, old - 1)
        matrix[row, low] += 1 - (place - low)
        matrix[row, high] += place - low
    return matrix


@pytest.mark.parametrize("size", [(16, 16), (20, 24), (4, 4), (5, 3), (12, 5), (1, 1), (8, 9)])
def test_resizing_matches_the_matrix_of_its_weights(size):
    images = np.random.default_rng(0).random((3, 2, 8, 9), dtype=np.float32)
    expected = np.einsum("ph,qw,nchw->ncpq", weights(8, size[0]), weights(9, size[1]), images)
    resized = resize(images, size)
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, expected, atol=2e-6)


@pytest.mark.parametrize("size", [(13, 13), (5, 5)])
def test_resizing_commutes_with_quarter_turns_and_flips(size):
    images = np.random.default_rng(0).random((2, 1, 8, 8), dtype=np.float32)
    turned = np.rot90(images, axes=(-2, -1))
    np.testing.assert_allclose(resize(turned, size), np.rot90(resize(images, size), axes=(-2, -1)), atol=1e-6)
    np.testing.assert_allclose(resize(images[..., ::-1], size), resize(images, size)[..., ::-1], atol=1e-6)


def test_chunks_change_nothing(monkeypatch):
    images = np.random.default_rng(0).random((7, 3, 8, 8), dtype=np.float32)
    whole = resize(images, (11, 11))
    monkeypatch.setattr(module, "_CHUNK", 800)
    np.testing.assert_array_equal(resize(images, (11, 11)), whole)


def test_values_stay_within_zero_and_one():
    images = np.ones((2, 1, 7, 7), np.float32)
    for size in [(16, 16), (3, 3)]:
        assert resize(images, size).max() <= 1
        np.testing.assert_allclose(resize(images, size), 1, atol=1e-6)


def test_read_only_pixels_are_fine():
    images = np.zeros((1, 1, 4, 4), np.float32)
    images.flags.writeable = False
    assert resize(images, (8, 8)).shape == (1, 1, 8, 8)


@pytest.mark.parametrize("size", [(0, 4), (4, -1), (4,), (4, 4, 4), (4.5, 4), ("4", "4")])
def test_sizes_that_are_not_two_whole_numbers_are_refused(size):
    with pytest.raises(EqvizError, match="height, width"):
        check_size(size)


def test_images_too_large_for_memory_are_one_line():
    with pytest.raises(EqvizError, match="fit in memory"):
        resize(np.zeros((1, 1, 4, 4), np.float32), (2**31, 2**31))
