"""The float64 twin, and how much each layer rounds."""

import copy
import math

import pytest
import torch
from torch import nn

from eqviz.capture.orbit_capture import capture
from eqviz.capture.precision import in_float64, rounding_energy
from eqviz.errors import EqvizError
from eqviz.fields.layer_calls import LayerCall, placement


def test_in_float64_is_a_copy(group_network):
    model = group_network("C4")
    fine = in_float64(model)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    for p, q in zip(model.parameters(), fine.parameters(), strict=True):
        assert q.dtype == torch.float64
        assert torch.equal(p.double(), q)
        assert p.data_ptr() != q.data_ptr()


def test_a_model_without_weights_runs_in_float64_too():
    fine = in_float64(nn.Sequential(nn.AvgPool2d(2)))
    table = capture(fine, torch.randn(4, 1, 6, 6), "C4").equivariance()
    assert table["breaking_fraction"].lt(1e-28).all()  # float32 leaves 1e-16
    assert placement(fine)[1] == torch.float64
    assert not fine.state_dict()


def test_rounding_energy_by_definition(group_network):
    model, images = group_network("C4"), torch.randn(5, 1, 8, 8)
    found = rounding_energy(model, images, batch_size=2)
    assert [key.layer for key in found] == ["0", "1", "2", "(output)"]
    with torch.no_grad():
        # two images at a time, as above: the stack decides how a convolution rounds
        coarse = torch.cat([model(part) for part in images.split(2)]).double()
        fine = copy.deepcopy(model).double()(images.double())
    expected = float((coarse - fine).square().sum() / fine.square().sum())
    assert found[LayerCall("2", 0)] == pytest.approx(expected, rel=1e-6)
    assert found[LayerCall("(output)", 0)] == found[LayerCall("2", 0)]


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        # (a few epsilons)^2: epsilon/2 is 6e-8 in float32, 5e-4 in float16, 4e-3 in bfloat16
        (torch.float32, 1e-16, 1e-13),
        (torch.float16, 1e-8, 1e-5),
        (torch.bfloat16, 1e-6, 1e-3),
    ],
)
def test_rounding_energy_has_the_size_of_epsilon_squared(dtype, low, high, group_network):
    found = rounding_energy(group_network("C4").to(dtype), torch.randn(4, 1, 9, 9))
    assert all(low < energy < high for energy in found.values())


def test_float64_rounds_by_nothing_against_itself(group_network):
    found = rounding_energy(group_network("C4").double(), torch.randn(4, 1, 9, 9))
    assert set(found.values()) == {0.0}


def test_dead_layers_and_layers_that_are_not_asked_for():
    model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU())
    model[0].weight.data.fill_(-1.0)
    model[0].bias.data.fill_(0.0)
    found = rounding_energy(model, torch.rand(2, 1, 5, 5) + 0.1, layers="1")
    assert list(found) == [LayerCall("1", 0)]
    assert math.isnan(found[LayerCall("1", 0)])


def test_what_a_module_rounds_again_counts_for_each_call():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x):
            return self.conv(self.conv(x))

    found = rounding_energy(Twice(), torch.rand(2, 1, 5, 5))
    assert list(found) == [LayerCall("conv", 0), LayerCall("conv", 1), LayerCall("(output)", 0)]
    assert all(0 < energy < 1e-12 for energy in found.values())


def test_mistakes_are_one_line(group_network):
    with pytest.raises(EqvizError, match="near names") as caught:
        rounding_energy(group_network("C4"), torch.rand(1, 1, 5, 5), layers="conv")
    assert "\n" not in str(caught.value)
