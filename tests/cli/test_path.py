"""The whole path: train, runs, analyse, figures, tables, demo."""

import json
import os
import sys
from functools import partial

import joblib
import pandas as pd
import pytest
import tomli_w

from eqviz.models.registry import MODELS
from eqviz.report.figures import FIGURES
from eqviz.report.tables import MEASURED, TABLES
from eqviz.studies import recipes, runs
from eqviz.studies.runs import open_runs

PRINTED = {"accuracy_table", "benchmark_table", "significance_table"}
ALONE = {*TABLES, *PRINTED} - {"twin_cka", "twin_cka_summary", "published_comparison"}
"""The tables of a folder with one network: it has no twin, and no published numbers are given."""


NOT_HERE = {
    "twin_cka_by_layer", "accuracy_by_regime", "accuracy_by_regime_polar", "accuracy_by_training_images",
}  # fmt: skip
"""Figures that need an exact network, several regimes or several numbers of training images."""


@pytest.fixture
def quick(few):
    """Options for one small figure and csv tables."""
    return (*few, "--only", "breaking_by_layer", "--format", "png", "--table-format", "csv")


@pytest.fixture
def one(study):
    """The run of an exact network."""
    return study / "p4cnn-8-seed0"


@pytest.fixture
def shallow(few):
    """Options for few images and layers, for reports with every figure and table."""
    return (*few, "--layers", "conv1,pool,conv7")


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_from_a_recipe_to_tables(eqviz, shallow, tmp_path):
    recipe = {
        "name": "r", "data": {"source": "digits", "train_limit": 40, "test_limit": 20},
        "training": {"epochs": 2, "batch_size": 20}, "checkpoints": {"early": [1]},
        "runs": [{"model": "p4cnn", "input_size": 8, "arguments": {"channels": 1}}],
        "presets": {"quick": {"training": {"epochs": 1}}},
    }  # fmt: skip
    (tmp_path / "recipe.toml").write_text(tomli_w.dumps(recipe))
    runs = tmp_path / "runs"
    trained = eqviz("train", tmp_path / "recipe.toml", "-o", runs, "--device", "cpu")
    assert trained.status == 0
    assert "1 runs in" in trained.out
    assert trained.err.splitlines()[-1].startswith("[1/1] p4cnn-8-seed0  finished")
    assert "skipped" in eqviz("train", tmp_path / "recipe.toml", "-o", runs, "--device", "cpu").err
    listed = eqviz("runs", runs).out
    assert "p4cnn-8-seed0" in listed
    assert "0, 1, 2" in listed

    analysed = eqviz("analyse", runs, *shallow)
    assert (analysed.status, analysed.out) == (0, "")
    assert "1 checkpoints, 0 of them from the cache" in analysed.err
    analysed = eqviz("analyse", runs, *shallow, "--epochs", "all", "-o", tmp_path / "a")
    assert "3 checkpoints, 1 of them from the cache" in analysed.err
    assert {path.name for path in (tmp_path / "a/tables").iterdir()} == {f"{name}.csv" for name in ALONE}
    assert sorted(pd.read_csv(tmp_path / "a/tables/equivariance.csv")["epoch"].unique()) == [0, 1, 2]

    written = eqviz("tables", runs, *shallow, "-o", tmp_path / "t", "--format", "md", "--format", "tex")
    assert written.status == 0
    assert "1 checkpoints, 1 of them from the cache" in written.err
    files = {path.name for path in (tmp_path / "t/tables").iterdir()}
    assert files == {f"{name}.{ending}" for name in ALONE for ending in ("md", "tex")}

    quickly = eqviz("train", tmp_path / "recipe.toml", "-o", tmp_path / "q", "--preset", "quick", "--device", "cpu")
    assert "epoch 1/1" in quickly.err


def test_figures_twice_gives_the_same_files_the_second_time_from_the_cache(eqviz, shallow, one, tmp_path):
    drawn = ("accuracy_polar", "breaking_by_layer", "isotypic_spectrum", "aligned_features")
    formats = ("png", "pdf", "svg")
    command = ["figures", one, *shallow]
    command += [part for name in drawn for part in ("--only", name)]
    command += [part for name in formats for part in ("--format", name)]
    first, again = (eqviz(*command, "-o", tmp_path / folder / "report") for folder in "ab")
    assert (first.status, again.status) == (0, 0)
    assert again.err.startswith("[1/1] p4cnn-8-seed0, epoch 1: from the cache\n")
    assert "1 checkpoints, 1 of them from the cache" in again.err
    old, new = contents(tmp_path / "a/report"), contents(tmp_path / "b/report")
    figures = {f"{name}.{ending}" for name in drawn for ending in formats}
    names = (*MEASURED, "accuracy_table", "benchmark_table")
    tables = {f"tables/{name}.{ending}" for name in names for ending in ("csv", "md", "tex")}
    assert set(old) == {*figures, *tables, "index.html", "provenance.json"}
    assert f"{len(old)} files in " in first.out
    changed = {name for name in {*old, *new} if old.get(name) != new.get(name)}
    assert changed == {"index.html", "provenance.json"}
    records = [json.loads(files["provenance.json"]) for files in (old, new)]
    for record in records:
        for checkpoint in record["checkpoints"]:
            checkpoint.pop("from_cache")
        del record["command"], record["environment"]["created"]
    assert records[0] == records[1]
    assert len(old["index.html"].splitlines()) == len(new["index.html"].splitlines())


def test_an_interrupted_run_is_left_to_resume(eqviz, study, tmp_path, monkeypatch):
    from eqviz.studies.runs import Runs

    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Runs, "measured", interrupted)
    stopped = eqviz("figures", study, "-o", tmp_path / "report")
    assert stopped.status == 130
    assert stopped.err.strip().startswith("eqviz: interrupted")
    assert len(stopped.err.strip().splitlines()) == 1
    assert not (tmp_path / "report").exists()


def test_options_choose_figures_and_formats(eqviz, few, one, tmp_path):
    done = eqviz(
        "figures", one, *few, "-o", tmp_path, "--only", "accuracy_polar", "--only", "isotypic_spectrum", "--format",
        "svg", "--format", "svg", "--table-format", "md",
    )  # fmt: skip
    assert done.status == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "accuracy_polar.svg", "isotypic_spectrum.svg", "tables", "index.html", "provenance.json",
    }  # fmt: skip
    assert {path.suffix for path in (tmp_path / "tables").iterdir()} == {".md"}
    assert (tmp_path / "index.html").read_text().count(">svg</a>") == 2


@pytest.mark.parametrize(("asked", "name"), [("p4", "C4"), ("C2", "C2"), ("C1", "C1")])
def test_the_group_to_measure_under(eqviz, quick, one, tmp_path, asked, name):
    assert eqviz("figures", one, *quick, "-o", tmp_path, "--group", asked).status == 0
    assert set(pd.read_csv(tmp_path / "tables/equivariance.csv")["group"]) == {name}
    assert f"Group {name};" in (tmp_path / "index.html").read_text()


def test_a_group_that_only_a_plain_network_knows(eqviz, quick, study, tmp_path):
    assert eqviz("figures", study / "z2cnn-8-seed0", *quick, "-o", tmp_path, "--group", "D2").status == 0
    table = pd.read_csv(tmp_path / "tables/subgroups.csv")
    assert set(table["group"]) == {"D2(axes)"}
    assert len(table["subgroup"].unique()) == 5


def test_interpolated_elements_have_a_report_too(eqviz, shallow, study, tmp_path):
    done = eqviz(
        "figures", study / "z2cnn-8-seed0", *shallow, "-o", tmp_path, "--group", "C8", "--format", "png",
        "--table-format", "csv",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert set(pd.read_csv(tmp_path / "tables/equivariance_elements.csv")["grid"]) == {True, False}


def test_limits_layers_and_mask(eqviz, quick, one, tmp_path):
    more = ("--limit", "10", "--orbit-images", "3", "--layers", "conv*,pool", "--mask", "--fill", "0.5")
    assert eqviz("figures", one, *quick, *more, "-o", tmp_path).status == 0
    accuracy = pd.read_csv(tmp_path / "tables/accuracy.csv")
    layers = pd.read_csv(tmp_path / "tables/equivariance.csv")
    assert (set(accuracy["n"]), set(accuracy["mask"]), set(accuracy["fill"])) == ({10}, {True}, {0.5})
    assert set(layers["n"]) == {3}
    assert {"conv1", "conv7", "pool"} <= set(layers["layer"])
    assert not layers["layer"].str.startswith("bn").any()
    settings = json.loads((tmp_path / "provenance.json").read_text())["settings"]
    assert (settings["layers"], settings["mask"], settings["limit"]) == ("conv*,pool", True, 10)
    assert "inscribed disc" in (tmp_path / "index.html").read_text()


def test_the_verdict_is_that_of_the_output_whatever_layers_are_followed(eqviz, few, study, tmp_path):
    conv1 = ("--layers", "conv1", "--only", "networks")
    done = eqviz("tables", study / "p4cnn-9-seed0", *few, *conv1, "-o", tmp_path, "--format", "csv")
    assert done.status == 0
    assert pd.read_csv(tmp_path / "tables/networks.csv")["exact"].tolist() == ["no"]


def test_several_jobs_give_the_same_tables(eqviz, few, study, spoilt, tmp_path):
    few = (*few, "--only", "equivariance", "--only", "accuracy", "--only", "patching_summary")
    alone = ("tables", study / "p4cnn-9-seed0", *few, "--format", "csv", "-o", tmp_path / "a")
    with joblib.parallel_config(backend="threading"):
        together = eqviz("tables", spoilt, *few, "--format", "csv", "-o", tmp_path / "b", "--jobs", "2")
    assert (eqviz(*alone).status, together.status) == (0, 0)
    assert "[1/1] p4cnn-9-seed0, epoch 1: measured" in together.err
    assert contents(tmp_path / "a/tables") == contents(tmp_path / "b/tables")


def test_a_model_of_the_users_own_comes_with_import(eqviz, quick, spoilt, tmp_path, monkeypatch):
    (tmp_path / "my_models_of_this_test.py").write_text(
        "from eqviz.models.registry import MODELS\nMODELS['mynet'] = 'eqviz.models.cnn:p4cnn'\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(MODELS, "mynet", "")
    monkeypatch.delitem(MODELS, "mynet")
    record = spoilt / "p4cnn-9-seed0/run.toml"
    record.write_text(record.read_text().replace('model = "p4cnn"', 'model = "mynet"'))
    assert eqviz("runs", spoilt).status == 2
    done = eqviz("figures", spoilt, *quick, "-o", tmp_path / "report", "--import", "my_models_of_this_test")
    assert done.status == 0, done.err
    assert set(pd.read_csv(tmp_path / "report/tables/runs.csv")["model"]) == {"mynet"}


def test_images_of_the_users_own(eqviz, quick, one, tmp_path):
    import numpy as np

    images = np.random.default_rng(0).random((60, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "mine.npz", images=images, labels=np.arange(60) % 10)
    assert eqviz("figures", one, *quick, "-o", tmp_path / "r", "--data", tmp_path / "mine.npz").status == 0
    assert str(tmp_path / "mine.npz") in set(pd.read_csv(tmp_path / "r/tables/accuracy.csv")["data"])


def test_demo_trains_and_reports(eqviz, tmp_path, monkeypatch):
    tiny = recipes.parse_recipe(
        {
            "name": "demo", "data": {"source": "digits", "train_limit": 40, "test_limit": 20},
            "training": {"epochs": 1, "batch_size": 20},
            "runs": [{"model": "p4cnn", "input_size": size, "arguments": {"channels": 1}} for size in (8, 9)],
        },
        "tiny.toml",
    )  # fmt: skip
    monkeypatch.setattr(recipes, "demo_recipe", lambda: tiny)
    monkeypatch.setattr(runs, "open_runs", partial(open_runs, limit=20, orbit_images=4, layers="conv1,pool,conv7"))
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    done = eqviz("demo", "-o", tmp_path / "demo")
    assert done.status == 0, done.err
    assert {path.name for path in (tmp_path / "demo/runs").glob("p4*")} == {"p4cnn-8-seed0", "p4cnn-9-seed0"}
    # trained for so little the network of 8 px may be undecided, and then has no twin
    assert {f"{name}.pdf" for name in FIGURES if name not in NOT_HERE} <= {
        path.name for path in (tmp_path / "demo/report").iterdir()
    }
    assert "Of 2 networks, " in done.out
    assert done.out.rstrip().endswith("report/index.html")
    record = json.loads((tmp_path / "demo/report/provenance.json").read_text())
    assert record["command"] == f"eqviz demo -o {tmp_path / 'demo'}"
