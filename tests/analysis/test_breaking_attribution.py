"""The breaking fraction as a function of the image: its value, its gradient, and its maps."""

import numpy as np
import pytest
import torch
from torch import nn

from eqviz import tables
from eqviz.analysis.attribution_layers import orbit_layers
from eqviz.analysis.breaking_attribution import breaking_attribution, breaking_maps, telling_layers
from eqviz.analysis.breaking_function import breaking_fractions, breaking_function
from eqviz.capture.decomposition import decompose
from eqviz.errors import EqvizError
from eqviz.fields.field_types import declare
from eqviz.fields.grid_action import act_on_grid
from eqviz.groups.group import group
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d
from eqviz.models.pooling import GroupMaxPool2d


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng():
        torch.manual_seed(4)
        yield


def network(G="C4"):
    """A group network whose maximum pool leaves a row over on odd sizes, with an in-place layer after it."""
    field = f"regular({G})"
    layers = nn.Sequential(
        LiftingConv2d(G, 1, 2, 3, padding=1),
        declare(nn.ReLU(), field),
        declare(GroupMaxPool2d(2), field),
        declare(nn.Hardtanh(0.0, 0.2, inplace=True), field),
        declare(GroupConv2d(G, 2, 2, 3, padding=1), field),
    )  # fmt: skip
    return declare(layers, field).double()


def flat_with_a_mark(n=2, shape=(9, 9)):
    images = torch.zeros(n, 1, *shape, dtype=torch.float64)
    images[..., 2:6, 3:5] = torch.randn(n, 1, 4, 2, dtype=torch.float64)
    return images


@pytest.mark.parametrize(
    ("G", "shape"), [("C4", (9, 9)), ("D4", (9, 9)), ("D2", (7, 8)), ("C4", (7, 8)), ("D4", (7, 8))]
)
@pytest.mark.parametrize("layer", ["2", "4", "(output)"])
def test_the_function_is_the_breaking_fraction(G, shape, layer):
    model, images = network("C4" if G == "C4" else "D4").eval(), torch.randn(3, 1, *shape, dtype=torch.float64)
    known = orbit_layers(model, images, group(G), "*", {}, 64)
    (chosen,) = [one for one in known if one.key.layer == layer]
    with breaking_function(model, chosen, group(G)) as function:
        found = function(images)
    parts = decompose(model, images, layer, G)
    energies = [part.square().transpose(0, 1).flatten(1).sum(1) for part in (parts.breaking, parts.aligned)]
    torch.testing.assert_close(found, energies[0] / energies[1])
    assert chosen.breaking == pytest.approx(float(energies[0].sum() / energies[1].sum()))
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("layer", ["2", "(output)"])
@pytest.mark.parametrize("method", ["integrated_gradients", "saliency"])
@pytest.mark.parametrize("G", ["C4", "D4"])
def test_the_maps_of_any_network_turn_with_the_image(G, method, layer):
    # tied maxima or not: h x has the same orbit as x, so each of its images sends its gradient the same way
    model, images = network(G), flat_with_a_mark()
    upright = breaking_maps(model, images, layer, G, method=method, steps=4)
    assert (upright.breaking > 1e-3).all()
    for element in group(G).elements[1:]:
        moved = breaking_maps(model, act_on_grid(images, element), layer, G, method=method, steps=4)
        np.testing.assert_allclose(moved.breaking, upright.breaking, rtol=1e-12)  # float64
        expected = act_on_grid(torch.from_numpy(upright.maps), element).numpy()
        np.testing.assert_allclose(moved.maps, expected, atol=1e-12 * np.abs(expected).max())


class FirstPixel(nn.Module):
    """f(x) = its left pixel, (n, 1)."""

    def forward(self, images):
        return images[:, 0, :, 0]


def test_the_gradient_of_a_network_of_one_pixel_is_known():
    # the orbit under the flip is (a, b): b(x) = (a - b)^2 / (2 (a^2 + b^2)), and db/da = (a^2 - b^2) b / (a^2 + b^2)^2
    a, b = 3.0, 1.0
    images = torch.tensor([[[[a, b]]]], dtype=torch.float64)
    model = FirstPixel()
    found = breaking_maps(model.double(), images, "(output)", "D1", method="saliency", baseline=1.0)
    whole = a * a + b * b
    assert found.breaking.tolist() == pytest.approx([(a - b) ** 2 / (2 * whole)], rel=1e-6)  # float32: no weights
    slope = (a * a - b * b) / whole**2
    assert found.maps.ravel().tolist() == pytest.approx([slope * b, -slope * a], rel=1e-6)
    added = breaking_maps(model, images, "(output)", "D1", baseline=1.0, steps=50)
    assert added.breaking_baseline == 0.0
    assert added.maps.sum() == pytest.approx(0.2, rel=1e-5)
    assert added.completeness < 1e-5


class LastRow(nn.Module):
    """The sum of the last row: (n, channel)."""

    def forward(self, images):
        return images[..., -1, :].sum(-1)


def test_breaking_at_the_border_is_found_there():
    table = breaking_attribution(LastRow(), torch.randn(4, 2, 8, 8), "C4", steps=4)
    assert (table["edge_share"] == 1.0).all()
    assert table["edge_pixels"].tolist() == [28 / 64] * 2
    thick = breaking_attribution(LastRow(), torch.randn(4, 2, 8, 8), "C4", steps=4, edge=2)
    assert thick["edge_pixels"].tolist() == [48 / 64] * 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_is_not_made_a_picture(dtype):
    model, images = network().to(dtype), torch.randn(3, 1, 8, 8)
    maps = breaking_maps(model, images, "2", "C4", steps=3)
    assert maps.rounding
    assert 0 <= maps.breaking.max() <= 100 * maps.floor < 1e-10
    assert np.isnan(maps.completeness)
    table = breaking_attribution(model, images, "C4", steps=3)
    assert table[["edge_share", "completeness"]].isna().all(axis=None)
    broken = breaking_maps(model, torch.randn(3, 1, 9, 9), "2", "C4", steps=3)
    assert not broken.rounding


def test_integrated_gradients_add_up_to_the_breaking():
    images = torch.randn(3, 1, 9, 9)
    model = network()
    nn.init.ones_(model[0].bias)  # so that the layer is alive all along the path: where it wakes up, b jumps
    coarse, fine = (breaking_maps(model, images, "2", "C4", baseline=0.3, steps=steps) for steps in (8, 256))
    assert fine.completeness < 0.3 * coarse.completeness
    np.testing.assert_allclose(
        fine.maps.sum((1, 2)), fine.breaking - fine.breaking_baseline, atol=1.01 * fine.completeness
    )


def test_a_dead_layer_breaks_nothing():
    aligned = torch.zeros(4, 2, 3, requires_grad=True)
    found = breaking_fractions(aligned)
    found.sum().backward()
    assert found.tolist() == [0.0, 0.0]
    assert aligned.grad.abs().max() == 0


def test_columns_and_chosen_layers():
    model, images = network(), torch.randn(4, 1, 9, 9)
    told = []
    table = breaking_attribution(model, images, "C4", steps=2, progress=told.append)
    wanted = [column for column in tables.columns("breaking_attribution") if column not in tables.RUN_KEYS]
    assert sorted(table.columns) == sorted(wanted)
    known = orbit_layers(model, images, group("C4"), "*", {}, 64)
    most = max(known, key=lambda one: one.breaking)
    assert set(table["layer"]) == {most.key.layer, "2", "(output)"}
    assert table["depth"].is_monotonic_increasing
    assert told[-1] == 1.0
    assert telling_layers([]) == []
    named = breaking_attribution(model, images, "C4", layers=["0", "4"], steps=2)
    assert named["layer"].tolist() == ["0", "0", "4", "4"]
    assert (named["n"] == 4).all()


@pytest.mark.parametrize("shape", [(9, 9), (7, 8)])
def test_the_size_of_batches_changes_nothing(shape):
    model, images = network(), torch.randn(5, 1, *shape, dtype=torch.float64)
    whole, parts = (breaking_maps(model, given, "2", "C4", batch_size=size, steps=3) for given, size in (
        (images, 1000), (list(torch.split(images, 2)), 3),
    ))  # fmt: skip
    np.testing.assert_allclose(whole.maps, parts.maps, atol=1e-14)  # float64
    np.testing.assert_allclose(whole.breaking, parts.breaking, rtol=1e-12)
    assert whole.completeness == pytest.approx(parts.completeness)


class Branches(nn.Module):
    """A block that gives two tensors, the second of which is broken."""

    kind = "block"

    def forward(self, images):
        return images, images[..., 1:, 1:]


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.split = Branches()

    def forward(self, images):
        whole, cut = self.split(images)
        return whole.mean((1, 2, 3))[:, None] + cut.mean((1, 2, 3))[:, None]


def test_items_of_a_layer_have_names():
    images = torch.randn(2, 1, 6, 6)
    assert breaking_maps(Head(), images, "split[0]", "C4", steps=2).breaking.max() == 0
    assert breaking_maps(Head(), images, "split[1]", "C4", steps=2).breaking.min() > 0.01


def test_the_model_is_left_as_it_was():
    model = network().train()
    breaking_attribution(model, torch.randn(2, 1, 9, 9), "C4", steps=2)
    assert all(module.training and not module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert torch.is_grad_enabled()


def test_the_hook_is_gone_when_the_model_raises():
    model = network()
    (chosen, *_) = orbit_layers(model, torch.randn(1, 1, 9, 9), group("C4"), "2", {}, 64)

    def fails(images):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), breaking_function(fails, chosen, group("C4")) as function:
        function(torch.randn(1, 1, 9, 9))
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("chosen", "match"),
    [
        ({"layer": "nine"}, "names or globs of layers"),
        ({"call": 1}, "an output of its call 1 that can be aligned"),
        ({"method": "occlusion"}, "one of integrated_gradients, saliency; found 'occlusion'"),
        ({"steps": 0}, "at least 1"),
        ({"group": "C1"}, "a group that moves the image"),
        ({"baseline": torch.arange(81.0).reshape(1, 9, 9)}, "one that rotation 90 moves"),
    ],
)
def test_what_a_user_gets_wrong_is_said(chosen, match):
    with pytest.raises(EqvizError, match=match):
        breaking_maps(**{"model": network(), "images": torch.randn(1, 1, 9, 9), "layer": "2", "group": "C4", **chosen})


@pytest.mark.parametrize("edge", [0, 5])
def test_a_border_is_part_of_the_image(edge):
    with pytest.raises(EqvizError, match="edge: expected from 1 to less than half of 9 pixels"):
        breaking_attribution(network(), torch.randn(1, 1, 9, 9), "C4", edge=edge)


class Nested(nn.Module):
    """An exact item `b` beside a broken one that ends in the same name."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x):
        return {"b": x, "a": {"b": self.conv(x)}}


def test_items_that_end_alike_are_told_apart():
    model, images = nn.Sequential(Nested()), torch.rand(3, 1, 6, 6)
    assert (breaking_maps(model, images, "0[a][b]", "C4").breaking > 1e-3).all()
    assert breaking_maps(model, images, "0[b]", "C4").rounding
