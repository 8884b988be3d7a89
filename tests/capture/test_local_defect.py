"""The local defect by its definition, and that only the culprit has one."""

import itertools

import pytest
import torch
from torch import nn

from eqviz.capture.field_following import FieldFollower, changed
from eqviz.capture.local_defect import generators, layer_defects
from eqviz.errors import EqvizError
from eqviz.fields.field_types import Image, Regular
from eqviz.fields.layer_calls import layer_names
from eqviz.groups.group import group


def found_in(model, images, G, field, layers=None):
    """What is measured of every layer, when each is taken to give out `field`."""
    found = []

    def choose(defects):
        found.append(defects)
        return field

    layer_defects(model, images, group(G), layers or layer_names(model), lambda *_: None, lambda shape: [field], choose)
    return {defects.key.layer: defects for defects in found}


def by_hand(layer, h, field_in, field_out, G):
    """Mean over the generators of |l(rho(g) h) - rho(g) l(h)|^2 / |l(h)|^2, in float64."""
    layer, h = layer.double(), h.double()
    with torch.no_grad():
        upright = layer(h)
        moved = [layer(field_in.act(h, g)) - field_out.act(upright, g) for g in generators(group(G))]
    return float(sum(part.square().sum() for part in moved) / (len(moved) * upright.square().sum()))


@pytest.mark.parametrize("G", ["C4", "D4"])
def test_only_the_strided_layer_has_a_defect_on_an_even_size_however_deep_the_others_lie(group_network, G):
    model, images = nn.Sequential(*group_network(G), *group_network(G, 1)[1:]).double(), torch.randn(4, 1, 8, 8)
    found = found_in(model, images, G, Regular(group(G)))
    # float64 rounds to about 1e-31; what the network gives out is the tensor of its last layer
    assert [name for name, defects in found.items() if defects.double[Regular(group(G))] > 1e-24] == ["2"]
    assert {defects.evidence for defects in found.values()} == {"local"}
    with torch.no_grad():
        h = model[:2](images.double())
    expected = by_hand(model[2], h, Regular(group(G)), Regular(group(G)), G)
    # the same sums in another order
    assert found["2"].double[Regular(group(G))] == pytest.approx(expected, rel=1e-10)
    assert found["2"].single[Regular(group(G))] == pytest.approx(expected, rel=1e-4)
    assert [defects.depth for defects in found.values()] == list(range(6))


def test_a_plain_convolution_by_its_definition():
    model, images = nn.Sequential(nn.ReLU(), nn.Conv2d(2, 3, 3)), torch.randn(3, 2, 7, 7)
    found = found_in(model, images, "D4", Image())
    assert found["0"].double[Image()] == 0
    expected = by_hand(model[1], images.relu(), Image(), Image(), "D4")
    assert found["1"].double[Image()] == pytest.approx(expected, rel=1e-5)  # weights go back and forth in float32


def test_the_input_is_taken_before_the_layer_overwrites_it():
    model, images = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(inplace=True)), torch.randn(2, 1, 5, 5)
    found = found_in(model, images, "C4", Image())
    assert found["1"].double[Image()] == 0
    assert found["1"].evidence == "local"


def test_without_a_type_for_the_input_the_orbit_takes_its_place():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool = nn.AvgPool2d(2)

        def forward(self, x):
            return self.pool(2 * x)

    found = found_in(Scaled(), torch.randn(2, 1, 7, 7), "C4", Image())
    assert {name: defects.evidence for name, defects in found.items()} == {"pool": "orbit", "(output)": "orbit"}
    assert found["pool"].double[Image()] > 1e-3  # seven is odd


@pytest.mark.parametrize("G", group("D4").subgroups, ids=str)
def test_generators_generate(G):
    words = [(), *itertools.chain.from_iterable(itertools.product(generators(G), repeat=n) for n in range(1, 6))]
    made = set()
    for word in words:
        product = G.elements[0]
        for element in word:
            product = element * product
        made.add(product)
    assert made == set(G.elements)
    assert len(generators(G)) <= 2


def test_a_model_that_fails_is_one_line():
    with pytest.raises(EqvizError, match="model: expected a forward pass on images") as caught:
        found_in(nn.Linear(3, 2), torch.randn(2, 1, 5, 5), "C4", Image())
    assert "\n" not in str(caught.value)


def test_the_follower_forgets_what_is_overwritten_by_an_unknown_layer():
    follower, seen = FieldFollower(4, 2), {}

    def watch(call, outputs):
        seen[call.layer] = call.fields["[0][0]"]
        for place, output in outputs:
            assert place == ""
            follower.remember(output, Image() if call.layer == "0" else None)

    model = nn.Sequential(nn.ReLU(), nn.Hardtanh(inplace=True), nn.ReLU(inplace=True))
    follower.run(model, torch.randn(4, 1, 3, 3), ["0", "1", "2"], watch)
    assert seen == {"0": Image(), "1": Image(), "2": None}


def test_changed_keeps_the_structure():
    point = torch.Size([1, 2])
    value = ({"a": [torch.ones(1)]}, 3, point)
    result = changed(value, lambda place, tensor: tensor + 1)
    assert result[0]["a"][0].item() == 2
    assert result[1:] == (3, point)
