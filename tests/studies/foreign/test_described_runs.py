"""From tables and files to runs."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from eqviz.errors import EqvizError
from eqviz.studies.foreign.described_runs import apart, checkpoint_files, described_runs, is_checkpoint
from eqviz.studies.foreign.descriptions import parse_descriptions

TABLE = {
    "files": "*.pt", "model": "p4cnn", "input_size": 9, "group": "C4", "data": {"source": "digits"},
    "normalisation": {"mean": [0.0], "std": [1.0]},
}  # fmt: skip


def description(**changes):
    values = {key: value for key, value in (TABLE | changes).items() if value is not None}
    return parse_descriptions({"format": 1, "runs": [values]}, "eqviz.toml")[0]


def found(files, pattern, **changes):
    runs = described_runs(Path("folder"), files, description(files=pattern, **changes))
    return {run.name: (run.seed, run.epochs, run.label) for run in runs}


@pytest.mark.parametrize(
    ("files", "pattern", "expected"),
    [
        (["a_s0_e5.pt", "a_s0_e10.pt", "a_s1_e5.pt"], "a_s{seed}_e{epoch}.pt",
         {"a_s0": (0, (5, 10), ""), "a_s1": (1, (5,), "")}),
        (["v0/epoch=1-step=9.ckpt", "v0/epoch=2-step=18.ckpt"], "v{seed}/epoch={epoch}-step={step}.ckpt",
         {"v0": (0, (1, 2), "")}),
        (["e1-loss=0.5.pt", "e2-loss=0.4.pt"], "e{epoch}-loss=*.pt", {"folder": (0, (1, 2), "")}),
        (["1.pt", "2.pt"], "{epoch}.pt", {"folder": (0, (1, 2), "")}),
        (["good_s3.pth.tar", "bad_s3.pth.tar"], "{label}_s{seed}.pth.tar",
         {"good_s3": (3, (1,), "good"), "bad_s3": (3, (1,), "bad")}),
        (["x/net.pt", "y/net.pt"], "{fold}/net.pt", {"x/net": (0, (1,), ""), "y/net": (0, (1,), "")}),
        (["net.pt", "other.bin"], "net.pt", {"net": (0, (1,), "")}),
    ],
)  # fmt: skip
def test_files_that_differ_in_the_epoch_are_one_run(files, pattern, expected):
    assert found(files, pattern) == expected


def test_what_no_name_says_stands_in_the_table():
    assert found(["net.pt"], "net.pt", seed=4, epoch=25, label="Mine") == {"net": (4, (25,), "Mine")}
    sized = described_runs(Path(), ["n_28.pt", "n_28x30.pt"], description(files="n_{size}.pt", input_size=None))
    assert [run.input_size for run in sized] == [(28, 28), (28, 30)]


@pytest.mark.parametrize(
    ("files", "changes", "words"),
    [
        (["a_1.pt", "b_1.pt"], {"files": "*_{epoch}.pt"}, "a_1.pt and b_1.pt"),
        (["a.pt", "b.pt"], {"files": "{seed}.pt"}, "none; there are a.pt, b.pt"), ([], {}, "no checkpoint"),
        (["a.pt"], {"model": None}, "found none yet"), (["a.pt"], {"model": "p5cnn"}, "p4cnn"),
        (["a_9999.pt"], {"files": "a_{size}.pt", "input_size": None}, "{size}"),
    ],
)  # fmt: skip
def test_tables_that_do_not_lead_to_runs(files, changes, words):
    with pytest.raises(EqvizError) as caught:
        described_runs(Path("folder"), files, description(**changes))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_runs_of_one_name_are_told_apart():
    first = described_runs(Path("folder"), ["a.pt"], description())[0]
    runs = [first, replace(first, input_size=(8, 8)), first, replace(first, name="b")]
    assert [run.name for run in apart(runs)] == ["a-9-1", "a-8", "a-9-2", "b"]


def test_files_are_looked_for_without_end(tmp_path):
    for name in ("a.pt", "b.txt", "sub/c.CKPT", ".hidden/d.pt", "own/e.safetensors", "1/2/3/4.pt", ".f.pt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "sub/loop").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "own")
    os.mkfifo(tmp_path / "pipe.pt")
    assert checkpoint_files(tmp_path, 2, [tmp_path / "own"]) == ["a.pt", "pipe.pt", "sub/c.CKPT"]
    assert "1/2/3/4.pt" in checkpoint_files(tmp_path, 3)
    assert is_checkpoint("weights.bin")
    assert not is_checkpoint("notes.md")
