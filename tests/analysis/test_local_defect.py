"""The local defect on networks whose values are known by hand, against its definition, and on eqviz's own networks."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from eqviz.analysis.defect_sums import DefectSums, measure_defects
from eqviz.analysis.local_defect import local_defect
from eqviz.capture.orbit_capture import capture
from eqviz.errors import EqvizError
from eqviz.fields.field_types import Image, Regular, declare
from eqviz.fields.layer_calls import LayerCall
from eqviz.groups.group import group
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d
from eqviz.models.pooling import GroupMaxPool2d
from eqviz.models.registry import build_model
from eqviz.models.resnet import ResNet
from eqviz.tables import RUN_KEYS, columns


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2308)
        yield


class FibreBias(nn.Module):
    """Adds one number to each orientation."""

    def __init__(self, bias):
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(bias)[None, None, :, None, None])

    def forward(self, features):
        return features + self.bias


class FunctionalBlock(nn.Module):
    """Exact layers, and between them a functional pool that misfits on odd sizes; the sum is functional too."""

    def __init__(self, G):
        super().__init__()
        self.conv1 = GroupConv2d(G, 2, 2, 3, padding=1)
        self.conv2 = GroupConv2d(G, 2, 2, 3, padding=1)
        self.field_type = Regular(group(G))

    def forward(self, features):
        inner = F.relu(self.conv1(features)) + features
        pooled = F.max_pool2d(inner.flatten(1, 2), 2)
        return self.conv2(pooled.reshape(*features.shape[:3], *pooled.shape[-2:]))


def chain(G="C4"):
    """Exact, misfitting on odd sizes, exact."""
    return nn.Sequential(
        LiftingConv2d(G, 1, 2, 3, padding=1),
        declare(GroupMaxPool2d(2), f"regular({G})"),
        GroupConv2d(G, 2, 2, 3, padding=1),
        nn.ReLU(inplace=True),
    )


def rows(table):
    return {(row["layer"], row["call"]): row for row in table.to_dict("records")}


def by_hand(layer, h, field_in, field_out, G):
    """sqrt(mean over g != e of sum |l(rho(g) h) - rho(g) l(h)|^2 / sum |l(h)|^2), element by element in float64."""
    layer, h = layer.double(), h.double()
    with torch.no_grad():
        upright = layer(h)
        moved = [
            (layer(field_in.act(h, g)) - field_out.act(upright, g)).square().sum() for g in group(G).elements[1:]
        ]  # fmt: skip
    return math.sqrt(float(sum(moved)) / (len(moved) * float(upright.square().sum())))


@pytest.mark.parametrize("G", ["C4", "D4"])
def test_only_the_misfitting_pool_has_a_local_defect(G):
    model, images = chain(G), torch.randn(10, 1, 7, 7)
    found = rows(local_defect(model, images, G, batch_size=32))
    assert {key[0]: row["exact"] for key, row in found.items()} == {
        "0": "yes", "1": "no", "2": "yes", "3": "yes", "(output)": "no",
    }  # fmt: skip
    with torch.no_grad():
        expected = by_hand(model[1], model[0](images), Regular(group(G)), Regular(group(G)), G)
    # float32 sums of some thousand squares
    assert found["1", 0]["local_error"] == pytest.approx(expected, rel=1e-5)
    assert (found["1", 0]["rank"], found["1", 0]["share"]) == (1, 1.0)
    later = [found[name, 0] for name in ("2", "3", "(output)")]
    assert all(row["cumulative_error"] > 0.05 and pd.isna(row["rank"]) for row in later)
    assert found["3", 0]["local_error"] == found["3", 0]["local_error_float64"] == 0  # a rectifier does not even round
    assert math.isnan(found["2", 0]["share"])


def test_the_cumulative_error_is_that_of_the_capture():
    model, images = chain(), torch.randn(6, 1, 7, 7)
    declare(model[3], "regular(C4)")
    found = local_defect(model, images, "p4")
    captured = capture(model, images, "p4", batch_size=8).equivariance_elements()
    errors = captured.assign(square=captured["relative_error"] ** 2).groupby("layer", observed=True)["square"].mean()
    shown = found.set_index("layer")["cumulative_error"]
    for layer in ("0", "1", "2", "3"):
        # exact layers hold rounding alone, which depends on the batch: below 1e-6
        assert shown[layer] == pytest.approx(math.sqrt(errors[layer]), rel=1e-4, abs=1e-6)


def test_a_bias_of_its_own_for_each_orientation_has_a_defect_known_by_hand():
    bias = [0.0, 1.0, 0.0, 0.0]
    model = nn.Sequential(declare(nn.Identity(), "regular(C4)"), declare(FibreBias(bias), "regular(C4)"))
    lift = nn.Sequential(declare(LiftingConv2d("C4", 1, 1, 1, bias=False), "regular(C4)"), *model)
    with torch.no_grad():
        lift[0].weight.zero_()
    found = rows(local_defect(lift, torch.randn(3, 1, 4, 4), "C4"))
    # l(h) = b; moved by g != e it is b, turned along the fibre: |b - rho(g) b|^2 = 2 |b|^2 for a single entry
    assert found["2", 0]["local_error"] == pytest.approx(math.sqrt(2), rel=1e-6)
    assert found["2", 0]["rank"] == 1
    assert math.isnan(found["0", 0]["local_error"])
    assert found["0", 0]["note"].startswith("dead")
    alike = nn.Sequential(LiftingConv2d("C4", 1, 1, 1), declare(FibreBias([0.5] * 4), "regular(C4)"))
    assert rows(local_defect(alike, torch.randn(3, 1, 4, 4), "C4"))["1", 0]["local_error"] == 0


def test_layers_that_change_nothing_have_none():
    model = nn.Sequential(nn.Identity(), nn.Dropout(0.5), nn.ReLU(), nn.BatchNorm2d(2))
    table = local_defect(model, torch.randn(4, 2, 5, 6), "D2")
    assert (table["local_error"] == 0).all()
    assert (table["exact"] == "yes").all()
    assert table["field_source"].tolist()[1:4] == ["kept"] * 3


def test_a_plain_convolution_by_the_definition_under_elements_that_transpose():
    model, images = nn.Sequential(nn.ReLU(), nn.Conv2d(2, 3, 3)), torch.randn(3, 2, 6, 9)
    found = rows(local_defect(model, images, "D4"))
    expected = by_hand(model[1], images.relu(), Image(), Image(), "D4")
    # the weights went back and forth between float32 and float64; sums of squares in float32
    assert found["1", 0]["local_error"] == pytest.approx(expected, rel=1e-5)
    assert found["1", 0]["local_error_float64"] == pytest.approx(expected, rel=1e-7)
    assert found["(output)", 0]["cumulative_error"] == pytest.approx(expected, rel=1e-5)
    assert found["0", 0]["exact"] == "yes"


def test_a_layer_that_overwrites_its_input_is_fed_with_what_came_in():
    class DoubledEdge(nn.Module):
        def forward(self, x):
            x[..., 0] *= 2
            return x

    model, images = nn.Sequential(nn.Conv2d(1, 2, 3), DoubledEdge()), torch.randn(3, 1, 6, 6)
    with torch.no_grad():
        h = model[0](images)
        upright = model[1](h.clone())
        moved = [model[1](torch.rot90(h, r, (-2, -1)).clone()) - torch.rot90(upright, r, (-2, -1)) for r in (1, 2, 3)]
    expected = math.sqrt(float(sum(part.square().sum() for part in moved)) / (3 * float(upright.square().sum())))
    found = rows(local_defect(model, images, "C4"))["1", 0]
    # sums of some hundred squares in float32
    assert found["local_error"] == pytest.approx(expected, rel=1e-5)
    assert found["field_source"] == "kept"


def test_maps_that_lose_their_shape_are_not_measured_and_say_so():
    model = nn.Sequential(nn.Conv2d(1, 2, (3, 1)), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found = rows(local_defect(model, torch.randn(3, 1, 6, 6), "C4"))
    assert "maps of 4 x 6" in found["0", 0]["note"]
    assert math.isnan(found["0", 0]["local_error"])
    assert found["0", 0]["exact"] == "undecided"
    assert found["1", 0]["exact"] == "yes"  # alone, on turned maps


def test_a_layer_that_is_called_twice_stands_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool = nn.AvgPool2d(2)

        def forward(self, x):
            return self.pool(self.pool(x))

    table = local_defect(Twice(), torch.randn(16, 1, 10, 10), "C4")
    found = rows(table)
    assert [found["pool", call]["exact"] for call in (0, 1)] == ["yes", "no"]  # 10 is even, 5 is not
    assert found["pool", 1]["rank"] == 1
    assert table["depth"].tolist() == [0, 1, 2]


def test_a_block_is_to_blame_only_for_operations_of_its_own():
    images = torch.randn(16, 1, 7, 7)
    model = nn.Sequential(LiftingConv2d("C4", 1, 2, 3, padding=1), FunctionalBlock("C4"))
    found = rows(local_defect(model, images, "C4"))
    assert found["1", 0]["rank"] == 1
    assert "conv2" in found["1", 0]["note"]  # what the functional pool gave is of no known type
    assert "no known field type" in found["1.conv2", 0]["note"]
    assert found["1.conv1", 0]["exact"] == "yes"
    even = rows(local_defect(model, torch.randn(16, 1, 8, 8), "C4"))
    assert [row["exact"] for row in even.values()] == ["yes", "yes", "undecided", "yes", "yes"]
    assert all(pd.isna(row["rank"]) for row in even.values())


def test_a_block_of_exact_layers_that_breaks_by_itself_says_so():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.ReLU()

        def forward(self, x):
            return torch.roll(self.inner(x), 1, -1)

    found = rows(local_defect(nn.Sequential(Shifted()), torch.randn(4, 1, 5, 5), "C4"))
    assert (found["0", 0]["rank"], found["0", 0]["kind"]) == (1, "block")
    assert found["0", 0]["note"] == "breaks by an operation of its own: every layer within it is exact"
    whole = rows(local_defect(Shifted(), torch.randn(4, 1, 5, 5), "C4"))
    assert pd.isna(whole["(output)", 0]["rank"])
    assert whole["(output)", 0]["note"].startswith("breaks by an operation of its own")


def test_functional_rectifiers_and_sums_pass_the_type_on():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = GroupConv2d("C4", 2, 2, 3, padding=1)
            self.conv2 = GroupConv2d("C4", 2, 2, 3, padding=1)

        def forward(self, x):
            return F.relu(x + self.conv2(F.relu(self.conv1(x))))

    model = nn.Sequential(LiftingConv2d("C4", 1, 2, 3, padding=1), Residual(), GroupConv2d("C4", 2, 2, 3))
    table = local_defect(model, torch.randn(4, 1, 6, 6), "C4")
    assert (table["exact"] == "yes").all()
    assert table.set_index("layer")["field"].unique().tolist() == ["regular(C4)"]
    assert table.set_index("layer").loc["1", "field_source"] == "within"


@pytest.mark.parametrize(("size", "exact"), [(28, True), (29, False)])
def test_the_pool_of_the_p4_cnn_is_the_only_culprit_on_odd_sizes(size, exact):
    table = local_defect(build_model("p4cnn", channels=2), torch.randn(16, 1, size, size), "p4")
    culprits = table.loc[table["rank"].notna(), "layer"].tolist()
    assert culprits == ([] if exact else ["pool"])
    assert set(table.loc[table["layer"] != "(output)", "exact"]) == {"yes"} | (set() if exact else {"no"})


def test_strided_convolutions_of_a_resnet_are_to_blame_and_their_blocks_are_not():
    model = ResNet("p4", widths=(2, 2, 2), blocks=1)
    found = local_defect(model, torch.randn(6, 3, 10, 10), "p4").set_index("layer")
    # 10 is even: a stride of 2 misfits, and leaves 5, which fits, as the 3 after it does
    assert set(found.index[found["rank"].notna()]) == {"layers.1.0.conv1", "layers.1.0.downsample"}
    assert found.loc["layers.1.0", "exact"] == "no"
    assert pd.isna(found.loc["layers.1.0", "rank"])
    assert found["share"].sum() == pytest.approx(1.0)


def test_every_convolution_of_a_plain_network_is_a_culprit_and_no_other_layer():
    table = local_defect(build_model("z2cnn", channels=6), torch.randn(4, 1, 14, 14), "p4")
    ranked = table.dropna(subset=["rank"]).sort_values("rank")
    assert sorted(ranked["layer"]) == [f"conv{n}" for n in range(1, 8)]
    assert ranked["local_error"].is_monotonic_decreasing
    np.testing.assert_allclose(ranked["share"], ranked["local_error"] ** 2 / (ranked["local_error"] ** 2).sum())


@pytest.mark.parametrize("cut", [1, 4, 8])
def test_sums_of_parts_are_those_of_the_whole(cut):
    model, images = chain().double(), torch.randn(9, 1, 7, 7).double()
    G = group("C4")
    whole, first, second = (
        measure_defects(model, part, G, "*", {}, 16) for part in (images, images[:cut], images[cut:])
    )  # fmt: skip
    for key, layer in whole.items():
        merged = first[key].sums + second[key].sums
        # the same float64 numbers in another order; exact layers hold rounding, far below their norm
        floor = 1e-12 * layer.sums.upright
        np.testing.assert_allclose(merged.local, layer.sums.local, rtol=1e-9, atol=floor)
        np.testing.assert_allclose(merged.cumulative, layer.sums.cumulative, rtol=1e-9, atol=floor)
        assert (merged.upright, merged.images) == (pytest.approx(layer.sums.upright), layer.sums.images)


def test_energies_are_means_over_the_other_elements():
    sums = DefectSums(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 4.0, 4.0, 4.0]), 8.0, 3)
    assert (sums.local_energy, sums.cumulative_energy, sums.dead) == (0.25, 0.5, False)
    missing = sums + DefectSums(np.full(4, np.nan), sums.cumulative, 8.0, 1)
    assert math.isnan(missing.local_energy)
    assert (missing.cumulative_energy, missing.images) == (0.5, 4)


def test_the_table_is_that_of_the_schema_and_progress_ends_at_one():
    told = []
    table = local_defect(chain(), torch.randn(4, 1, 6, 6), "p4", "0,1", batch_size=4, progress=told.append)
    assert list(table.columns) == [name for name in columns("local_defect") if name not in RUN_KEYS]
    assert table["layer"].tolist() == ["0", "1"]
    assert (table["n"] == 4).all()
    assert told == pytest.approx([n / 8 for n in range(1, 9)])


def test_a_float64_model_is_judged_at_the_floor_of_float64():
    found = rows(local_defect(chain().double(), torch.randn(8, 1, 7, 7), "C4"))
    assert [found[name, 0]["exact"] for name in ("0", "1", "2")] == ["yes", "no", "yes"]


def test_elements_off_the_grid_are_left_out():
    model, images = chain(), torch.randn(4, 1, 7, 7)
    pd.testing.assert_frame_equal(local_defect(model, images, "C8"), local_defect(model, images, "C4"))


def test_what_the_user_gets_wrong_is_one_line():
    model, images = chain(), torch.randn(4, 1, 6, 6)
    for wrong, words in (
        ({"group": "C3"}, "pixel grid besides the identity"),
        ({"images": iter([images])}, "an iterator"),
        ({"layers": "9"}, "near names"),
        ({"fields": {"nowhere": "image"}}, "near names"),
        ({"fields": {"0": "spinor"}}, "'spinor'"),
        ({"fields": {"0": "regular(D4)"}}, "layer 0: expected activations that fit regular"),
        ({"group": "D4"}, "layer 0: expected elements that act on regular"),
        ({"images": torch.randn(2, 3, 6, 6)}, "LiftingConv2d of C4: expected images"),
        ({"model": nn.Conv2d(1, 2, 3), "images": torch.randn(2, 3, 6, 6)}, "model: expected a forward pass"),
    ):
        with pytest.raises(EqvizError, match=words.replace("(", r"\(")) as caught:
            local_defect(**{"model": model, "images": images, "group": "C4", **wrong})
        assert "\n" not in str(caught.value)


def test_the_model_is_left_as_it_was_also_when_it_fails():
    model = chain().train()
    model[2].eval()
    for images in (torch.randn(2, 1, 6, 6), torch.randn(2, 3, 6, 6)):
        try:
            local_defect(model, images, "C4")
        except EqvizError:
            assert images.shape[1] == 3
        assert [module.training for module in model] == [True, True, False, True]
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
        assert torch.is_grad_enabled()
    assert LayerCall("0", 0) in measure_defects(model, torch.randn(2, 1, 6, 6), group("C4"), "0", {}, 8)
