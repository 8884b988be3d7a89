"""The float64 copy of a steerable network: float64 throughout, and free of rounding that is no break."""

import pytest
import torch

from eqviz.analysis.symmetry import measure_symmetry
from eqviz.capture.precision import in_float64, rounding_energy
from eqviz.capture.steerable_filters import expand_anew, polish_filters
from eqviz.errors import EqvizError
from eqviz.fields.exactness import exact_by_fall
from eqviz.fields.geometric_tensors import tensor_of
from eqviz.fields.layer_calls import LayerCall
from eqviz.fields.module_states import copied

pytestmark = pytest.mark.filterwarnings("ignore")  # of e2cnn, at every call

IMAGES = torch.randn(16, 1, 9, 9, generator=torch.Generator().manual_seed(1))


def rounded_otherwise(tensor, seed=0):
    """The same numbers, each with an error of half a unit in the last place of float32, as other sums would give."""
    generator = torch.Generator().manual_seed(seed)
    return tensor * (1 + 2.0**-24 * (2 * torch.rand(tensor.shape, generator=generator) - 1))


def keeping(outputs):
    return lambda module, inputs, output: outputs.append(output)


def breaking(network):
    """Breaking fraction of conv2 in float32 and in float64."""
    found = measure_symmetry(network, IMAGES, "C4", "conv2")
    return [float(table.equivariance()["breaking_fraction"].iloc[0]) for table in (found.single, found.double)]


def test_all_of_it_is_in_float64(networks):
    for name in ("C4", "D4 mixed"):
        fine = in_float64(networks(name))
        seen = []
        for module in fine.modules():
            module.register_forward_hook(keeping(seen))
        with torch.no_grad():
            found = fine(IMAGES.double())
        assert {tensor_of(output).dtype for output in seen} == {torch.float64}
        with torch.no_grad():
            torch.testing.assert_close(networks(name)(IMAGES), found.float(), atol=1e-5, rtol=1e-4)


def test_the_copy_is_made_from_training_mode_too_and_can_be_copied(build):
    network = build("C4").train()
    fine = copied(in_float64(network))
    network.eval()
    with torch.no_grad():
        torch.testing.assert_close(fine.eval()(IMAGES.double()).float(), network(IMAGES), atol=1e-5, rtol=1e-4)
    assert all(parameter.dtype is torch.float32 for parameter in network.parameters())


def test_rounding_is_measured_beside_the_float32_network(networks):
    errors = rounding_energy(networks("C4"), IMAGES, "pool")
    assert 0 < errors[LayerCall("pool", 0)] < 1e-11


def test_rounding_of_stored_filters_is_no_break(build):
    network = build("C4", stride=1)
    for layer in (network.conv1, network.conv2):
        layer.filter = rounded_otherwise(layer.filter.detach().double())
        layer.expanded_bias = rounded_otherwise(layer.expanded_bias.detach().double(), 1)
    coarse = copied(network)
    network.float()
    single, double = breaking(network)
    assert exact_by_fall(single, double) == "yes"
    with torch.no_grad():  # without the polish it would pass for one
        orbit = torch.cat([torch.rot90(IMAGES.double(), q, (-2, -1)) for q in range(4)])
        outputs = coarse.double().conv1(network.wrapped(orbit, network.input_type)).tensor
        turned = torch.rot90(outputs[16:32], -1, (-2, -1)).unflatten(1, (2, 4)).roll(-1, 2).flatten(1, 2)
    left = (turned - outputs[:16]).square().sum() / outputs[:16].square().sum()
    assert left > 1e-18


def test_a_true_break_stays_and_only_in_its_filter(build):
    network = build("C4", stride=1)
    with torch.no_grad():
        network.conv2.filter[3, 2, 0, 1] += 1e-4 * network.conv2.filter.abs().max()
    broken = network.conv2.filter.double()
    fine = in_float64(network)
    assert torch.equal(fine.conv2.filter, broken)
    single, double = breaking(network)
    assert exact_by_fall(single, double) == "no"


def test_filters_of_every_kind_are_polished(e2cnn, spaces):
    """Grouped, transposed and dilated ones, of one pixel and of even size; under groups that mix channels."""
    library = e2cnn.nn
    for name, kinds in (("C8", "regular"), ("O(2)", "irreps")):
        space = spaces[name]
        fields = [space.regular_repr] if kinds == "regular" else [space.irrep(1, 1), space.irrep(0, 0)]
        two = library.FieldType(space, 2 * fields)
        layers = [
            library.R2Conv(two, two, 3, groups=2), library.R2Conv(two, two, 1), library.R2Conv(two, two, 4),
            library.R2ConvTransposed(two, library.FieldType(space, fields), 3, stride=2),
        ]  # fmt: skip
        for layer in layers:
            layer.eval().double()
            exact = layer.filter.detach().clone()
            layer.filter = rounded_otherwise(exact)
            assert not torch.equal(layer.filter, exact)
            polish_filters(layer)
            # what is left of the rounding has the symmetry of the filter
            off = layer.filter - exact
            assert off.abs().max() < 2.0**-23 * exact.abs().max()
            again = layer.filter.clone()
            polish_filters(layer)
            torch.testing.assert_close(layer.filter, again, atol=1e-15, rtol=1e-13)


def test_filters_are_made_anew_of_changed_weights(build):
    network = build("C4")
    before = network.conv2.filter.clone()
    with torch.no_grad():
        network.conv2.weights.mul_(2)
    expand_anew(network)
    torch.testing.assert_close(network.conv2.filter, 2 * before)
    assert not network.conv2.training


def test_a_model_whose_filters_hang_on_the_graph_can_be_copied(build):
    network = build("C4").train().eval()
    assert not network.conv2.filter.is_leaf
    twin = copied(network)
    assert torch.equal(twin.conv2.filter, network.conv2.filter)
    assert twin.conv2.out_type is network.conv2.out_type
    assert twin.conv2.weights is not network.conv2.weights


def test_what_cannot_be_copied_is_told_in_a_line(build):
    network = build("C4")
    network.library = torch
    with pytest.raises(EqvizError, match="one that can be copied"):
        in_float64(network)
