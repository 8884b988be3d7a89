"""Second moments of channel vectors: against explicit loops, additive over images, whatever shape a layer gives out."""

import numpy as np
import pytest
import torch
from torch import nn

from eqviz.capture.channel_moments import PixelAction, channel_moments, channel_vectors, moments_of
from eqviz.errors import EqvizError
from eqviz.fields.field_types import field_type
from eqviz.fields.layer_calls import OUTPUT, LayerCall
from eqviz.groups.group import group
from eqviz.models.convolutions import LiftingConv2d


def kept(model, images, G, **options):
    return channel_moments(model, images, group(G), OUTPUT, **options)[LayerCall(OUTPUT, 0)]


@pytest.mark.parametrize(("G", "size"), [("C4", (5, 5)), ("D4", (5, 5)), ("C4", (4, 6)), ("D2", (4, 6))])
@pytest.mark.parametrize("lifted", [False, True])
def test_moments_are_sums_over_images_and_positions(brute, G, size, lifted):
    images = torch.rand(5, 1, *size, dtype=torch.float64)
    layer = (LiftingConv2d(G, 1, 2, 3, padding=1) if lifted else nn.Conv2d(1, 2, 3, padding=1)).double()
    orbit = brute(layer, images, G, None)  # only pixels are moved back
    orbit = orbit.reshape(*orbit.shape[:2], -1, *size)
    found = kept(layer, images, G, folds=2, batch_size=16).moments
    d = orbit.shape[2]
    xx, xy, yy = np.zeros((2, d, d)), np.zeros((2, len(orbit) - 1, d, d)), np.zeros((2, len(orbit) - 1))
    for image in range(5):
        for i, j in np.ndindex(*size):
            x = orbit[0, image, :, i, j]
            xx[image % 2] += np.outer(x, x)
            for g in range(1, len(orbit)):
                y = orbit[g, image, :, i, j]
                xy[image % 2, g - 1] += np.outer(x, y)
                yy[image % 2, g - 1] += y @ y
    # the same sums of some hundred numbers of order 1, in another order
    np.testing.assert_allclose(found.xx, xx, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.xy, xy, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.yy, yy, rtol=1e-12)
    assert found.images.tolist() == [3, 2]
    assert found.dimension == d


@pytest.mark.parametrize("cut", [1, 3, 6])
def test_moments_of_parts_add_to_those_of_the_whole(cut):
    vectors = torch.randn(4, 7, 5, 3)
    fold = torch.arange(7) % 3
    whole = moments_of(vectors, fold, 3)
    merged = moments_of(vectors[:, :cut], fold[:cut], 3) + moments_of(vectors[:, cut:], fold[cut:], 3)
    for name in ("xx", "xy", "yy"):
        np.testing.assert_allclose(getattr(merged, name), getattr(whole, name), rtol=1e-12, atol=1e-12)  # float64 sums
    assert merged.images.tolist() == whole.images.tolist() == [3, 2, 2]
    both = whole.of([0, 2])
    one_fold = moments_of(vectors[:, fold != 1], torch.zeros(5, dtype=torch.int64), 1)
    np.testing.assert_allclose(both.xy, one_fold.xy, rtol=1e-12, atol=1e-12)
    assert both.images.tolist() == [5]


def test_batches_do_not_matter():
    images = torch.rand(7, 1, 6, 6)
    layer = nn.Conv2d(1, 2, 3)
    one, many = (kept(layer, images, "C4", batch_size=size).moments for size in (64, 4))
    np.testing.assert_allclose(one.xy, many.xy, rtol=1e-5)  # float32 convolutions of other batch sizes
    assert one.images.tolist() == many.images.tolist() == [2, 2, 2, 1]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((4, 2, 3, 8, 5, 6), (4, 2, 30, 24)), ((4, 2, 3, 5, 6), (4, 2, 30, 3)), ((4, 2, 3, 8), (4, 2, 1, 24)),
     ((4, 2, 9), (4, 2, 1, 9))],
)  # fmt: skip
def test_channel_vectors_of_every_shape(shape, expected):
    assert channel_vectors(torch.zeros(shape)).shape == expected


def test_entries_of_a_channel_vector_run_over_channels_then_the_fibre():
    orbit = torch.arange(2 * 3).reshape(1, 1, 2, 3, 1, 1).expand(1, 1, 2, 3, 4, 4).float()
    assert channel_vectors(orbit)[0, 0, 7].tolist() == [0, 1, 2, 3, 4, 5]


def test_only_pixels_move():
    pixels, element = PixelAction(), group("D4").elements[5]
    for shape in [(2, 3, 5, 5), (2, 3, 8, 5, 5)]:
        features = torch.rand(shape)
        torch.testing.assert_close(pixels.act(features, element), field_type("image").act(features, element))
        assert pixels.channel_shape(shape) == (*(1,) * (len(shape) - 2), 5, 5)
    for shape in [(2, 5), (2, 5, 5)]:
        features = torch.rand(shape)
        assert pixels.act(features, element) is features
        assert pixels.channel_shape(shape) == (1,) * len(shape)
    assert not pixels.fits((5,))
    assert pixels.name == "pixels"


def test_long_vectors_are_only_counted_and_other_kinds_left_out():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))
    found = channel_moments(model, torch.rand(5, 1, 6, 6), group("C4"), largest=2)
    assert {key.layer: layer.dimension for key, layer in found.items()} == {"0": 3, "3": 2, OUTPUT: 2}
    assert [layer.moments is None for layer in found.values()] == [True, False, False]
    assert found[LayerCall("0", 0)].shape == (3, 4, 4)


def test_elements_must_lie_on_the_grid():
    with pytest.raises(EqvizError, match=r"^group: .*found C8; take C4"):
        channel_moments(nn.Conv2d(1, 1, 3), torch.rand(2, 1, 6, 6), group("C8"))
