"""Fibre content: known functions on the group, the DFT for C4, Reynolds by the action itself, and whole networks."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from eqviz.analysis.orientation_selectivity import (
    fibre_energies,
    fibre_matrices,
    fibre_projectors,
    fibre_shares,
    fibres,
    orientation_selectivity,
    orientation_selectivity_summary,
)
from eqviz.errors import EqvizError
from eqviz.fields.field_types import Regular, Vector, declare
from eqviz.groups.group import group
from eqviz.groups.irreps import irreps, isotypic_projector
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d
from eqviz.models.registry import build_model
from eqviz.tables import RUN_KEYS, SCHEMAS

ROUNDING = 1e-12  # float64 sums of some hundred terms of order 1
C4, D4 = group("C4"), group("D4")


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2308)
        yield


def shares(fibre, G):
    return fibre_shares(fibre_energies(torch.tensor([[fibre]], dtype=torch.float64), Regular(G), G)).tolist()


@pytest.mark.parametrize(
    ("fibre", "expected"),
    [
        ([2, 2, 2, 2], [1, 0, 0]),
        ([1, 0, 0, 0], [1 / 4, 1 / 4, 1 / 2]),
        ([1, -1, 1, -1], [0, 1, 0]),
        ([1, 0, -1, 0], [0, 0, 1]),  # cos(2 pi r / 4)
        ([1, 1, 0, 0], [1 / 2, 0, 1 / 2]),
    ],
)
def test_known_fibres_of_c4(fibre, expected):
    assert shares(fibre, C4) == pytest.approx(expected, abs=ROUNDING)


@pytest.mark.parametrize("place", range(5))
def test_characters_of_d4_lie_in_their_own_irrep(place):
    expected = np.eye(5)[place]
    assert shares(list(irreps(D4)[place].character), D4) == pytest.approx(expected, abs=ROUNDING)


def test_one_orientation_of_d4_holds_every_irrep_by_its_dimension_squared():
    assert shares([0, 0, 0, 0, 0, 1, 0, 0], D4) == pytest.approx([1 / 8] * 4 + [1 / 2], abs=ROUNDING)


def test_a_fibre_of_c4_is_its_fourier_transform():
    maps = torch.randn(5, 3, 4, 6, 7, dtype=torch.float64)
    spectrum = np.square(np.abs(np.fft.fft(maps.numpy(), axis=2))).sum((0, 1, 3, 4)) / 4
    expected = [spectrum[0], spectrum[2], spectrum[1] + spectrum[3]]
    assert fibre_energies(maps, Regular(C4), C4).energies.tolist() == pytest.approx(expected, rel=ROUNDING)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("G", [C4, D4, group("D2"), group("C6")], ids=str)
def test_projectors_of_the_whole_group_are_those_of_functions_on_it(G, reverse):
    found = fibre_projectors(Regular(G, reversed=reverse), G)
    for irrep in irreps(G):
        np.testing.assert_allclose(found[irrep.name], isotypic_projector(G, irrep), atol=ROUNDING)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("H", D4.subgroups, ids=str)
def test_the_isotropic_part_is_the_mean_over_the_action(H, reverse):
    field = Regular(D4, reversed=reverse)
    features = torch.randn(4, 3, 8, dtype=torch.float64)
    mean = torch.stack([field.act(features, g) for g in H.elements]).mean(0)
    found = fibre_energies(features, field, H)
    assert found.energies[0] == pytest.approx(float(mean.square().sum()), rel=ROUNDING)
    assert found.energies.sum() == pytest.approx(float(features.square().sum()), rel=ROUNDING)


@pytest.mark.parametrize("reverse", [False, True])
def test_matrices_multiply_as_the_group_does_and_act_as_the_field_does(reverse):
    field = Regular(D4, reversed=reverse)
    matrices = fibre_matrices(field, D4)
    np.testing.assert_array_equal(np.einsum("gij,hjk->ghik", matrices, matrices), matrices[D4.cayley])
    features = torch.randn(2, 3, 8, dtype=torch.float64)
    for matrix, element in zip(matrices, D4.elements, strict=True):
        torch.testing.assert_close(features @ torch.from_numpy(matrix).T, field.act(features, element))


LAYOUTS = [
    {"flattened": flattened, "reversed": reverse, "group_first": first}
    for flattened in (False, True)
    for reverse in (False, True)
    for first in (False, True)
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_every_layout_of_the_axes_has_the_same_fibres(layout):
    field, plain = Regular(D4, **layout), torch.randn(2, 3, 8, 4, 4, dtype=torch.float64)
    laid = plain.transpose(1, 2) if layout["group_first"] else plain
    laid = laid.flatten(1, 2) if layout["flattened"] else laid
    assert field.fits(tuple(laid.shape))
    torch.testing.assert_close(fibres(laid, field).square().sum((1, 2, 3, 4)), plain.square().sum((0, 1, 3, 4)))
    expected = fibre_energies(plain, Regular(D4), D4).energies
    np.testing.assert_allclose(fibre_energies(laid, field, D4).energies, expected, rtol=ROUNDING)
    for element in D4.elements:  # turning the picture turns no energy into another
        moved = field.act(laid, element)
        np.testing.assert_allclose(fibre_energies(moved, field, D4).energies, expected, rtol=1e-10)


def test_vectors_that_turn_with_the_picture_are_all_in_e():
    turning = Vector(C4, np.stack([g.matrix for g in C4.elements]))
    maps = torch.randn(3, 2, 5, 4)
    np.testing.assert_allclose(fibre_shares(fibre_energies(maps, turning, C4)), [0, 0, 1], atol=ROUNDING)


@given(st.integers(0, 6))
def test_parts_add_up_to_the_whole(cut):
    maps = torch.from_numpy(np.random.default_rng(3).normal(size=(6, 2, 8, 3, 5)))
    whole = fibre_energies(maps, Regular(D4), D4)
    merged = fibre_energies(maps[:cut], Regular(D4), D4) + fibre_energies(maps[cut:], Regular(D4), D4)
    np.testing.assert_allclose(merged.energies, whole.energies, rtol=ROUNDING)
    assert merged.images == whole.images == 6
    assert whole.energies.sum() == pytest.approx(float(maps.square().sum()), rel=ROUNDING)


def test_a_network_is_read_from_one_upright_pass_on_maps_that_need_not_be_square():
    model, images, told, seen = build_model("p4mcnn", channels=2), torch.rand(5, 1, 9, 12), [], []
    model.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[0]))
    table = orientation_selectivity(model, images, "D4", batch_size=2, progress=told.append)
    assert seen == [2, 2, 1]
    assert told == [0.4, 0.8, 1.0]
    with torch.no_grad():
        output = model.eval().conv1(images)
    expected = fibre_shares(fibre_energies(output, Regular(D4), D4))
    own = table[table["layer"] == "conv1"]
    np.testing.assert_allclose(own["energy"], expected, rtol=1e-5)  # float32, in other batches
    assert own["irrep"].tolist() == ["A1", "A2", "B1", "B2", "E"]
    assert set(own["field"]) == {"regular(D4)"}
    assert set(own["n"]) == {5}
    np.testing.assert_allclose(table.groupby("layer")["energy"].sum(), 1, rtol=ROUNDING)
    assert table["depth"].is_monotonic_increasing
    assert not {"coset_pool", "fc", "(output)", "relu1"} & set(table["layer"])
    assert (*RUN_KEYS, *table.columns) == SCHEMAS["orientation_selectivity"]


def test_under_a_subgroup_more_is_isotropic():
    model, images = build_model("p4mcnn", channels=2), torch.rand(3, 1, 8, 8)
    whole = orientation_selectivity(model, images, "D4", "conv2").set_index("irrep")["energy"]
    part = orientation_selectivity(model, images, "C4", "conv2").set_index("irrep")["energy"]
    # restricted to rotations A1 and A2 become A, B1 and B2 become B
    assert part["A"] == pytest.approx(whole["A1"] + whole["A2"], rel=1e-6)
    assert part["B"] == pytest.approx(whole["B1"] + whole["B2"], rel=1e-6)


def test_isotropic_filters_are_not_selective():
    layer = LiftingConv2d("p4", 1, 2, 3, padding=1).double()
    with torch.no_grad():
        layer.weight.fill_(0.3)
    table = orientation_selectivity(
        layer, torch.rand(2, 1, 6, 6).double(), layers="(output)", fields={"*": "regular(C4)"}
    )
    np.testing.assert_allclose(table["energy"], [1, 0, 0], atol=1e-15)  # energies of rounding are 1e-32


def test_a_dead_layer_has_no_shares():
    layer = declare(GroupConv2d("p4", 1, 1, 3, padding=1), "regular(C4)")
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    model = nn.Sequential(LiftingConv2d("p4", 1, 1, 3), layer)
    table = orientation_selectivity(model, torch.rand(2, 1, 6, 6))
    assert table.loc[table["layer"] == "1", "energy"].isna().all()
    assert table.loc[table["layer"] == "0", "energy"].notna().all()


def test_a_network_without_a_group_axis_is_refused():
    with pytest.raises(EqvizError, match="with a group axis"):
        orientation_selectivity(nn.Conv2d(1, 2, 3), torch.rand(2, 1, 6, 6))


def test_a_group_that_does_not_act_on_the_fibre_is_refused():
    with pytest.raises(EqvizError, match=r"elements that act on regular\(C4\)"):
        orientation_selectivity(build_model("p4cnn", channels=2), torch.rand(2, 1, 8, 8), "D4")


def test_a_network_is_left_as_it_was_also_if_it_fails():
    model = nn.Sequential(LiftingConv2d("p4", 1, 2, 3), nn.Linear(5, 1)).train()
    with pytest.raises(EqvizError, match="last layer that ran: 0"):
        orientation_selectivity(model, torch.rand(2, 1, 6, 6))
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.is_grad_enabled()


def test_the_summary_is_over_seeds():
    run = {"model": "p4cnn", "input_size": 28, "group": "C4", "epoch": 5, "data": "digits", "regime": "upright"}
    keys = run | {"layer": "conv1", "call": 0, "depth": 0, "kind": "convolution", "subsamples": False, "n": 9}
    rows = [
        keys | {"run": f"r{seed}", "seed": seed, "field": "regular(C4)", "irrep": irrep, "energy": energy}
        for seed, energies in ((0, (0.5, 0.3, 0.2)), (1, (0.7, 0.1, 0.2)))
        for irrep, energy in zip("ABE", energies, strict=True)
    ]
    found = orientation_selectivity_summary(pd.DataFrame(rows))
    assert found["irrep"].tolist() == ["A", "B", "E"]
    np.testing.assert_allclose(found[["energy", "lowest", "highest"]].iloc[0], [0.6, 0.5, 0.7])
    assert found["n_seeds"].tolist() == [2, 2, 2]
