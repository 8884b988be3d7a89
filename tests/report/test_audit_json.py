"""The JSON of an audit: its schema is a promise."""

import json
from dataclasses import replace

import pytest
from torch import nn

from eqviz.models.convolutions import LiftingConv2d
from eqviz.models.pooling import GroupMaxPool2d
from eqviz.report import audit_json
from eqviz.report.audit_json import STATUS, audits_as_json, worst_status
from eqviz.studies.target_audits import audit_target
from eqviz.studies.targets import Target

AUDIT = (
    "name", "kind", "model", "arguments", "epoch", "alike", "note", "group", "input_size", "channels", "verdict",
    "status", "exact", "grid_exact", "fibre_exact", "surviving", "notes", "first_fault", "nearest", "advice",
    "operations", "layers", "sizes", "fix", "measurement", "inferred",
)  # fmt: skip


@pytest.fixture(scope="module")
def misfit():
    target = Target("small", "small", {"channels": 1}, small)
    return audit_target(target, input_size=(9, 8), sizes=range(8, 11), fix="resize", verify=True, device="cpu")


def small():
    return nn.Sequential(LiftingConv2d("C4", 1, 2, 3, padding=1), GroupMaxPool2d(2)).eval()


@pytest.fixture(scope="module")
def content(misfit):
    return json.loads(audits_as_json([misfit]))


def test_the_keys_stand_in_their_order_and_in_the_documentation(content):
    assert list(content) == ["schema", "versions", "verdict", "status", "audits"]
    (one,) = content["audits"]
    assert tuple(one) == AUDIT
    documented = audit_json.__doc__
    for key in (*content, *one, *one["operations"][0], *one["layers"][0], *one["sizes"], *one["fix"],
                *one["measurement"], *one["measurement"]["rows"][0], *one["nearest"]):  # fmt: skip
        assert key in documented, key


def test_values_are_numbers_lists_and_null(content, misfit):
    (one,) = content["audits"]
    assert (content["schema"], content["verdict"], content["status"]) == (1, "approximate", 3)
    assert (one["input_size"], one["group"], one["exact"], one["epoch"]) == ([9, 8], "C4", False, None)
    assert one["arguments"] == {"channels": 1}
    assert one["sizes"] == {"first": 8, "last": 10, "part": "exact", "safe": [8, 10]}
    assert len(one["operations"]) == len(misfit.audit.operations)
    fault = next(operation for operation in one["operations"] if operation["exact"] == "no")
    assert {key: fault[key] for key in ("layer", "call", "index")} == one["first_fault"]
    assert fault["size"] == [9, 8]
    row = one["measurement"]["rows"][0]
    assert isinstance(row["breaking_float64"], float)
    assert isinstance(row["call"], int)


def test_what_was_not_asked_for_is_null(misfit):
    bare = replace(misfit, sizes=None, fix=None, measured=None, below=None)
    (one,) = json.loads(audits_as_json([bare]))["audits"]
    assert (one["sizes"], one["fix"], one["measurement"], one["nearest"]["below"]) == (None, None, None, None)


def test_numbers_that_are_none_are_null(misfit):
    table = misfit.measured.table.copy()
    table.attrs = misfit.measured.table.attrs
    table["breaking_float32"] = float("nan")
    text = audits_as_json([replace(misfit, measured=replace(misfit.measured, table=table))])
    assert json.loads(text)["audits"][0]["measurement"]["rows"][0]["breaking_float32"] is None


def test_the_status_is_the_highest(misfit):
    exact = replace(misfit, audit=replace(misfit.audit, exact=True), measured=None)
    open_ = replace(misfit, audit=replace(misfit.audit, exact=None), measured=None)
    assert [worst_status([one]) for one in (exact, misfit, open_)] == [0, 3, 4] == list(STATUS.values())
    assert worst_status([exact, open_, misfit]) == 4
    assert json.loads(audits_as_json([exact, misfit]))["verdict"] == "approximate"
