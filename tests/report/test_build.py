"""What a report writes, and that it writes all of it or nothing."""

import json

import pytest

from eqviz.errors import EqvizError
from eqviz.report import build
from eqviz.report.build import _contents, make_tables, writable_folder, write_report, write_tables
from eqviz.report.sections import Tables, sections
from eqviz.studies.provenance import code_fingerprint, file_fingerprint, version
from eqviz.studies.runs import open_runs


def test_provenance_says_how_everything_was_made(report, runs):
    record = json.loads((report / "provenance.json").read_text())
    assert record["command"] == "eqviz figures <here> & there"
    assert record["environment"]["eqviz"] == version()
    assert record["environment"]["code"] == code_fingerprint()
    assert {"torch", "numpy", "pandas", "matplotlib"} <= set(record["environment"]["packages"])
    assert (record["settings"]["limit"], record["settings"]["orbit_images"]) == (20, 2)
    assert len(record["checkpoints"]) == len(runs)
    for checkpoint, run in zip(record["checkpoints"], runs, strict=True):
        assert checkpoint["run"] == run.name
        assert checkpoint["weights_sha256"] == file_fingerprint(runs.folder / checkpoint["weights"])
        assert (checkpoint["test_images"], checkpoint["orbit_images"]) == (20, 2)
        assert (checkpoint["device"], checkpoint["dtype"]) == ("cpu", "float32")
        assert checkpoint["from_cache"] in ([], ["accuracy", "symmetry"])
    for figure in record["figures"]:
        assert (report / f"{figure['file']}.png").is_file()


def test_nothing_is_left_when_drawing_fails(runs, tmp_path, monkeypatch):
    def fail(name, section):
        raise RuntimeError(name)

    monkeypatch.setattr(build, "draw", fail)
    with pytest.raises(RuntimeError, match="accuracy_overview"):
        write_report(runs, tmp_path / "new/report")
    assert not list(tmp_path.iterdir())


def test_unknown_names_are_refused_before_anything_is_measured(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(type(runs), "measured", lambda self: pytest.fail("measured"))
    for unknown in ({"only": ["pie"]}, {"formats": ["gif"]}, {"table_formats": ["xls"]}):
        with pytest.raises(EqvizError, match=r"pie|gif|xls"):
            write_report(runs, tmp_path / "r", **unknown)
    with pytest.raises(EqvizError, match="xls"):
        write_tables(runs, tmp_path / "r", ["xls"])
    (tmp_path / "file").write_text("")
    with pytest.raises(EqvizError, match="a file of that name"):
        write_report(runs, tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_asking_whether_a_folder_can_be_written_to_leaves_nothing(tmp_path):
    assert writable_folder(tmp_path / "a/b") == tmp_path / "a/b"
    assert not list(tmp_path.iterdir())
    (tmp_path / "c").mkdir()
    writable_folder(tmp_path / "c")
    assert not list((tmp_path / "c").iterdir())


def test_a_figure_that_the_networks_do_not_allow_is_left_out_and_named(study, tmp_path):
    few = {"limit": 20, "orbit_images": 2, "layers": "conv1,pool", "device": "cpu"}
    still = open_runs(study / "p4cnn-8-seed0", **few, group="C1")
    told = []
    written = write_report(still, tmp_path, formats=("png",), table_formats=("csv",), on_work=told.append)
    names = {path.name for path in written}
    assert "aligned_features.png" not in names
    assert "breaking_by_layer.png" in names
    assert any(remark.startswith("Left out: figure aligned_features (") for remark in told)
    assert "Left out: figure aligned_features (" in (tmp_path / "index.html").read_text()


def test_published_numbers_are_drawn_and_their_source_is_named(report):
    captions = {one["file"]: one["caption"] for one in json.loads((report / "provenance.json").read_text())["figures"]}
    drawn = {name for name, caption in captions.items() if "published means with 95% t intervals (A paper)" in caption}
    assert drawn == {"accuracy_over_rotation", "accuracy_polar"}
    assert "mean of 36 angles" in (report / "tables/published_comparison.md").read_text()


def test_without_a_file_of_published_numbers_nothing_is_said_of_them_unless_asked(study):
    told = []
    few = open_runs(study / "p4cnn-8-seed0", limit=10, orbit_images=2, layers="pool", angles=(0.0,), device="cpu")
    (section,) = sections(Tables(few))
    assert section.published is None
    contents, left_out = _contents(Tables(few), ("runs", "published_comparison"), strict=False)
    assert (list(contents), left_out.in_words()) == (["runs"], [])
    with pytest.raises(EqvizError, match="give one with --published FILE"):
        make_tables(few, only=["published_comparison"], on_work=told.append)


def test_a_run_that_stopped_early_is_named(spoilt, tmp_path):
    (spoilt / "p4cnn-9-seed0/epoch-0001.safetensors").unlink()
    early = open_runs(spoilt, limit=20, orbit_images=2, device="cpu")
    write_report(early, tmp_path, only=("accuracy_overview",), formats=("png",), table_formats=("csv",))
    assert "Run p4cnn-9-seed0 stopped at epoch 0 of 1" in (tmp_path / "index.html").read_text()
