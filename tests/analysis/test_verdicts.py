"""Measured and predicted, side by side: known networks, and every way in which the two can stand to each other."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from eqviz.analysis.symmetry import measure_symmetry
from eqviz.analysis.verdicts import agreement, largest, verdict, verdict_table
from eqviz.audit.auditing import examine
from eqviz.audit.layer_predictions import LayerPrediction
from eqviz.errors import EqvizError
from eqviz.fields.field_types import declare
from eqviz.groups.group import group
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d
from eqviz.models.pooling import CosetMaxPool, GlobalAveragePool, GroupMaxPool2d
from eqviz.models.registry import build_model
from eqviz.tables import RUN_KEYS, columns


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


def of(table, column, weights="trained"):
    rows = table[table["weights"] == weights]
    return dict(zip(rows["layer"], rows[column], strict=True))


@pytest.mark.parametrize(("size", "broken"), [(30, ""), (28, "4"), (29, "234")])
def test_the_p4_stack(size, broken):
    table = verdict(chain(), torch.randn(16, 1, size, size), "p4", "0,1,2,3,4")
    expected = {layer: "no" if layer in broken else "yes" for layer in "01234"}
    assert of(table, "exact") == of(table, "exact", "untrained") == expected
    assert of(table, "predicted") == of(table, "predicted", "untrained") == expected
    assert of(table, "surviving") == {layer: "C1" if layer in broken else "C4" for layer in "01234"}
    assert table["agrees"].eq("yes").all()
    assert table["field_source"].eq("declared").all()
    assert table.attrs["disagreements"] == []
    assert table.attrs["not_predicted"] == table.attrs["no_twin"] == ""


def test_the_columns_are_those_of_the_schema_and_the_output_is_summed_up():
    model = nn.Sequential(*chain(), GlobalAveragePool(), CosetMaxPool())
    declare(model[5], "regular(C4)")
    declare(model, "invariant")
    table = verdict(model, torch.randn(16, 1, 10, 10), "p4", twin=False)
    assert tuple(table.columns) == tuple(name for name in columns("verdict") if name not in RUN_KEYS)
    assert list(table["layer"].cat.categories) == [*map(str, range(7)), "(output)"]
    assert table.attrs["exact"] is True
    assert table.attrs["surviving"] == table.attrs["group"] == "C4"
    assert table.attrs["no_twin"] == "not asked for"
    assert set(table["weights"]) == {"trained"}
    broken = verdict(model, torch.randn(16, 1, 12, 12), "p4", twin=False)
    assert broken.attrs["exact"] is False
    assert broken.attrs["surviving"] == "C1"
    assert verdict(model, torch.randn(16, 1, 12, 12), "p4", "0", twin=False).attrs["exact"] is None


def test_p4m_on_eight_pixels_keeps_the_transpose_measured_and_predicted():
    table = verdict(pair(), torch.randn(16, 1, 8, 8), "p4m", "1,2")
    for weights in ("trained", "untrained"):
        assert of(table, "surviving", weights) == {"1": "D4", "2": "D1(transpose)"}
        assert of(table, "predicted_surviving", weights) == {"1": "D4", "2": "D1(transpose)"}
    assert table["agrees"].eq("yes").all()


def test_a_plain_network_is_broken_by_its_filters_although_biases_drown_it():
    table = verdict(build_model("z2cnn", channels=4), torch.randn(16, 1, 8, 8), "C4", "conv1,(output)", twin=False)
    assert table["exact"].eq("no").all()
    assert table["predicted"].eq("no").all()
    assert table["agrees"].eq("yes").all()
    logits = table[table["layer"] == "(output)"]
    assert logits["breaking_float64"].lt(0.1).all()


def test_one_scale_for_each_orientation_is_exact_until_it_is_trained():
    model = nn.Sequential(LiftingConv2d("C4", 1, 2, 3), nn.Flatten(1, 2), nn.BatchNorm2d(8))
    fields = {"1": "regular(C4, flattened)", "2": "regular(C4, flattened)"}
    with torch.no_grad():
        model[2].weight.copy_(torch.rand(8) + 0.5)
    table = verdict(model, torch.randn(16, 1, 8, 8), "C4", "2", fields)
    assert of(table, "exact") == {"2": "no"}
    assert of(table, "exact", "untrained") == {"2": "yes"}
    assert table["field_source"].eq("given").all()
    assert table["agrees"].ne("no").all()


def test_a_wrong_field_type_makes_the_verdict_no():
    images = torch.randn(16, 1, 9, 9)
    model = nn.Sequential(LiftingConv2d("C4", 1, 3, 3), nn.Flatten(1, 2))
    right = verdict(model, images, "C4", "1", {"1": "regular(C4, flattened)"}, twin=False)
    assert right["exact"].tolist() == ["yes"]
    for wrong in ("image", "regular(C4, flattened, reversed)", "regular(C4, flattened, group first)"):
        assert verdict(model, images, "C4", "1", {"1": wrong}, twin=False)["exact"].tolist() == ["no"]


class Undecidable(nn.Module):
    """Data decide how it runs, so that nothing can be said before."""

    def forward(self, x):
        return x.relu() if x.mean() > -100 else x


class Rolls(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.scale * x


def test_what_cannot_be_traced_is_measured_all_the_same():
    model = nn.Sequential(Undecidable(), nn.Conv2d(1, 2, 3))
    table = verdict(model, torch.randn(16, 1, 8, 8), "C4", "0,1", twin=False)
    assert of(table, "exact") == {"0": "yes", "1": "no"}
    assert table["predicted"].eq("unknown").all()
    assert table["predicted_surviving"].eq("").all()
    assert table["agrees"].eq("").all()
    assert "\n" not in table.attrs["not_predicted"]
    assert table.attrs["not_predicted"]


def test_without_a_twin_the_reason_is_told_and_a_twin_may_be_given():
    model, images = nn.Sequential(Rolls()), torch.randn(16, 1, 8, 8)
    table = verdict(model, images, "C4")
    assert set(table["weights"]) == {"trained"}
    assert "a Rolls that does not reset its scale" in table.attrs["no_twin"]
    given = verdict(model, images, "C4", twin=copy.deepcopy(model))
    assert given["weights"].tolist() == ["trained"] * 2 + ["untrained"] * 2
    assert given.attrs["no_twin"] == ""


@pytest.mark.parametrize("size", [8, 9])
def test_a_network_in_float64_is_run_in_float32_too(size):
    table = verdict(pair().double(), torch.randn(16, 1, size, size), "D4", "2", twin=False)
    assert of(table, "exact") == {"2": "yes" if size == 9 else "no"}
    assert of(table, "surviving") == {"2": "D4" if size == 9 else "D1(transpose)"}
    if size == 9:
        assert table["breaking_float64"][0] < 1e-28
        assert 1e-20 < table["breaking_float32"][0] < 1e-11


def test_a_network_that_runs_in_float64_alone_is_judged_by_its_floor():
    class Doubles(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(1, 1, 3, 3, dtype=torch.float64))

        def forward(self, x):
            w = self.weight.double()
            return nn.functional.conv2d(x, w + w.rot90(1, (2, 3)) + w.rot90(2, (2, 3)) + w.rot90(3, (2, 3)))

    table = verdict(Doubles(), torch.randn(16, 1, 8, 8), "C4", twin=False)
    assert table["breaking_float32"].isna().all()
    assert table["exact"].eq("yes").all()
    broken = verdict(nn.Sequential(Doubles(), nn.Conv2d(1, 1, 3).double()), torch.randn(16, 1, 8, 8), "C4", twin=False)
    assert of(broken, "exact") == {"0": "yes", "1": "no", "(output)": "no"}


def test_a_dead_layer_is_undecided():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    nn.init.constant_(model[0].bias, -1e6)
    table = verdict(model, torch.randn(16, 1, 8, 8), "C4", "1", twin=False)
    assert table["exact"].tolist() == ["undecided"]
    assert table["surviving"].tolist() == [""]
    assert table["agrees"].tolist() == [""]


def test_only_elements_on_the_grid_are_judged():
    table = verdict(chain()[:2], torch.randn(16, 1, 8, 8), "C8", "0,1", twin=False)
    assert table.attrs["group"] == "C4"
    assert table["exact"].eq("yes").all()


def test_progress_counts_all_images_and_the_model_is_left_as_it_was():
    model, images, done = chain().train(), torch.randn(6, 1, 8, 8), []
    state = torch.random.get_rng_state()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    verdict(model, images, "p4", batch_size=8, progress=done.append)
    assert done == list(range(2, 25, 2))
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((iter([torch.randn(2, 1, 8, 8)]), "p4"), "gone through several times"),
        ((torch.randn(2, 1, 8, 8), "p5"), "group: "),
        ((torch.randn(2, 1, 8, 8), "p4", "cnov"), "layers: "),
        ((torch.randn(2, 1, 8, 8), "p4", "*", {"9": "image"}), "fields: "),
        ((torch.randint(3, (2, 1, 8, 8)), "p4"), "images: "),
        ((torch.randn(2, 7, 8, 8), "p4"), "LiftingConv2d"),
    ],
)
def test_what_cannot_be_used_is_one_line(arguments, named):
    with pytest.raises(EqvizError, match=named) as caught:
        verdict(chain(), *arguments)
    assert "\n" not in str(caught.value)


C4 = {"C1": True, "C2": True, "C4": True}
HALF = {"C1": True, "C2": True, "C4": False}
NONE = {"C1": True, "C2": False, "C4": False}
OPEN = {"C1": True, "C2": None, "C4": None}


def prediction(exact, surviving, layer="0", field="image", source="by shape"):
    return LayerPrediction(
        layer=layer, call=0, shape=(1, 1, 8, 8), field=field, field_source=source, grid_exact=exact, fibre_exact=exact,
        exact=exact, surviving=surviving,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("exact", "survives", "predicted", "surviving", "agrees"),
    [
        ("yes", C4, "yes", "C4", "yes"),
        ("no", NONE, "no", "C1", "yes"),
        ("no", HALF, "no", "C2", "yes"),
        ("no", HALF, "no", "C1", "yes"),  # more survives than was certain
        ("no", NONE, "no", "C2", "no"),
        ("no", NONE, "yes", "C4", "no"),
        ("no", HALF, "yes", "C4", "no"),
        ("yes", C4, "no", "C1", "no"),
        ("yes", C4, "unknown", "C1", ""),
        ("no", NONE, "unknown", "C1", ""),
        ("no", NONE, "unknown", "C2", "no"),
        ("undecided", OPEN, "yes", "C4", ""),
        ("undecided", OPEN, "no", "C1", ""),
        ("undecided", OPEN, "no", "C2", ""),
        ("undecided", {}, "yes", "C4", ""),
    ],
)
def test_only_a_real_contradiction_is_a_disagreement(exact, survives, predicted, surviving, agrees):
    assert agreement(exact, survives, prediction(predicted, surviving)) == agrees
    assert agreement(exact, survives, None) == ""


@pytest.mark.parametrize(("survives", "name"), [(C4, "C4"), (HALF, "C2"), (NONE, "C1"), (OPEN, "C1"), ({}, "")])
def test_the_largest_that_survives(survives, name):
    assert largest(survives) == name


def forged(layers, images=None):
    """The verdict on a mean over blocks (exact) and a plain convolution (broken), with predictions made up."""
    model, images = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(1, 2, 3)), torch.randn(16, 1, 8, 8)
    audit = replace(examine(nn.Sequential(nn.ReLU()), 8, "C4", channels=1), layers=tuple(layers))
    return verdict_table(measure_symmetry(model, images, "C4", "0,1"), audit)


def test_contradictions_are_told_one_line_each():
    table = forged([prediction("no", "C1", "0"), prediction("yes", "C4", "1")])
    assert table["agrees"].tolist() == ["no", "no"]
    first, second = table.attrs["disagreements"]
    assert first.startswith("0: predicted broken, measured exact (breaking ")
    assert second.startswith("1: predicted exact, measured broken (breaking ")
    assert "in float32" in second
    assert "in float64" in second
    table = forged([prediction("yes", "C4", "0"), prediction("no", "C2", "1")])
    assert table["agrees"].tolist() == ["yes", "no"]
    assert table.attrs["disagreements"][0].startswith("1: C2 was predicted to survive")


def test_a_map_that_never_changes_contradicts_no_prediction():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    nn.init.constant_(model[0].bias, -1e3)  # every unit is dead
    table = verdict(model, torch.randn(16, 1, 8, 8), "C4", twin=False)
    assert table.query("layer == '3'")["predicted"].tolist() == ["no"]
    assert table.attrs["disagreements"] == []


def test_predictions_about_another_field_type_or_another_call_say_nothing():
    table = forged([prediction("no", "C1", "0", "invariant"), replace(prediction("yes", "C4", "1"), call=1)])
    assert table["predicted"].tolist() == ["unknown", "unknown"]
    assert table["agrees"].tolist() == ["", ""]


def test_predictions_under_another_group_are_refused():
    audit = examine(nn.Sequential(nn.ReLU()), 8, "D4", channels=1)
    with pytest.raises(EqvizError, match="audit: expected predictions under the group that was measured, C4"):
        verdict_table(measure_symmetry(nn.Sequential(nn.ReLU()), torch.randn(16, 1, 8, 8), "C4"), audit)


def test_field_types_found_by_weights_are_measured_by_and_named():
    """A 1x1 group convolution written as a plain one: only its weights show the group axis."""
    lifting = LiftingConv2d("C4", 1, 3, 3)
    mixing = GroupConv2d("C4", 3, 3, 1)
    plain = nn.Conv2d(12, 12, 1)
    with torch.no_grad():
        plain.weight.copy_(mixing.planar_filter())
        plain.bias.copy_(mixing.bias.repeat_interleave(4))
    model = nn.Sequential(lifting, declare(nn.Flatten(1, 2), "regular(C4, flattened)"), plain)
    table = verdict(model, torch.randn(16, 1, 8, 8), "C4", "2")
    assert table["field"].eq("regular(C4, flattened)").all()
    assert table["field_source"].eq("by weights").all()
    assert of(table, "exact") == {"2": "yes"}
    # fresh weights show no group axis; the twin is measured by the network's field types all the same
    assert of(table, "exact", "untrained") == of(table, "predicted", "untrained") == {"2": "no"}
    assert table["agrees"].eq("yes").all()
    given = verdict(model, torch.randn(16, 1, 8, 8), "C4", "2", {"2": "regular(C4, flattened)"})
    assert given["field_source"].eq("given").all()


def test_groups_measured_and_named():
    table = verdict(pair(), torch.randn(16, 1, 8, 8), group("D4"), "2", twin=False)
    assert of(table, "surviving") == {"2": "D1(transpose)"}
