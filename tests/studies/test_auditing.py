"""What is predicted of runs, kept in the cache, and put beside what was measured."""

import shutil
from dataclasses import replace

import joblib
import pandas as pd
import pytest
import torch

from eqviz.analysis import symmetry
from eqviz.errors import EqvizError
from eqviz.studies import auditing, measured_runs, measuring
from eqviz.studies.auditing import RunAudit, audit_run, run_exactness, sizes_about
from eqviz.studies.cache import Cache
from eqviz.studies.measuring_settings import Settings
from eqviz.studies.run_folders import Run, read_run
from eqviz.studies.runs import open_runs
from eqviz.tables import SCHEMAS

QUICK = {"limit": 16, "orbit_images": 16, "angles": (0.0,), "layers": "conv1,pool,conv7", "device": "cpu"}
"""Settings that measure in a moment; fewer images could make a misfitting maximum pool look exact by luck."""


@pytest.fixture(scope="module")
def kept(write_run_in, tmp_path_factory):
    """A network that is exact on 8 pixels, and one of another seed on 9, where the pool leaves a row over.

    All of their tables have been made; not to be changed.
    """
    folder = tmp_path_factory.mktemp("kept")
    for size, seed in ((8, 0), (9, 1)):
        write_run_in(folder, f"p4cnn-{size}-seed{seed}", size=size, seed=seed, epochs=(0, 1))
    steps = []
    opened = open_runs(folder, **QUICK, on_step=steps.append)
    tables = {name: opened.table(name) for name in ("audit", "verdict", "exactness")}
    return opened, tables, steps


@pytest.fixture
def two(kept, tmp_path):
    """A copy of that folder, with what was measured."""
    return shutil.copytree(kept[0].folder, tmp_path / "runs")


@pytest.fixture
def untraceable(monkeypatch):
    """An engine that follows nothing."""

    def examine(*_, **__):
        raise EqvizError("layer pool", expected="operations", found="a question", fix="ask nothing")

    monkeypatch.setattr(auditing, "examine", examine)
    return "layer pool: expected operations; found a question; ask nothing"


def no_network(monkeypatch):
    def built(self, *_):
        raise AssertionError("a network was built")

    for name in ("build", "untrained"):
        monkeypatch.setattr(Run, name, built)


def test_the_twin_is_the_network_that_training_started_from(trained):
    run = read_run(trained / "p4cnn-8-seed0")
    before = torch.random.get_rng_state()
    first, twin = run.state_dict(0), run.untrained()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not twin.training
    for name, value in twin.state_dict().items():
        assert torch.equal(value, first[name]), name


def test_an_audit_is_kept_and_read_back_whole(write_run, tmp_path, monkeypatch):
    run, cache, settings = read_run(write_run("run", size=9)), Cache(tmp_path), Settings()
    trained, twin = (audit_run(run, epoch, settings, cache) for epoch in (1, None))
    assert len(list(tmp_path.glob("audit-*.json"))) == 2
    no_network(monkeypatch)
    assert audit_run(run, 1, settings, cache) == trained
    assert audit_run(run, None, settings, cache) == twin
    assert trained.audit.first_fault == next(op for op in trained.audit.operations if op.exact == "no")
    assert trained.audit.surviving.name == "C1"
    pd.testing.assert_frame_equal(audit_run(run, 1, settings, cache).table(), trained.table())


def test_an_audit_that_cannot_be_read_back_is_made_again(write_run, tmp_path, monkeypatch):
    run, cache = read_run(write_run("run")), Cache(tmp_path)
    first = audit_run(run, 1, Settings(), cache)
    (path,) = tmp_path.glob("audit-*.json")
    monkeypatch.setattr(auditing, "examine", lambda *_, **__: first.audit)
    for spoilt in ("", "{", "[]", '{"group": "C4"}', '{"operations": [{"layer": 3}]}', "\udcff"):
        path.write_text(spoilt, errors="surrogateescape")
        assert audit_run(run, 1, Settings(), cache) == first
        assert "conv1" in path.read_text()


def test_another_group_or_epoch_has_another_audit(write_run, tmp_path):
    run, cache = read_run(write_run("run", size=9, epochs=(0, 1))), Cache(tmp_path)
    groups = [audit_run(run, 1, Settings(group=name), cache).audit.group.name for name in ("p4", "C2", "C8")]
    assert groups == ["C4", "C2", "C4"]  # elements that interpolate are left out
    audit_run(run, 0, Settings(group="p4"), cache)
    assert len(list(tmp_path.glob("audit-*.json"))) == 3


def test_a_network_that_cannot_be_traced_stops_nothing(two, untraceable, monkeypatch):
    for path in (two / ".eqviz").glob("audit-*"):
        path.unlink()
    opened = open_runs(two, **QUICK)
    assert opened.audit().empty
    assert tuple(opened.audit().columns) == SCHEMAS["audit"]
    assert opened.untraceable() == dict.fromkeys([run.name for run in opened], untraceable)
    verdict = opened.verdict()
    assert set(verdict["predicted"]) == {"unknown"}
    assert set(verdict["agrees"]) == {""}
    assert {"yes", "no"} <= set(verdict["exact"])
    assert opened.disagreements() == []
    no_network(monkeypatch)
    assert open_runs(two, **QUICK).untraceable() == opened.untraceable()


def test_tables_are_made_once_and_come_from_the_cache_the_second_time(kept, two, monkeypatch):
    for name, table in kept[1].items():
        assert tuple(table.columns) == SCHEMAS[name]
        assert len(table)
    no_network(monkeypatch)
    again = open_runs(two, **QUICK)
    for name, table in kept[1].items():
        pd.testing.assert_frame_equal(again.table(name), table)


def test_only_twins_are_measured_beside_what_was_measured_before(two, monkeypatch):
    for path in (two / ".eqviz").glob("symmetry-*"):
        path.unlink()
    open_runs(two, **QUICK, epochs="all").measured()
    measured = []

    def counted(model, *arguments, **keywords):
        measured.append(model)
        return symmetry.measure_symmetry(model, *arguments, **keywords)

    monkeypatch.setattr(measuring, "measure_symmetry", counted)
    steps = []
    verdict = open_runs(two, **QUICK, epochs="all", on_step=steps.append).verdict()
    assert len(measured) == 2  # one twin a run, whatever the number of epochs
    assert {step.kind for step in steps} == {"done", "untrained twin", "twin done"}
    assert [(s.place, s.runs, s.reused) for s in steps if s.kind == "twin done"] == [(1, 2, False), (2, 2, False)]
    counts = verdict.groupby(["run", "epoch", "weights"]).size()
    assert len(counts) == 2 * 2 * 2
    assert counts.nunique() == 1
    untrained = verdict[verdict["weights"] == "untrained"].groupby(["run", "layer", "call"], observed=True)
    assert untrained["breaking_float64"].nunique(dropna=False).eq(1).all()


def test_predictions_come_true(kept):
    opened, tables, _ = kept
    assert opened.disagreements() == []
    verdict = tables["verdict"]
    assert set(verdict["agrees"]) <= {"yes", ""}
    output = verdict[verdict["layer"] == "(output)"].set_index(["input_size", "weights"])
    assert output.loc[8, "predicted"].eq("yes").all()
    assert output.loc[9, "predicted"].eq("no").all()
    assert output["agrees"].eq("yes").all()
    pool = tables["audit"].query("layer == 'pool' and op == 'max_pool2d'").set_index("input_size")
    assert pool["leftover"].to_dict() == {8: "0", 9: "1"}
    assert pool["grid_exact"].to_dict() == {8: "yes", 9: "no"}
    assert pool["size"].to_dict() == {8: "8", 9: "9"}


def test_a_contradiction_is_named_with_its_run(two, monkeypatch):
    def wrong(run, epoch, settings, cache):
        found = audit_run(run, epoch, settings, cache)
        layers = [
            replace(one, exact="no", grid_exact="no", surviving="C1") if one.layer == "conv1" else one
            for one in found.audit.layers
        ]
        return RunAudit(replace(found.audit, layers=tuple(layers)))

    monkeypatch.setattr(measured_runs, "audit_run", wrong)
    opened = open_runs(two / "p4cnn-8-seed0", **QUICK)
    lines = opened.disagreements()
    assert [line.split(":")[0] for line in lines] == [
        "p4cnn-8-seed0, conv1", "p4cnn-8-seed0, conv1 (untrained twin)",
    ]  # fmt: skip
    assert all("predicted broken, measured exact" in line for line in lines)
    assert opened.disagreements() == lines
    assert opened.verdict().query("layer == 'conv1'")["agrees"].tolist() == ["no", "no"]


def test_exactness_is_of_models_not_of_seeds(kept):
    _, tables, steps = kept
    found = tables["exactness"]
    assert set(found["run"]) == {"p4cnn-8-seed0"}
    assert sorted(set(found["input_size"])) == [8, 9, 10]
    output = found[found["layer"] == "(output)"].set_index("input_size")["exact"]
    assert output.to_dict() == {8: "yes", 9: "no", 10: "yes"}
    assert not found.duplicated(["input_size", "layer", "call"]).any()
    assert [step.fraction for step in steps if step.kind == "sizes"][-1] == 1.0


def test_sizes_that_a_network_does_not_take_are_left_out(write_run, tmp_path, monkeypatch):
    asked = auditing.exactness_by_size

    def picky(model, sizes, group, channels):
        if sizes != [(8, 8)]:
            raise EqvizError("layer fc", expected="64 features", found="others", fix="give 8 pixels")
        return asked(model, sizes, group, channels=channels)

    monkeypatch.setattr(auditing, "exactness_by_size", picky)
    run = read_run(write_run("run"))
    found = run_exactness(run, 1, sizes_about([run.input_size]), Settings(), Cache(tmp_path))
    assert set(found["input_size"]) == {"8"}
    monkeypatch.setattr(auditing, "exactness_by_size", lambda *_, **__: pytest.fail("asked again"))
    again = run_exactness(run, 1, sizes_about([run.input_size]), Settings(), Cache(tmp_path))
    pd.testing.assert_frame_equal(again, found)


@pytest.mark.parametrize(
    "own",
    [
        [(28, 28)],
        [(15, 15), (16, 16), (17, 17)],
        [(32, 32), (224, 224)],
        [(8, 10)],
        [(1, 1)],
        [(n, n) for n in range(5, 40)],
    ],
)
def test_sizes_are_few_and_hold_those_of_the_runs(own):
    found = sizes_about(own, 16)
    assert len(found) == len(set(found)) <= 16
    assert set(own[:16]) <= set(found)
    assert list(found) == sorted(found)
    assert all(height >= 1 and width >= 1 for height, width in found)


def test_a_run_that_is_not_square(write_run):
    opened = open_runs(write_run("run", size="8x10", group="C2"), **QUICK)
    assert opened.audit()["input_size"].unique().tolist() == ["8x10"]
    assert {"8x10", "9x11", "10x12"} >= set(opened.exactness()["input_size"]) >= {"8x10", "9x11"}


def test_an_interpolated_group_is_judged_by_its_exact_part(write_run):
    opened = open_runs(write_run("run", model="z2cnn", arguments={"channels": 8}), **QUICK, group="C8")
    for name in ("audit", "verdict", "exactness"):
        assert set(opened.table(name)["group"]) == {"C4"}
    assert opened.disagreements() == []


def test_jobs_find_the_same_twins(kept, two):
    for path in (two / ".eqviz").glob("symmetry-*"):
        path.unlink()
    with joblib.parallel_config(backend="threading"):
        pd.testing.assert_frame_equal(open_runs(two, **QUICK, jobs=2).verdict(), kept[1]["verdict"])
