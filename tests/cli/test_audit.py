"""`eqviz audit`: the whole way, exit statuses, and one line for everything that can go wrong."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

OWN = """
import torch
from torch import nn
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d
from eqviz.models.pooling import CosetMaxPool, GlobalAveragePool

class Net(nn.Module):
    def __init__(self, in_channels=3, width=2, stride=2):
        super().__init__()
        self.lift = LiftingConv2d("p4m", in_channels, width, 3, padding=1)
        self.conv = GroupConv2d("p4m", width, width, 3, stride=stride, padding=1)
        self.top = nn.Sequential(GlobalAveragePool(), CosetMaxPool())

    def forward(self, images):
        return self.top(self.conv(self.lift(images).relu()))

class Swayed(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Conv2d(1, 1, 3)

    def forward(self, images):
        found = self.gate(images)
        return found if found.mean() > 0 else -found

class Raising(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 2, 3), Inner())

    def forward(self, images):
        return self.body(images)

class Inner(nn.Module):
    def forward(self, images):
        raise RuntimeError("the language of this layer\\nis not known")

class Fixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, images):
        return self.head(images.flatten(1))

class Strange(nn.Module):
    def forward(self, images):
        return torch.fft.fft2(images).abs()


class Lift(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(3, 1, 3, 3))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.normal_(self.weight)

    def forward(self, x):
        turned = [torch.rot90(self.weight, r, (-2, -1)) for r in range(4)]
        return nn.functional.conv2d(x, torch.stack(turned, 1).flatten(0, 1), padding=1)


class ByHand(nn.Module):
    def __init__(self):
        super().__init__()
        self.lift, self.pool, self.head = Lift(), nn.MaxPool2d(2), nn.Linear(3, 2)

    def forward(self, x):
        x = self.pool(self.lift(x).relu()).mean((-2, -1))
        return self.head(x.view(len(x), 3, 4).amax(2))
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Options that import a module of the user's own from the current folder."""
    (tmp_path / "own_nets_of_this_test.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield ("--import", "own_nets_of_this_test")
    sys.modules.pop("own_nets_of_this_test", None)


SMALL = ("--set", "channels=1")


@pytest.mark.parametrize(("size", "status", "word"), [(28, 0, "exact"), (27, 3, "approximate")])
def test_the_exit_status_is_the_verdict(eqviz, size, status, word):
    done = eqviz("audit", "p4cnn", "--input-size", size, *SMALL)
    assert (done.status, done.err) == (status, "")
    assert done.out.splitlines()[1].startswith(f"{word}: ")
    assert "\x1b" not in done.out


def test_what_is_not_known_is_undecided(eqviz, own):
    done = eqviz("audit", "Strange", *own, "--input-size", "8", "--channels", "1")
    assert (done.status, done.err) == (4, "")
    assert done.out.splitlines()[1].startswith("undecided: ")


def test_field_types_of_a_network_that_declares_none_are_found_by_evidence(eqviz, own):
    done = eqviz("audit", "ByHand", *own, "--input-size", "9", "--infer-fields")
    assert (done.status, done.err) == (3, "")  # the pool misfits; the fields are found at a size at which it fits
    assert any(line.split()[:3] == ["lift", "regular(C4,", "flattened)"] for line in done.out.splitlines())
    content = json.loads(eqviz("audit", "ByHand", *own, "--input-size", "8", "--infer-fields", "--json").out)
    (one,) = content["audits"]
    assert one["exact"] is True
    found = {row["layer"]: row for row in one["inferred"]}
    assert found["lift"]["decided"] is True
    assert found["lift"]["next_defect"] > 1e6 * found["lift"]["defect"]
    assert {row["field_source"] for row in one["layers"] if row["layer"] == "lift"} == {"given"}


def test_json_is_all_there_is_on_standard_output(eqviz, own):
    done = eqviz("audit", "Net", *own, "--input-size", "8", "--sizes", "8:10", "--fix", "resize", "--json")
    assert (done.status, done.err) == (3, "")
    content = json.loads(done.out)
    assert (content["schema"], content["status"], content["verdict"]) == (1, 3, "approximate")
    (one,) = content["audits"]
    assert one["sizes"]["safe"] == [9]
    assert one["fix"]["exact"] is True
    assert one["first_fault"]["layer"] == "conv"


def test_a_folder_of_runs_one_after_the_other(eqviz, study, spoilt):
    for seed in (0, 1):
        shutil.copytree(study / f"z2cnn-8-seed{seed}", spoilt / f"z2cnn-8-seed{seed}")
    done = eqviz("audit", spoilt, "--input-size", "8")
    assert (done.status, done.err) == (3, "")
    headings = [line for line in done.out.splitlines() if "weights of epoch 1" in line]
    assert [line.split(" under ")[0] for line in headings] == ["p4cnn-9-seed0 at 8x8", "z2cnn-8-seed0 at 8x8"]
    assert "not audited  z2cnn-8-seed1" in done.out
    assert done.out.splitlines()[-1] == "2 networks: 1 exact, 1 approximate"
    alone = eqviz("audit", study / "z2cnn-8-seed0", "--json")
    assert (alone.status, json.loads(alone.out)["audits"][0]["kind"]) == (3, "run")


def test_verify_puts_the_measurement_beside_the_prediction_and_a_disagreement_is_loud(eqviz, own, monkeypatch):
    from eqviz.studies import target_audits

    asked = ("audit", "Net", *own, "--input-size", "9", "--channels", "1", "--verify", "--device", "cpu")
    tables = []
    measure = target_audits.verdict
    monkeypatch.setattr(target_audits, "verdict", lambda *a, **k: tables.append(measure(*a, **k)) or tables[0])
    done = eqviz(*asked)
    assert (done.status, done.err) == (0, "")
    assert "exact on 32 random images" in done.out
    assert "DISAGREE" not in done.out

    table = tables[0]
    table.loc[table.index[0], "agrees"] = "no"
    table.attrs["disagreements"] = ["lift: predicted exact, measured broken"]
    monkeypatch.setattr(target_audits, "verdict", lambda *a, **k: table)
    done = eqviz(*asked)
    assert done.status == 4
    assert done.err == "eqviz: DISAGREEMENT: Net: lift: predicted exact, measured broken\n"
    assert "PREDICTION AND MEASUREMENT DISAGREE" in done.out
    found = json.loads(eqviz(*asked, "--json").out)["audits"][0]
    assert found["measurement"]["disagreements"] == ["lift: predicted exact, measured broken"]


def test_a_model_of_the_users_own(eqviz, own):
    done = eqviz("audit", "Net", *own, "--input-size", "8", "--channels", "1")
    assert done.status == 3
    assert done.out.splitlines()[0] == "Net at 8x8 under D4, random weights"
    assert "D1(transpose)" in done.out.splitlines()[1]
    assert eqviz("audit", "Net", *own, "--input-size", "9").status == 0
    assert eqviz("audit", "Net", *own, "--input-size", "8", "--set", "stride=1").status == 0
    assert eqviz("audit", "Net", *own, "--input-size", "8x9", "--group", "D2").status == 3


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["Swayed", "--input-size", "8"], ["a number taken out of an activation", "Swayed"]),
        (["Raising", "--input-size", "8"], ["body.1", "the language of this layer"]),
        (["Fixed", "--input-size", "9"], ["head"]), (["p4cnn", "--input-size", "4"], ["p4cnn"]),
        (["p4cnn", "--input-size", "28", "--group", "Q8"], ["'Q8'"]), (["p4cnn"], ["--input-size"]),
        (["p4cnn", "--input-size", "28x"], ["--input-size", "'28x'"]), (["p4cn", "--input-size", "8"], ["p4cnn"]),
        (["p4cnn", "--input-size", "8", "--sizes", "9:8"], ["--sizes", "20:40"]),
        (["p4cnn", "--input-size", "8", "--set", "chanels=2"], ["did you mean channels"]),
        (["p4cnn", "--input-size", "8", "--set", "channels"], ["key=value"]),
        (["p4cnn", "--input-size", "8", "--set", "channels=-1"], ["channels"]),
        (["p4cnn", "--input-size", "8", "--fix", "crop"], ["--fix"]),
        (["p4cnn", "--input-size", "8", "--epoch", "3"], ["--epoch"]),
        (["p4cnn", "--input-size", "8", "--verify", "--device", "tpu"], ["'tpu'"]),
        (["p4cnn", "--input-size", "8", "--import", "no_such_module_at_all"], ["no_such_module_at_all"]),
        ([], ["TARGET"]), (["."], ["run.toml"]),
    ],
)  # fmt: skip
def test_what_cannot_be_audited_is_one_line(eqviz, own, arguments, parts):
    done = eqviz("audit", *arguments, *(() if "--import" in arguments else own))
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("eqviz: ")
    assert done.err.count("\n") == 1
    for part in parts:
        assert part in done.err


def test_colours_only_in_a_terminal_that_wants_them(tmp_path):
    pty = pytest.importorskip("pty")
    command = [Path(sys.executable).with_name("eqviz"), "audit", "p4cnn", "--input-size", "27", "--set", "channels=1"]

    def in_a_terminal(**variables):
        ours, theirs = pty.openpty()
        environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
        environment |= {"TERM": "xterm", "COLUMNS": "70", "OMP_NUM_THREADS": "1", **variables}
        process = subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, cwd=tmp_path, env=environment)
        os.close(theirs)
        parts = []
        try:
            while part := os.read(ours, 65536):
                parts.append(part)
        except OSError:  # Linux: the terminal is closed
            pass
        os.close(ours)
        _, err = process.communicate()
        assert (process.returncode, err) == (3, b"")
        return b"".join(parts).decode()

    colourful, plain = in_a_terminal(), in_a_terminal(NO_COLOR="1")
    assert "\x1b[" in colourful
    assert "\x1b" not in plain
    assert max(map(len, plain.splitlines())) <= 70
