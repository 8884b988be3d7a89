"""Layers run alone on their moved inputs: against brute force, and where they cannot be."""

import contextlib

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from eqviz.capture.field_following import FieldFollower
from eqviz.capture.layer_probing import probe_layers
from eqviz.capture.pointwise import PointwiseFollowing
from eqviz.errors import EqvizError
from eqviz.fields.field_types import Image, Invariant, Regular, declare
from eqviz.fields.layer_calls import LayerCall
from eqviz.groups.group import group
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d


def probed(model, images, G, layers="*", fields=None, batch_size=64):
    found = {}
    probe_layers(model, images, group(G), layers, fields or {}, batch_size, lambda one: found.update({one.key: one}))
    return found


def layer(found, name, call=0):
    return found[LayerCall(name, call)]


class Within(nn.Module):
    """A module that runs a function of its layers."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        for name, module in layers.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.function(self, x)


@pytest.mark.parametrize("G", ["C4", "D4"])
@pytest.mark.parametrize("size", [(6, 6), (8, 5)])
def test_alone_and_orbit_are_those_of_brute_force(brute, group_network, G, size):
    model, images = group_network(G), torch.randn(3, 1, *size)
    found = probed(model, images, G)
    with torch.no_grad():
        h = model[:2](images)
    orbit = brute(model, images, G, G)
    # the same products in batches of another size
    np.testing.assert_allclose(layer(found, "2").orbit.numpy(), orbit, atol=1e-5)
    parts = [field_moved(h, g, G) for g in group(G).elements]
    with torch.no_grad():
        alone = [field_moved(model[2](part), g.inverse, G) for part, g in zip(parts, group(G).elements, strict=True)]
    np.testing.assert_allclose(layer(found, "2").alone.numpy(), torch.stack(alone).numpy(), atol=1e-5)
    assert [one.info.depth for one in found.values()] == [0, 1, 2, 3]
    assert layer(found, "2").within == (LayerCall("(output)", 0),)


def field_moved(features, element, G):
    return Regular(group(G)).act(features, element)


def test_an_exact_layer_in_a_broken_network_keeps_its_aligned_output_alone():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.AvgPool2d(2))
    found = probed(model.double(), torch.randn(2, 1, 8, 8).double(), "D4")
    for name in ("1", "2"):
        alone, orbit = layer(found, name).alone, layer(found, name).orbit
        # sums of four numbers in another order, in float64
        np.testing.assert_allclose(alone.numpy(), np.broadcast_to(alone[:1].numpy(), alone.shape), atol=1e-15)
        assert (orbit - orbit[:1]).abs().max() > 0.01
        assert torch.allclose(alone[0], orbit[0])


def test_numbers_and_weights_that_go_in_are_constants():
    class Scale(nn.Module):
        def forward(self, x, weight, *, shift):
            return x * weight + shift

    scale = torch.tensor([2.0, 3.0, 4.0]).reshape(1, 3, 1, 1)
    model = Within(lambda own, x: own.scale(x, scale, shift=torch.tensor(1.0)), scale=Scale())
    one = layer(probed(model, torch.randn(2, 3, 4, 4), "C4"), "scale")
    assert one.why == ""
    assert torch.equal(one.alone, one.orbit)


def test_every_output_of_a_layer_has_its_own_place_and_type():
    class Head(nn.Module):
        def forward(self, x):
            return {"maps": -x, "mean": x.mean((-2, -1)), "seen": len(x), "index": torch.arange(len(x))}

    model = Within(lambda own, x: own.head(x), head=Head())
    found = probed(model, torch.randn(2, 3, 4, 4), "C4")
    assert {key.layer for key in found} == {"head[maps]", "head[mean]", "(output)[maps]", "(output)[mean]"}
    assert layer(found, "head[mean]").info.field == "invariant"
    assert layer(found, "head[maps]").info.field_source == "within"
    assert layer(found, "head[maps]").call == LayerCall("head", 0)


@pytest.mark.parametrize(
    "function",
    [
        lambda own, x: own.last(torch.roll(x, 1, -1)),
        lambda own, x: own.last(x * x.mean((-2, -1), keepdim=True)),
        lambda own, x: own.last(own.deep(x)),
    ],
)
def test_inputs_of_no_known_type_are_not_moved(function):
    deep = Within(lambda own, x: x[:, :, None].sin())
    model = Within(function, deep=deep, last=declare(nn.Hardtanh(), "image"))
    one = layer(probed(model, torch.randn(2, 3, 4, 4), "C4"), "last")
    assert one.alone is None
    assert one.orbit is not None
    assert "no known field type" in one.why


def test_a_layer_of_no_known_type_asks_for_a_declaration():
    model = Within(lambda own, x: own.deep(x).sum(2), deep=Within(lambda own, x: x[:, :, None].sin()))
    images = torch.randn(2, 3, 4, 4)
    one = layer(probed(model, images, "C4"), "deep")
    assert (one.alone, one.orbit, one.info.field, one.info.field_source) == (None, None, "", "")
    assert "declare one" in one.why
    told = layer(probed(model, images, "C4", fields={"deep": "image"}), "deep")
    assert (told.info.field_source, told.why) == ("given", "")


def test_layers_that_lean_on_the_network_say_what_they_raise():
    class Second(nn.Module):
        def forward(self, x):
            if len(x) != self.expected:
                raise ValueError("not now")
            return x + 0

    def run(own, x):
        own.second.expected = len(x)
        result = own.second(x)
        own.second.expected = 0
        return result

    second = Second()
    second.register_forward_hook(lambda module, inputs, output: setattr(module, "expected", 0))
    model = Within(run, second=second)
    assert layer(probed(model, torch.randn(2, 1, 4, 4), "C4"), "second").why == (
        "alone on its moved input it raises ValueError: not now"
    )


def test_layers_without_a_batch_of_activations_say_so():
    model = Within(lambda own, x: x + own.table(), table=Within(lambda own, x: torch.ones(1)))
    model.table.forward = lambda: torch.ones(1, 1, 4, 4)
    found = probed(model, torch.randn(2, 1, 4, 4), "C4")
    assert "no batch" in layer(found, "table").why
    assert layer(found, "(output)").why == ""


def test_a_layer_that_mixes_the_batch_sees_the_whole_orbit_alone():
    norm = nn.BatchNorm2d(1, track_running_stats=False)  # statistics of the batch, also in evaluation mode
    model = nn.Sequential(nn.Conv2d(1, 1, 3), norm).double()
    one = layer(probed(model, torch.randn(2, 1, 6, 6).double(), "C4"), "1")
    # mean and variance summed in another order, in float64
    assert (one.alone - one.alone[:1]).abs().max() < 1e-12


def test_types_go_through_containers_and_keeping_layers():
    stem = LiftingConv2d("C4", 1, 2, 3, padding=1)
    model = nn.Sequential(
        nn.Sequential(stem, nn.BatchNorm3d(2)), nn.Sequential(nn.ReLU(), nn.Dropout(0.5)), GroupConv2d("C4", 2, 2, 3)
    )
    found = probed(model, torch.randn(2, 1, 6, 6), "C4", "*,0")
    sources = {key.layer: one.info.field_source for key, one in found.items()}
    assert sources == {
        "0.0": "declared", "0.1": "kept", "0": "within", "1.0": "kept", "1.1": "kept", "2": "declared",
        "(output)": "within",
    }  # fmt: skip
    assert all(one.why == "" for one in found.values())


def test_a_norm_that_changes_its_type_by_declaration_is_believed():
    model = nn.Sequential(declare(nn.BatchNorm2d(4), "regular(C4, flattened)"))
    assert layer(probed(model, torch.randn(2, 4, 5, 5), "C4"), "0").info.field == "regular(C4, flattened)"


def test_only_the_layers_asked_for_are_handed_over_but_types_go_through_all():
    model = nn.Sequential(LiftingConv2d("C4", 1, 2, 3), nn.ReLU(), GroupConv2d("C4", 2, 2, 3))
    found = probed(model, torch.randn(2, 1, 8, 8), "C4", "2")
    assert [key.layer for key in found] == ["2"]
    assert layer(found, "2").why == ""


def test_a_layer_that_was_named_and_never_ran_is_refused():
    model = Within(lambda own, x: x + 1, spare=nn.ReLU())
    with pytest.raises(EqvizError, match="layer spare: expected a layer that runs"):
        probed(model, torch.randn(2, 1, 4, 4), "C4", "spare")


def test_pointwise_operations_pass_a_type_on_only_where_all_share_it():
    x, y, other = torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2), torch.randn(4, 3)
    follower = FieldFollower(4, 2)
    follower.remember(x, Image())
    follower.remember(other, Invariant())
    with PointwiseFollowing(follower, 4):
        keeps = [F.relu(x), x + x, 2 * x, x.clamp(0, 1), x * torch.ones(3, 1, 1), F.dropout(x, 0.1), -x]
        loses = [x + y, x * other[:, :, None, None], x.flatten(1), x.flip(-1), torch.roll(x, 1), y.relu()]
        assert [follower.field_of(result) for result in keeps] == [Image()] * len(keeps)
        assert [follower.field_of(result) for result in loses] == [None] * len(loses)
        x += y  # overwritten by what is not known
        assert follower.field_of(x) is None


@pytest.mark.parametrize("size", [9, 8])
def test_hooks_go_also_when_the_model_raises(size):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Linear(7, 1))
    fails = pytest.raises(EqvizError, match="forward pass") if size == 8 else contextlib.nullcontext()
    with fails:
        FieldFollower(2, 1).run(model, torch.randn(2, 1, size, size), ["0", "1"], lambda call, outputs: None)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
