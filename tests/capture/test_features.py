"""Features on the orbit: moved back and forth, averaged down without a symmetry lost."""

import pytest
import torch
from torch import nn

from eqviz.capture.decomposition import decompose
from eqviz.capture.features import averaged_down, orbit_features
from eqviz.errors import EqvizError
from eqviz.fields.field_types import declare
from eqviz.fields.grid_action import act_on_grid
from eqviz.fields.layer_calls import LayerCall
from eqviz.groups.group import group
from eqviz.models.cnn import p4cnn, p4mcnn

D4 = group("D4")


def test_moved_features_are_those_of_the_moved_image(group_network):
    network = group_network("C4").eval()
    images = torch.rand(3, 1, 8, 8)
    found = orbit_features(network, images, "C4", largest_map=99)[LayerCall("2", 0)]
    for g, moved in zip(found.group.elements, found.moved(), strict=True):
        with torch.no_grad():
            expected = network[:3](act_on_grid(images, g))
        torch.testing.assert_close(moved, expected, rtol=0, atol=1e-6)  # float32, batches of another size
    parts = found.moved(found.symmetric.expand_as(found.aligned)) + found.moved(found.breaking)
    torch.testing.assert_close(parts, found.moved(), rtol=0, atol=1e-6)  # the action is linear


def test_they_are_the_aligned_orbit_of_a_decomposition(group_network):
    network, images = group_network("D4").eval(), torch.rand(5, 1, 9, 9)
    found = orbit_features(network, images, "D4", batch_size=16, largest_map=99)[LayerCall("0", 0)]
    assert torch.equal(found.aligned, decompose(network, images, "0", "D4", batch_size=16).aligned)


@pytest.mark.parametrize("size", [9, 12, 15, 16, 17])
@pytest.mark.parametrize("element", D4.elements, ids=str)
def test_averaging_down_lets_every_element_through(size, element):
    maps = torch.randn(1, 2, 3, size, size, dtype=torch.float64)
    after, before = averaged_down(act_on_grid(maps, element), 4), act_on_grid(averaged_down(maps, 4), element)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-14)  # sums of at most 25 numbers in another order
    assert after.shape[-2:] == (4, 4)


def test_a_map_of_few_pixels_or_none_is_left_alone():
    for shape in [(2, 3, 5), (2, 3, 4, 8, 8), (2, 3, 4)]:
        features = torch.rand(shape)
        assert averaged_down(features, 8) is features


def test_exact_layers_stay_exact_when_averaged_down():
    found = orbit_features(p4cnn(channels=2).eval().double(), torch.rand(2, 1, 28, 28, dtype=torch.float64), "C4")
    for key, features in found.items():
        share = features.breaking.square().sum() / features.aligned.square().sum()
        assert share < 1e-26, key  # float64 rounding, squared; 28 is a safe size
        assert features.info.kind in ("convolution", "pooling", "linear", "output")


def test_groups_off_the_grid_are_cut_to_their_exact_part():
    found = orbit_features(nn.Conv2d(1, 1, 3), torch.rand(1, 1, 6, 6), "C8")
    assert found[LayerCall("(output)", 0)].aligned.shape[0] == 4


def test_a_subgroup_acts_on_a_larger_fibre():
    found = orbit_features(p4mcnn(channels=2).eval(), torch.rand(2, 1, 12, 12), "C4", "conv2")
    assert found[LayerCall("conv2", 0)].field.name == "regular(D4)"


def test_maps_that_are_not_square_cannot_be_moved_by_a_transposing_element():
    features = orbit_features(nn.Conv2d(1, 1, 3), torch.rand(2, 1, 6, 8), "D4")[LayerCall("(output)", 0)]
    assert features.aligned.shape == (8, 2, 1, 4, 6)
    with pytest.raises(EqvizError, match="square maps"):
        features.moved()


def test_progress_and_iterators():
    told = []
    orbit_features(nn.ReLU(), torch.rand(5, 1, 4, 4), "C4", batch_size=8, kinds=["output"], progress=told.append)
    assert told == [0.4, 0.8, 1.0]
    with pytest.raises(EqvizError, match="gone through several times"):
        orbit_features(nn.ReLU(), iter([torch.rand(5, 1, 4, 4)]), "C4")


def test_layers_without_an_action_are_left_out():
    network = nn.Sequential(nn.Flatten(), nn.Unflatten(1, (2, 2, 4)))
    assert list(orbit_features(declare(network, "invariant"), torch.rand(2, 1, 4, 4), "C4")) == [("(output)", 0)]
