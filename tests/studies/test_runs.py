import os
import shutil

import joblib
import pandas as pd
import pytest

from eqviz.analysis.published import COLUMNS
from eqviz.errors import EqvizError
from eqviz.studies.run_folders import Run
from eqviz.studies.runs import Runs, open_runs
from eqviz.tables import RUN_KEYS, SCHEMAS

QUICK = {"limit": 20, "orbit_images": 4, "angles": (0.0, 90.0, 45.0), "layers": "pool,(output)", "device": "cpu"}
"""Settings that measure in a moment."""


@pytest.fixture
def two(write_run, tmp_path):
    """Two networks of two seeds each: exact on 8 pixels, broken from the pool on on 9."""
    for size in (8, 9):
        for seed in (0, 1):
            write_run(f"runs/p4cnn-{size}-seed{seed}", size=size, seed=seed)
    return tmp_path / "runs"


def test_is_a_sequence_of_runs_and_writes_nothing_when_opened(two):
    runs = open_runs(two, **QUICK)
    assert isinstance(runs, Runs)
    assert [run.name for run in runs] == [f"p4cnn-{size}-seed{seed}" for size in (8, 9) for seed in (0, 1)]
    assert len(runs) == 4
    assert runs[-1].seed == 1
    assert [run.input_size for run in runs[:2]] == [(8, 8), (8, 8)]
    assert "p4cnn-9-seed1" in repr(runs)
    assert runs.runs()["train_images"].isna().all()
    assert sorted(os.listdir(two)) == [run.name for run in runs]


def test_every_table_has_its_columns_and_the_second_time_comes_from_the_cache(two, monkeypatch):
    steps = []
    numbers = two.parent / "numbers.csv"
    numbers.write_text(f"{','.join(COLUMNS)}\np4cnn,8,unknown,0°,0.1,0.1,10,A paper\n")
    runs = open_runs(two, **QUICK, on_step=steps.append, published=str(numbers))
    first = {name: runs.table(name) for name in SCHEMAS}
    for name, schema in SCHEMAS.items():
        assert tuple(first[name].columns) == schema
        assert len(first[name]) > 0 or name == "skipped_layers"  # these networks have none
        assert first[name].attrs["table"] == name
        keys = [key for key in ("model", "group", "epoch", "data", "regime") if key in schema]
        assert not first[name][keys].isna().any(axis=None)
    assert [(step.place, step.runs) for step in steps if step.kind == "done"] == [(n, 4) for n in range(1, 5)]
    assert not any(step.reused for step in steps)

    def build(self, epoch=None):
        raise AssertionError("a network was built")

    monkeypatch.setattr(Run, "build", build)
    steps.clear()
    again = open_runs(two, **QUICK, on_step=steps.append, published=str(numbers))
    for name in SCHEMAS:
        pd.testing.assert_frame_equal(again.table(name), first[name])
    assert {step.kind for step in steps} == {"done", "twin done", "analysed"}
    assert all(step.reused and step.fraction == 1.0 for step in steps)
    assert again.reused == len(again.checkpoints) == 4


def test_keys_say_which_run_a_row_is_of(two):
    runs = open_runs(two, group="p4", **QUICK)
    for name in ("runs", "accuracy", "equivariance", "subgroups"):
        found = runs.table(name)[list(RUN_KEYS)].drop_duplicates().to_dict("records")
        assert found == [
            {"run": run.name, "model": "p4cnn", "input_size": run.input_size[0], "group": "C4", "seed": run.seed,
             "epoch": 1, "data": "digits", "regime": "unknown"}
            for run in runs
        ]  # fmt: skip


def test_networks_say_which_size_is_exact_and_where_the_other_breaks(two):
    runs = open_runs(two, **QUICK | {"layers": "*", "orbit_images": 16})
    found = runs.networks().set_index("input_size")
    assert found["exact"].to_dict() == {8: "yes", 9: "no"}
    assert found["first_broken"].to_dict() == {8: "", 9: "pool"}
    assert found.loc[8, "surviving"] == "C4"
    assert found["n_seeds"].tolist() == [2, 2]
    assert found.loc[8, [f"accuracy_{angle}" for angle in (0, 90)]].nunique() == 1
    assert pd.isna(found.loc[8, "accuracy_180"])
    assert found.loc[8, "breaking_fraction"] < 1e-11 < 1e-7 < found.loc[9, "breaking_fraction"]
    layers = runs.equivariance().query("input_size == 9").set_index("layer")["breaking_fraction"]
    # one float32 rounding error is an energy of 4e-15; before the pool there are a few of them
    assert layers[["conv1", "conv2", "relu2"]].max() < 1e-12
    assert layers["pool"].min() > 1e-4


def test_all_saved_epochs(write_run):
    folder = write_run("run", epochs=(0, 1, 5))
    assert open_runs(folder, **QUICK).accuracy()["epoch"].unique().tolist() == [5]
    runs = open_runs(folder, **QUICK, epochs="all")
    assert runs.networks()["epoch"].tolist() == [0, 1, 5]
    assert [measured.reused for measured in runs.measured()] == [(), (), ("accuracy", "symmetry")]
    assert runs.runs()["epoch"].tolist() == [5]


@pytest.mark.parametrize("backend", ["sequential", "threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_jobs_measure_the_same(two, backend):
    steps = []
    alone = open_runs(two, **QUICK)
    expected = {name: alone.table(name) for name in ("accuracy", "equivariance", "subgroups")}
    shutil.rmtree(two / ".eqviz")
    with joblib.parallel_config(backend=backend):
        runs = open_runs(two, **QUICK, jobs=2, on_step=steps.append)
        for name, table in expected.items():
            pd.testing.assert_frame_equal(runs.table(name), table)
    assert [(step.run, step.place, step.kind, step.reused) for step in steps] == [
        (run.name, place, "done", False) for place, run in enumerate(runs, start=1)
    ]
    assert len(list((two / ".eqviz").iterdir())) == 3 * 4


def test_copies_of_one_run_can_be_measured_at_a_time(write_run, tmp_path):
    source = write_run("runs/a/run")
    for name in "bcd":
        shutil.copytree(source, tmp_path / "runs" / name / "run")
    with joblib.parallel_config(backend="threading"):
        table = open_runs(tmp_path / "runs", **QUICK, jobs=4).accuracy()
    assert table["run"].unique().tolist() == ["a/run", "b/run", "c/run", "d/run"]
    assert table.groupby(["angle", "reflected"])["accuracy"].nunique().eq(1).all()


def test_models_of_one_name_and_other_arguments_are_told_apart(write_run, tmp_path):
    write_run("runs/a", arguments={"channels": 2})
    write_run("runs/b", arguments={"channels": 3})
    write_run("runs/c", arguments={"channels": 3, "dropout": 0.1})
    write_run("runs/d", model="z2cnn", arguments={"channels": 5})
    runs = open_runs(tmp_path / "runs", **QUICK).runs().set_index("run")["model"]
    assert runs["a"] == "p4cnn(channels=2)"
    assert runs["b"] == "p4cnn(channels=3)"
    assert runs["c"] == "p4cnn(channels=3, dropout=0.1)"
    assert runs["d"] == "z2cnn"


def test_arguments_that_follow_from_the_data_do_not_tell_models_apart(write_run, tmp_path):
    write_run("runs/a", arguments={"classes": 10})
    write_run("runs/b", arguments={"classes": 3}, data={"source": "elsewhere.npz"})
    names = open_runs(tmp_path / "runs", **QUICK).runs().set_index("run")["model"]
    assert set(names) == {"p4cnn"}
    write_run("runs/c", arguments={"classes": 5}, data={"source": "elsewhere.npz"})
    names = open_runs(tmp_path / "runs", **QUICK).runs().set_index("run")["model"]
    assert names.to_dict() == {"a": "p4cnn", "b": "p4cnn(classes=3)", "c": "p4cnn(classes=5)"}


def test_runs_on_different_numbers_of_images_are_no_seeds_of_one_network(write_run, tmp_path):
    for name, seed, images in (("a", 0, 500), ("b", 1, 500), ("c", 0, 8000), ("d", 1, 8000)):
        write_run(f"runs/{name}", seed=seed, train_images=images, regime="upright")
    write_run("runs/e", seed=2, regime="N(45, 20)")  # does not say on how many
    write_run("runs/f", seed=0, train_images=9, regime="upright", data={"source": "elsewhere.npz"})
    runs = open_runs(tmp_path / "runs", **QUICK)
    assert runs.runs().set_index("run")["regime"].to_dict() == {
        "a": "upright, 500 images", "b": "upright, 500 images", "c": "upright, 8000 images",
        "d": "upright, 8000 images", "e": "N(45, 20)", "f": "upright",
    }  # fmt: skip
    (tmp_path / "runs/f/run.toml").unlink()
    runs = open_runs(tmp_path / "runs", **QUICK)
    overview = runs.accuracy_overview().query("metric == '0°'").set_index("regime")
    assert overview["n_seeds"].to_dict() == {"upright, 500 images": 2, "upright, 8000 images": 2, "N(45, 20)": 1}
    each = runs.accuracy().query("angle == 0 and not reflected").set_index("run")["accuracy"]
    assert overview.loc["upright, 500 images", "mean"] == pytest.approx(each[["a", "b"]].mean())
    by_images = runs.accuracy_by_images().query("metric == 'upright' and regime == 'upright'")
    assert by_images.set_index("train_images")["mean"].to_dict() == {
        500: pytest.approx(each[["a", "b"]].mean()), 8000: pytest.approx(each[["c", "d"]].mean()),
    }  # fmt: skip


def test_balanced_accuracy_is_summed_up_from_the_same_measurements(two, monkeypatch):
    uneven = QUICK | {"limit": 25}  # of ten classes some have two images and some three
    plain = open_runs(two, **uneven)
    accuracy = plain.accuracy()
    assert (accuracy["accuracy"] != accuracy["balanced_accuracy"]).any()

    def build(self, epoch=None):
        raise AssertionError("a network was built")

    plain.training_summary()
    monkeypatch.setattr(Run, "build", build)
    balanced = open_runs(two, **uneven, balanced=True)
    pd.testing.assert_frame_equal(balanced.accuracy(), accuracy)  # it has both
    upright = accuracy.query("angle == 0 and not reflected")
    expected = upright.groupby("input_size")["balanced_accuracy"].mean()
    for table, column in (
        (balanced.accuracy_overview().query("metric == '0°'"), "mean"), (balanced.networks(), "accuracy_0"),
        (balanced.accuracy_summary().query("angle == 0 and not reflected"), "mean"),
        (balanced.benchmarks(), "accuracy_upright"),
        (balanced.training_summary().query("measure == 'accuracy at 0 degrees'"), "mean"),
        (balanced.comparisons().query("metric == 'accuracy at 0 degrees'"), "mean_a"),
    ):  # fmt: skip
        size = "input_size" if "input_size" in table else "input_size_a"
        for found, own in zip(table[column], table[size], strict=True):
            assert found == pytest.approx(expected[own])
    assert list(balanced.accuracy_overview().columns) == list(plain.accuracy_overview().columns)


def test_a_run_that_is_not_square_has_sizes_in_words(write_run, tmp_path):
    write_run("runs/a", size=8)
    write_run("runs/b", size="8x10", group="C2")
    runs = open_runs(tmp_path / "runs", **QUICK)
    assert runs.accuracy()["input_size"].unique().tolist() == ["8", "8x10"]
    found = runs.networks().set_index("input_size")
    assert found["group"].to_dict() == {"8": "C4", "8x10": "C2"}
    assert found.loc["8x10", "surviving"] == "C2"
    rotated = open_runs(tmp_path / "runs" / "b", **QUICK, group="C4")
    # 8 by 10 turned by a quarter is 10 by 8: the pool fits both ways
    assert rotated.networks()["exact"].tolist() == ["yes"]


def test_one_seed_has_a_mean_and_no_interval(write_run):
    found = open_runs(write_run("run"), **QUICK).accuracy_overview()
    assert found["metric"].tolist() == ["0°", "90°", "mean of quarter turns", "mean of interpolated angles"]
    assert found["mean"].notna().all()
    assert found[["std", "low", "high"]].isna().all(axis=None)
    assert found["n_seeds"].eq(1).all()


def test_what_is_recorded_of_some_runs_only(write_run, tmp_path):
    write_run("runs/a", parameters=12, train_images=30)
    write_run("runs/b")
    found = open_runs(tmp_path / "runs").runs().set_index("run")
    assert found["parameters"].tolist() == [12, pd.NA]
    assert found["train_images"].tolist() == [30, pd.NA]


def refused(words, call):
    with pytest.raises(EqvizError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_mistakes_are_one_line(two, tmp_path):
    (tmp_path / "empty").mkdir()
    refused("no such folder", lambda: open_runs(tmp_path / "missing"))
    refused("an empty folder", lambda: open_runs(tmp_path / "empty"))
    refused(
        r"open_runs: expected settings among group, .*; found limits, masks;",
        lambda: open_runs(two, limits=3, mask=True, masks=1),
    )
    refused("limit: expected a whole number", lambda: open_runs(two, limit=0))
    refused("group: expected", lambda: open_runs(two, group="p6m"))
    refused("jobs: expected 1 or more", lambda: open_runs(two, jobs=0))
    refused("device: expected auto", lambda: open_runs(two, **QUICK | {"device": "tpu"}).accuracy())
    refused("near names are pool", lambda: open_runs(two, **QUICK | {"layers": "pols"}).equivariance())
    refused("table: expected one of", lambda: open_runs(two).table("accuracies"))
    refused("data: expected one of digits", lambda: open_runs(two, **QUICK | {"data": "digts"}).accuracy())
    assert not (two / ".eqviz").exists() or not list((two / ".eqviz").glob("symmetry*"))


def test_weights_that_cannot_be_read_are_one_line_and_the_others_stay_measured(two):
    path = two / "p4cnn-9-seed1" / "epoch-0001.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    refused("expected weights as safetensors", open_runs(two, **QUICK).accuracy)
    path.write_bytes(whole)
    assert [len(m.reused) for m in open_runs(two, **QUICK).measured()] == [2, 2, 2, 0]
