"""What `eqviz tables` says of how tables were made, and that it names no folder of this machine."""

import json
from pathlib import Path

import pytest

from eqviz.report import build
from eqviz.report.build import write_tables
from eqviz.report.record import portable, portable_command
from eqviz.studies.provenance import code_fingerprint, file_fingerprint, version
from eqviz.studies.runs import open_runs


@pytest.fixture
def record(runs, tmp_path):
    """The record of two tables, one of them a summary, as it lies on disk."""
    command = f"eqviz tables {runs.folder} -o {tmp_path} --data-root={tmp_path}"
    written = write_tables(runs, tmp_path, ["csv"], only=["accuracy_summary", "patching_summary"], command=command)
    assert set(written) == {path for path in tmp_path.rglob("*") if path.is_file()}
    return json.loads((tmp_path / "provenance.json").read_text())


def test_the_record_of_tables_says_how_they_were_made(record, runs):
    assert record["environment"]["eqviz"] == version()
    assert record["environment"]["code"] == code_fingerprint()
    assert record["environment"]["created"]
    assert (record["settings"]["limit"], record["settings"]["orbit_images"]) == (20, 2)
    assert record["seeds"] == [0, 1]
    assert record["tables"] == {
        "accuracy_summary": {"rows": len(runs.table("accuracy_summary")), "images": 20},
        "patching_summary": {"rows": len(runs.table("patching_summary")), "images": 8},
    }
    for row, run in zip(record["runs"], runs, strict=True):
        assert row["weights_sha256"] == file_fingerprint(runs.folder / row["weights"])
        assert (row["run"], row["model"], row["seed"]) == (run.name, run.model, run.seed)
        assert (row["epoch"], row["input_size"]) == (run.epochs[-1], run.input_size[0])
        protocol = record["protocols"][row["protocol"]]
        assert (protocol["regime"], protocol["train_images"]) == (run.regime, run.train_images)
        assert protocol["training"]["batch_size"] == 20
        assert protocol["data"]["source"] == "digits"
    assert len(record["protocols"]) == 2  # the normalisation is that of the training images, at 8 and at 9 pixels


def test_no_folder_of_this_machine_stands_in_the_record_of_tables(runs, tmp_path, monkeypatch):
    elsewhere = open_runs(runs.folder, limit=20, orbit_images=2, device="cpu", root=str(tmp_path), layers="conv*")
    command = f"eqviz tables {runs.folder} -o {tmp_path} --data-root {tmp_path} --data={tmp_path / 'cells.npz'}"
    monkeypatch.chdir(tmp_path)
    write_tables(elsewhere, tmp_path, ["csv"], only=["runs"], command=command)
    text = (tmp_path / "provenance.json").read_text()
    assert [folder for folder in (tmp_path, runs.folder, Path.home()) if str(folder) in text] == []
    shown = "eqviz tables runs -o . --data-root . --data=cells.npz"
    assert json.loads(text)["command"] == shown


def test_nothing_is_measured_for_tables_that_need_no_measurement(study, tmp_path, monkeypatch):
    monkeypatch.setattr("eqviz.studies.measured_runs.measure_run", lambda *given, **more: pytest.fail("measured"))
    monkeypatch.setattr(build, "unfinished", lambda runs: ["Run a stopped."])
    write_tables(open_runs(study, device="cpu"), tmp_path, ["csv"], only=["runs", "audit"])
    record = json.loads((tmp_path / "provenance.json").read_text())
    assert [table for table, known in record["tables"].items() if "images" in known] == []
    assert record["remarks"] == ["Run a stopped."]


def test_the_record_of_a_report_in_the_same_folder_is_kept(runs, tmp_path):
    (tmp_path / "provenance.json").write_text(json.dumps({"command": "eqviz figures runs", "figures": []}))
    write_tables(runs, tmp_path, ["csv"], only=["runs"], command="eqviz tables runs")
    both = json.loads((tmp_path / "provenance.json").read_text())
    assert (both["command"], both["tables"]["command"]) == ("eqviz figures runs", "eqviz tables runs")


def test_csv_files_have_as_many_digits_as_asked_for(runs, tmp_path):
    for digits, folder in ((None, "all"), (3, "few")):
        write_tables(runs, tmp_path / folder, ["csv"], only=["accuracy_summary"], digits=digits)
    whole, short = ((tmp_path / folder / "tables/accuracy_summary.csv").read_text() for folder in ("all", "few"))
    assert len(short) < len(whole)
    means = [line.split(",")[11] for line in short.splitlines()]
    assert means[0] == "mean"
    assert max(len(mean.replace("0.", "", 1).lstrip("0")) for mean in means[1:]) <= 3


@pytest.mark.parametrize(
    ("text", "shown"),
    [("~/data", "data"), ("C:\\data\\cells.npz", "cells.npz"), ("a/b", "a/b"), ("../b", "../b"), ("", "")],
)
def test_paths_as_another_machine_may_read_them(text, shown):
    assert portable(text) == shown


def test_a_command_keeps_its_words():
    assert portable_command("eqviz tables 'my runs' --layers 'conv*'") == "eqviz tables 'my runs' --layers 'conv*'"
