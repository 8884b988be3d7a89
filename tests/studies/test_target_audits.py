"""An audit with what goes beside it: safe sizes, advice, a fix, a measurement."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from torch import nn

from eqviz.audit.auditing import examine
from eqviz.errors import EqvizError
from eqviz.models.convolutions import LiftingConv2d
from eqviz.models.families import layer_family
from eqviz.models.registry import MODELS
from eqviz.studies import target_audits
from eqviz.studies.random_weights import in_general_position
from eqviz.studies.target_audits import Measurement, TargetAudit, audit_target, audit_targets, parse_range, read_options
from eqviz.studies.targets import Target, find_targets


class Small(nn.Module):
    """A network that is exact on even sizes, or with ordinary convolutions on none."""

    def __init__(self, layers):
        super().__init__()
        self.conv = layers.lifting(1, 2, 3, padding=1)
        self.pool = layers.max_pool(2)
        self.top = nn.Sequential(layers.global_pool(), layers.coset_max())

    def forward(self, images):
        return self.top(self.pool(self.conv(images)))


def small(group="C4"):
    def build(seed):
        return in_general_position(lambda: Small(layer_family(group)), seed)

    return Target("small", "small", {}, lambda: build(0), twin=lambda: build(1))


def test_a_pool_that_misfits():
    found = audit_target(small(), input_size=(27, 27), sizes=range(24, 30), fix="resize")
    assert (found.verdict, found.part, found.below, found.above) == ("approximate", "exact", (26, 26), (28, 28))
    assert found.audit.first_fault.layer == "pool"
    assert (found.sizes.first, found.sizes.last, found.sizes.safe) == (24, 29, (24, 26, 28))
    assert (found.fix.size, found.fix.audit.exact) == ((28, 28), True)
    assert "resize the input to 26x26 or 28x28" in found.advice[0]


def test_a_pad_by_one_pixel_breaks_by_itself():
    found = audit_target(small(), input_size=(9, 9), fix="pad")
    assert (found.fix.size, found.fix.audit.exact) == ((10, 10), False)
    assert found.fix.audit.first_fault.layer == "pad"


def test_an_exact_network_needs_nothing():
    found = audit_target(small(), input_size=(8, 8), fix="pad")
    assert (found.verdict, found.advice, found.fix, found.measured) == ("exact", (), None, None)


def test_where_filters_break_only_the_grids_can_be_asked_about():
    found = audit_target(small(None), input_size=(9, 9))
    assert (found.verdict, found.part, found.below, found.above) == ("approximate", "grid", (8, 8), (10, 10))
    assert any("group convolutions" in line for line in found.advice)


def test_images_that_are_not_square():
    found = audit_target(small(), input_size=(8, 9), fix="resize")
    assert (found.below, found.above, found.fix.audit.exact) == ((8, 8), (8, 10), True)


@pytest.fixture
def measured(monkeypatch):
    """What would have been measured, without doing it."""
    asked = []

    def verdict(model, images, group, *, twin):
        asked.append((tuple(images.shape), str(group), twin))
        return measurement(True).table

    monkeypatch.setattr(target_audits, "verdict", verdict)
    return asked


def test_a_run_brings_its_own_size_group_images_and_twin(study, measured):
    (target,) = find_targets(str(study / "p4cnn-8-seed0"))
    found = audit_target(target, verify=True, device="cpu")
    assert (found.audit.input_size, found.audit.group.name, found.verdict) == ((8, 8), "C4", "exact")
    assert found.measured.source == "test images of digits"
    (((count, *shape), group, twin),) = measured
    assert (count <= 32, shape, group) == (True, [1, 8, 8], "C4")
    assert torch.equal(twin.conv1.weight, target.run.untrained().conv1.weight)


def test_a_model_by_name_is_measured_with_two_draws_of_weights():
    found = audit_target(small(), input_size=(8, 8), verify=True, device="cpu")
    assert (found.verdict, found.measured.exact, found.measured.images) == ("exact", True, 32)
    assert found.measured.source == "random images"
    breaking = found.measured.table.groupby("weights", observed=True)["breaking_float32"].sum()
    assert breaking["trained"] != breaking["untrained"]


def test_test_images_that_cannot_be_had_are_replaced_and_it_is_said(spoilt, measured):
    record = spoilt / "p4cnn-9-seed0/run.toml"
    record.write_text(record.read_text().replace('source = "digits"', 'source = "nowhere"'))
    (run,) = find_targets(str(spoilt))
    found = audit_target(replace(small(), run=run.run, input_size=(9, 9)), verify=True, device="cpu")
    assert found.measured.source.startswith("random images, as its test images cannot be had")
    assert measured[0][0] == (32, 1, 9, 9)


class Oriented(nn.Module):
    """A batch norm with values of its own for every orientation: exact while they are all 1 and 0, not once trained."""

    def __init__(self):
        super().__init__()
        self.lift = LiftingConv2d("C4", 1, 2, 3)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, images):
        return self.norm(self.lift(images).flatten(1, 2)).unflatten(1, (2, 4)).amax(2).mean((-2, -1))


def test_what_training_will_break_is_seen_before(monkeypatch):
    monkeypatch.setitem(MODELS, "oriented", f"{__name__}:Oriented")
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or SimpleNamespace(Oriented=Oriented))
    found = audit_target(find_targets("oriented")[0], input_size=(8, 8))
    assert found.verdict == "approximate"
    assert found.audit.first_fault.layer == "norm"
    assert any("along the group axis" in line for line in found.advice)


def test_no_size_is_an_error_that_says_what_to_give():
    with pytest.raises(EqvizError, match="--input-size N or HxW"):
        audit_target(small())


def measurement(exact, disagreements=()):
    table = pd.DataFrame()
    table.attrs = {"exact": exact, "disagreements": list(disagreements)}
    return Measurement(table, 32, "random images")


@pytest.mark.parametrize(
    ("predicted", "measured", "disagreements", "verdict"),
    [
        (True, True, (), "exact"), (False, False, (), "approximate"), (True, False, ("fc: ...",), "undecided"),
        (None, True, (), "exact"), (None, False, (), "approximate"), (None, None, (), "undecided"),
        (True, None, (), "exact"),
    ],
)  # fmt: skip
def test_the_verdict_follows_the_measurement_only_where_nothing_was_predicted(
    predicted, measured, disagreements, verdict
):
    audit = replace(examine(nn.ReLU(), 4, "C4", channels=1), exact=predicted)
    target = Target("m", "m", {}, nn.ReLU)
    found = TargetAudit(target, audit, "exact", None, None, (), measured=measurement(measured, disagreements))
    assert found.verdict == verdict


def test_several_targets_and_what_is_told_meanwhile():
    told = []
    found = audit_targets([small(), small(None)], input_size=(8, 8), progress=told.append)
    assert [one.verdict for one in found] == ["exact", "approximate"]
    assert told.count("auditing small") == 2


@pytest.mark.parametrize("text", ["20", "20:", ":20", "24:20", "0:5", "1:5000", "20-24", "a:b", "20:24:2", ""])
def test_ranges_that_are_none(text):
    with pytest.raises(EqvizError, match="--sizes"):
        parse_range(text)


def test_options_are_read_from_their_text():
    assert read_options(None, None, None, fix="pad") == {"input_size": None, "group": None, "sizes": None, "fix": "pad"}
    assert read_options("28x32", "p4m", "3:3")["input_size"] == (28, 32)
    assert list(read_options("28", "p4m", "3:3")["sizes"]) == [3]
    with pytest.raises(EqvizError, match="--input-size"):
        read_options("28x", None, None)
    with pytest.raises(EqvizError, match="group"):
        read_options("28", "Q8", None)
