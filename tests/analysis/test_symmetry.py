"""Whole networks whose surviving symmetry is known beforehand, and the rounding floor by hand."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from eqviz.analysis.symmetry import FLOOR_IMAGES, measure_symmetry
from eqviz.capture.orbit_capture import capture
from eqviz.errors import EqvizError
from eqviz.fields.field_types import declare
from eqviz.fields.layer_calls import LayerCall
from eqviz.fields.sums import LayerOrbit
from eqviz.groups.group import group
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d
from eqviz.models.pooling import GroupMaxPool2d
from eqviz.models.registry import build_model


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2308)
        yield


def chain():
    """The p4 stack of five layers: exact on 30 pixels; on 28 broken at the stride, on 29 from the pool on."""
    return nn.Sequential(
        LiftingConv2d("p4", 1, 3, 3, padding=1),
        GroupConv2d("p4", 3, 3, 3, padding=1),
        declare(GroupMaxPool2d(2), "regular(C4)"),
        GroupConv2d("p4", 3, 3, 3, padding=1),
        GroupConv2d("p4", 3, 3, 3, stride=2, padding=1),
    )


def pair():
    return nn.Sequential(
        LiftingConv2d("p4m", 1, 6, 3, padding=1),
        declare(nn.ReLU(), "regular(D4)"),
        GroupConv2d("p4m", 6, 6, 3, stride=2, padding=1),
    )


def surviving(table, layer):
    """Names of the subgroups that survive in a layer; every answer must be decided."""
    rows = table[table["layer"] == layer]
    assert rows["survives"].notna().all()
    return set(rows.loc[rows["survives"].astype(bool), "subgroup"])


@pytest.mark.parametrize(("size", "broken"), [(30, []), (28, ["4"]), (29, ["2", "3", "4"])])
def test_the_p4_stack(size, broken):
    measured = measure_symmetry(chain(), torch.randn(16, 1, size, size), "p4", "0,1,2,3,4")
    table = measured.subgroups()
    whole = table[table["subgroup"] == "C4"]
    assert whole.loc[~whole["survives"].astype(bool), "layer"].tolist() == broken
    fractions = measured.equivariance().set_index("layer")["breaking_fraction"]
    # float32 rounding is about 1e-14 of the energy, a break by one pixel some per cent
    assert all((value > 1e-4) if layer in broken else (value < 1e-11) for layer, value in fractions.items())
    assert measured.double.equivariance().set_index("layer")["breaking_fraction"].drop(broken).lt(1e-27).all()


def test_p4m_on_nine_pixels_keeps_everything():
    found = surviving(measure_symmetry(pair(), torch.randn(16, 1, 9, 9), "p4m").subgroups(), "2")
    assert found == {H.name for H in group("D4").subgroups}


def test_p4m_on_eight_pixels_keeps_the_transpose_and_breaks_in_b2_and_e_alone():
    measured = measure_symmetry(pair(), torch.randn(16, 1, 8, 8), "p4m")
    assert surviving(measured.subgroups(), "2") == {"C1", "D1(transpose)"}
    assert surviving(measured.subgroups(), "1") == {H.name for H in group("D4").subgroups}
    spectrum = measured.spectrum().query("layer == '2'").set_index("irrep")["energy"]
    fraction = measured.equivariance().query("layer == '2'")["breaking_fraction"].item()
    assert 0.3 < fraction < 0.7
    # the floor of an isotypic energy is the epsilon of float32
    assert abs(spectrum["A2"]) < 1e-6
    assert abs(spectrum["B1"]) < 1e-6
    assert spectrum[["B2", "E"]].sum() == pytest.approx(fraction, rel=1e-5)
    assert spectrum.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "size", "measured_under", "expected"),
    [
        ("p4cnn", 8, "C4", {"C1", "C2", "C4"}),
        ("p4cnn", 9, "C4", {"C1"}),
        ("p4mcnn", 8, "D4", {H.name for H in group("D4").subgroups}),
        ("p4mcnn", 9, "D4", {"C1", "D1(transpose)"}),
        ("z2cnn", 8, "D4", {"C1"}),
    ],
)
def test_what_survives_at_the_output_of_the_seven_layer_network(name, size, measured_under, expected):
    model = build_model(name, channels=8, dropout=0.5).train()
    table = measure_symmetry(model, torch.randn(16, 1, size, size), measured_under, "pool,(output)").subgroups()
    assert surviving(table, "(output)") == expected
    assert model.training


def test_the_floor_is_the_rounding_of_float32_by_hand():
    torch.manual_seed(1)
    model, images = chain()[:2], torch.randn(20, 1, 8, 8)
    table = measure_symmetry(model, images, "p4").equivariance()
    fine = copy.deepcopy(model).double()
    x, y = images[:FLOOR_IMAGES], images[:FLOOR_IMAGES].double()
    for layer in range(2):
        with torch.no_grad():
            x, y = model[layer](x), fine[layer](y)
        energy = float((x.double() - y).square().sum() / y.square().sum())
        row = table[table["layer"] == str(layer)].iloc[0]
        # a convolution of another batch size may add up in another order
        assert row["floor"] == pytest.approx(energy * 3 / 4, rel=0.1)
        assert row["breaking_fraction"] < 30 * row["floor"]
        assert row["floor"] < 1e-13


def test_with_interpolated_elements_each_row_has_the_floor_of_its_own_group():
    model, images = nn.Sequential(nn.Conv2d(1, 2, 3)), torch.randn(4, 1, 8, 8)
    table = measure_symmetry(model, images, "C8", "0").equivariance().set_index("grid")
    assert table.loc[False, "floor"] / table.loc[True, "floor"] == pytest.approx((7 / 8) / (3 / 4))


def test_a_residual_that_falls_by_a_thousand_is_undecided():
    measured = measure_symmetry(nn.Sequential(nn.Conv2d(1, 2, 3)), torch.randn(4, 1, 8, 8), "C4", "0")
    key = LayerCall("0", 0)
    layer = measured.double.layers[key]
    fallen = LayerOrbit(layer.info, replace(layer.sums, distances=layer.sums.distances / 1000))
    table = replace(measured, double=replace(measured.double, layers={key: fallen})).subgroups().set_index("subgroup")
    assert table.loc["C1", "survives"]
    assert table.loc[["C2", "C4"], "survives"].isna().all()


def test_a_dead_layer_is_undecided_and_has_no_floor():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    nn.init.constant_(model[0].bias, -1e6)
    measured = measure_symmetry(model, torch.randn(4, 1, 8, 8), "C4", "1")
    assert measured.equivariance()[["breaking_fraction", "floor"]].isna().all(axis=None)
    assert measured.subgroups()["survives"].isna().all()


def test_a_network_in_float64_has_no_floor_and_the_same_verdict():
    model, images = pair().double(), torch.randn(16, 1, 8, 8)
    measured = measure_symmetry(model, images, "D4", "2")
    assert measured.single.dtype == "float64"
    assert surviving(measured.subgroups(), "2") == {"C1", "D1(transpose)"}
    assert measured.equivariance()["floor"].isna().all()


def test_an_iterator_is_refused_before_anything_runs():
    batches = (torch.randn(2, 1, 8, 8) for _ in range(2))
    with pytest.raises(EqvizError, match="gone through several times"):
        measure_symmetry(pair(), batches, "D4", "2")


def test_is_two_captures_and_says_how_far_it_is():
    model, images, done = chain()[:1], torch.randn(6, 1, 8, 8), []
    measured = measure_symmetry(model, images, "p4", batch_size=8, progress=done.append)
    assert done == [2, 4, 6, 8, 10, 12]
    single = capture(model, images, "p4", batch_size=8)
    double = capture(copy.deepcopy(model).double(), images.double(), "p4", batch_size=8)
    assert measured.single.to_json() == single.to_json()
    assert measured.double.to_json() == double.to_json()
    assert next(model.parameters()).dtype == torch.float32


def test_images_may_be_an_array_or_a_loader():
    model, images = chain()[:1], torch.randn(20, 1, 8, 8)
    loader = DataLoader(TensorDataset(images, torch.arange(20)), batch_size=20)
    found = [measure_symmetry(model, given, "p4").equivariance() for given in (images, images.numpy(), loader)]
    assert found[0].equals(found[1])
    assert found[0].equals(found[2])
    assert np.isfinite(found[0]["floor"]).all()


class Particular(nn.Module):
    """`whole` gives out numbers in float32 alone, `long` in float64 alone."""

    def __init__(self):
        super().__init__()
        self.whole, self.long = nn.Identity(), nn.Identity()

    def forward(self, x):
        double = x.dtype == torch.float64
        self.whole(x.long() if double else x)
        self.long(x if double else x.long())
        return x


def test_layers_of_one_precision_alone_are_left_out_and_said_so():
    found = measure_symmetry(Particular(), torch.rand(2, 1, 4, 4), "C4")
    assert [key.layer for key in found.single.layers] == [key.layer for key in found.double.layers] == ["(output)"]
    reason = "its output is torch.int64, not floating point"
    expected = {
        "whole": f"measured in float32 alone; in float64: {reason}",
        "long": f"measured in float64 alone; in float32: {reason}",
    }
    assert found.single.skipped == found.double.skipped == expected
    assert found.subgroups()["survives"].all()
