"""Networks whose answers are known beforehand: from the literature, by arithmetic, or measured once by brute force."""

import pytest
import torch
from torch import nn

import eqviz
from eqviz.audit.auditing import examine
from eqviz.audit.sizes import exact_sizes, nearest_sizes
from eqviz.fields.field_types import declare
from eqviz.groups.group import group
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d
from eqviz.models.pooling import GroupMaxPool2d
from eqviz.models.registry import build_model
from eqviz.models.separable import SEPARABLE
from tests.audit.measuring import measure
from tests.audit.steps import Setting

ONE_MODULO_FOUR = [29, 33, 37, 41]


def resnet44(name="p4resnet44", head="coset_max"):
    return build_model(name, in_channels=1, widths=(2, 2, 2), head=head)


def resnet8(separable, name="p4resnet8"):
    return build_model(name, in_channels=1, widths=(2, 2, 2), separable=separable)


def resnet18(name="p4resnet18", head="coset_max"):
    return build_model(name, in_channels=1, widths=(2, 2, 2, 2), head=head)


@pytest.mark.parametrize(
    "size", [n if n in (32, 33) else pytest.param(n, marks=pytest.mark.slow) for n in range(28, 42)]
)
def test_p4resnet44_is_exact_on_one_modulo_four(size):
    found = examine(resnet44(), size, "p4")
    assert found.exact == found.grid_exact == (size in ONE_MODULO_FOUR)
    assert found.fibre_exact is True
    assert found.surviving.name == ("C4" if found.exact else "C1")
    assert (found.first_fault is None) == found.exact


def test_the_first_misfitting_stride_is_the_first_fault():
    on_even, on_odd = examine(resnet18(), 32, "p4"), examine(resnet18(), 31, "p4")
    assert on_even.first_fault.layer.startswith("layers.1.0.")
    assert on_odd.first_fault.layer.startswith("layers.2.0.")
    assert (on_even.first_fault.op, on_even.first_fault.stride, on_even.first_fault.leftover) == ("conv2d", "2", "1")
    assert on_even.first_fault.size == (32, 32)
    assert on_odd.first_fault.size == (16, 16)


@pytest.mark.parametrize("size", [32, 33])
def test_with_the_flattened_head_the_linear_layer_is_the_first_fault_on_exact_sizes(size):
    found = examine(resnet44(head="flatten"), size, "p4")
    by_layer = {row.layer: row for row in found.layers}
    fits = size in ONE_MODULO_FOUR
    assert found.exact is False
    assert found.grid_exact is fits
    assert found.fibre_exact is False
    assert by_layer["global_pool"].exact == by_layer["head"].exact == ("yes" if fits else "no")
    assert by_layer["fc"].exact == by_layer["(output)"].exact == "no"
    if fits:
        assert (found.first_fault.layer, found.first_fault.op) == ("fc", "linear")
        assert (found.first_fault.grid_exact, found.first_fault.fibre_exact) == ("yes", "no")
    else:
        assert found.first_fault.layer.startswith("layers.")


@pytest.mark.parametrize(
    ("size", "exact"), [(25, True), (33, True), (97, True), (225, True), (32, False), (96, False), (224, False)]
)
def test_p4resnet18_is_exact_on_one_modulo_eight(size, exact):
    found = examine(resnet18(), size, "p4")
    assert (found.exact, found.grid_exact, found.fibre_exact) == (exact, exact, True)


@pytest.mark.parametrize(
    ("size", "separable"), [(8, ""), (9, ""), (14, "g"), (15, "g"), (14, "gc"), (15, "gc"), (27, ""), (28, "")]
)
def test_p4cnn_is_exact_on_even_sizes(size, separable):
    found = examine(build_model("p4cnn", channels=2, separable=separable), size, "p4")
    assert (found.exact, found.fibre_exact) == (size % 2 == 0, True)
    if not found.exact:
        assert (found.first_fault.layer, found.first_fault.op) == ("pool", "max_pool2d")


@pytest.mark.parametrize("size", [*(pytest.param(n, marks=pytest.mark.slow) for n in (30, 31)), 32])
def test_p4mresnet44_keeps_exactly_the_transpose(size):
    found = examine(resnet44("p4mresnet44"), size, "p4m")
    assert found.exact is False
    assert found.surviving.name == "D1(transpose)"


@pytest.mark.slow
def test_p4mresnet44_on_33_keeps_everything():
    found = examine(resnet44("p4mresnet44"), 33, "p4m")
    assert (found.exact, found.surviving.name) == (True, "D4")


@pytest.mark.parametrize(("name", "group_name"), [("z2resnet18", "p4"), ("z2resnet18", "p4m"), ("z2cnn", "p4")])
def test_plain_networks_break_by_their_weights_where_the_grid_is_exact(name, group_name):
    network = resnet18(name) if name == "z2resnet18" else build_model(name, channels=2)
    found = examine(network, 33 if name == "z2resnet18" else 28, group_name)
    assert (found.exact, found.grid_exact, found.fibre_exact) == (False, True, False)
    assert found.surviving.name == "C1"
    assert found.first_fault.layer == "conv1"


# --- the chain and the pair -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "exact"),
    [(30, [True] * 5), (28, [True, True, True, True, False]), (29, [True, True, False, False, False])],
)
def test_p4_chain_layer_by_layer(size, exact):
    chain = declare(
        nn.Sequential(
            LiftingConv2d("p4", 1, 3, 3, padding=1), GroupConv2d("p4", 3, 3, 3, padding=1),
            declare(GroupMaxPool2d(2), "regular(C4)"), GroupConv2d("p4", 3, 3, 3, padding=1),
            GroupConv2d("p4", 3, 3, 3, stride=2, padding=1),
        ),
        "regular(C4)",
    )  # fmt: skip
    by_layer = {row.layer: row.exact for row in examine(chain, size, "p4").layers}
    assert [by_layer[str(i)] for i in range(5)] == ["yes" if fits else "no" for fits in exact]


def p4m_pair():
    second = GroupConv2d("p4m", 6, 6, 3, stride=2, padding=1)
    return declare(nn.Sequential(LiftingConv2d("p4m", 1, 6, 3, padding=1), nn.ReLU(), second), "regular(D4)")


@pytest.mark.parametrize(
    ("size", "group_name", "surviving"),
    [
        (9, "D4", "D4"), (8, "D4", "D1(transpose)"), (8, "C4", "C1"), (8, "D2(axes)", "C1"),
        (8, "D2(diagonals)", "D1(transpose)"), ((9, 13), "D4", "D4"), ((9, 13), "D2(axes)", "D2(axes)"),
        ((8, 9), "D4", "D1(transpose)"), ((8, 10), "D4", "D1(transpose)"), ((9, 8), "D2(axes)", "D1(up-down)"),
        ((8, 9), "D2(axes)", "D1(left-right)"), ((8, 9), "C4", "C1"), ((8, 10), "D2(axes)", "C1"),
    ],
)  # fmt: skip
def test_p4m_pair_on_square_and_other_sizes(size, group_name, surviving):
    """Stride 2 with a 3x3 kernel: a side of even length leaves one over. Transposing swaps the sides' parts."""
    network = p4m_pair()
    found = examine(network, size, group_name)
    assert found.surviving.name == surviving
    assert found.exact is (surviving == group(group_name).name)
    pair = size if isinstance(size, tuple) else (size, size)
    measured = measure([network.double()], 1, pair, group(group_name), "D4")
    assert not measured.unclear
    assert measured.surviving == frozenset(group(surviving).elements)


@pytest.mark.parametrize(("name", "group_name", "kept"), [("p4conv", "C4", "C1"), ("p4mconv", "D4", "D1(transpose)")])
def test_one_strided_convolution_of_few_parameters(name, group_name, kept):
    network = build_model(name)
    on_odd, on_even = eqviz.audit(network, 33, group_name).attrs, eqviz.audit(network, 32, group_name).attrs
    assert (on_odd["exact"], on_odd["surviving"]) == (True, group_name)
    assert (on_even["exact"], on_even["grid_exact"], on_even["fibre_exact"]) == (False, False, True)
    assert on_even["surviving"] == kept
    fault = examine(network, 32, group_name).first_fault
    assert (fault.layer, fault.leftover) == ("conv", "1")
    assert eqviz.exact_sizes(network, range(30, 36), group_name) == [31, 33, 35]


# --- sizes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["exact", "grid"])
def test_exact_sizes_of_known_networks(part):
    assert exact_sizes(resnet18(), [32, 33], "p4", part=part) == [33]
    assert exact_sizes(build_model("p4cnn", channels=2), [8, 9, 10, 11], "p4", part=part) == [8, 10]


@pytest.mark.parametrize("separable", SEPARABLE)
@pytest.mark.parametrize(
    ("name", "group_name", "kept"), [("p4resnet8", "C4", "C1"), ("p4mresnet8", "D4", "D1(transpose)")]
)
def test_resnet8_is_exact_on_one_modulo_four_whatever_its_filters_are_made_of(separable, name, group_name, kept):
    network = resnet8(separable, name)
    assert eqviz.exact_sizes(network, [32, 33, 34, 35, 36, 37], group_name) == [33, 37]
    on_odd, on_even = examine(network, 33, group_name), examine(network, 32, group_name)
    assert (on_odd.exact, on_odd.surviving.name) == (True, group_name)
    assert (on_even.exact, on_even.grid_exact, on_even.fibre_exact) == (False, False, True)
    assert on_even.surviving.name == kept


def test_exact_sizes_by_grid_alone_leave_the_fibre_out():
    flattened = resnet18(head="flatten")
    assert exact_sizes(flattened, [32, 33], "p4") == []
    assert exact_sizes(flattened, [32, 33], "p4", part="grid") == [33]
    plain = resnet18("z2resnet18")
    assert exact_sizes(plain, [32, 33], "p4") == []
    assert exact_sizes(plain, [32, 33], "p4", part="grid") == [33]


def test_exact_sizes_of_pairs():
    pairs = [(8, 9), (9, 8), (9, 9), (9, 13), (13, 9), (8, 8)]
    assert exact_sizes(p4m_pair(), pairs, "p4m") == [(9, 9), (9, 13), (13, 9)]
    assert exact_sizes(p4m_pair(), [(8, 9), (9, 13)], "D1(left-right)") == [(8, 9), (9, 13)]


@pytest.mark.slow
def test_safe_sizes_of_resnets():
    assert exact_sizes(resnet44(), range(28, 42), "p4") == ONE_MODULO_FOUR
    assert exact_sizes(resnet18(), [25, 32, 33, 96, 97, 224, 225], "p4") == [25, 33, 97, 225]
    assert nearest_sizes(resnet44(), 32, "p4") == (29, 33)
    assert nearest_sizes(resnet18(), 224, "p4") == (217, 225)


def test_nearest_sizes():
    assert nearest_sizes(build_model("p4cnn", channels=2), 29, "p4") == (28, 30)
    below, above = nearest_sizes(p4m_pair(), (8, 10), "p4m")
    assert below == (7, 9)
    assert above == (9, 11)


def test_no_size_is_safe_for_a_plain_network():
    assert nearest_sizes(build_model("z2cnn", channels=2), 28, "p4", reach=4) == (None, None)


# --- plain networks with symmetric kernels --------------------------------------------------------------------------


def symmetric_network(name, dtype, copied=True):
    """Kernels of 5 pixels: those of 3 that quarter turns keep, reflections keep as well."""
    convolutions = [nn.Conv2d(1, 4, 5, padding=2).to(dtype), nn.Conv2d(4, 4, 5, 2, 2).to(dtype)]
    for layer in convolutions:
        layer.weight = nn.Parameter(Setting("symmetric", group(name), copied).symmetric(layer.weight.detach()))
    return nn.Sequential(convolutions[0], nn.ReLU(), convolutions[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_symmetric_kernels_are_seen_in_the_weights(dtype):
    network = symmetric_network("D4", dtype)
    assert examine(network, 9, "D4").exact is True
    assert examine(network, 8, "D4").surviving.name == "D1(transpose)"
    assert examine(symmetric_network("C4", dtype), 9, "D4").surviving.name == "C4"


def test_kernels_symmetrised_by_a_mean_are_symmetric_to_the_rounding_of_their_dtype():
    """In float32 they may be called unknown: measured in float64, their asymmetry of 1e-8 does not fall."""
    assert examine(symmetric_network("D4", torch.float64, copied=False), 9, "D4").exact is True
    rounded = symmetric_network("D4", torch.float32, copied=False)
    assert examine(rounded, 9, "D4").exact is not False
    assert examine(rounded.double(), 9, "D4").exact is not False
