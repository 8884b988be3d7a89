"""Shapes in signatures are checked while the tests run; figures never open a window."""

import os
import shutil
from dataclasses import dataclass

import pytest

os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.signature_checks import check_signatures

CHECKED = (
    "analysis", "capture", "checkpoints", "cli", "data", "fields", "groups", "models", "plots", "report", "studies",
    "testing",
)  # fmt: skip
"""All but eqviz.audit, whose signatures hold no shapes: checking them made it ten times slower."""

check_signatures([f"eqviz.{name}" for name in CHECKED])

STUDY = {
    "name": "study",
    "seeds": [0, 1],
    "data": {"source": "digits", "train_limit": 60, "test_limit": 20},
    "training": {"epochs": 1, "batch_size": 20, "learning_rate": 0.01},
    "runs": [
        {"model": "p4cnn", "input_size": 8, "arguments": {"channels": 2}},
        {"model": "p4cnn", "input_size": 9, "arguments": {"channels": 2}},
        {"model": "z2cnn", "input_size": 8, "arguments": {"channels": 2}},
    ],
}
"""An exact network, one whose pool leaves a row over, and a plain one; two seeds each."""


@pytest.fixture(autouse=True)
def nothing_offered(monkeypatch):
    """Modules that a test imports, as `--import` does, are not offered to the next one."""
    from eqviz.models import lookup

    monkeypatch.setattr(lookup, "_IMPORTED", [])


@pytest.fixture(autouse=True, scope="session")
def few_sizes():
    """Exactness at fewer input sizes than anyone else wants: an audit is slow where every call is checked."""
    from eqviz.studies import auditing

    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(auditing, "MOST_SIZES", 3)
        yield


@pytest.fixture(autouse=True, scope="session")
def few_images():
    """Analyses in depth on fewer images than anyone else wants, for the same reason."""
    from dataclasses import replace

    from eqviz.studies.analyses import ANALYSES

    with pytest.MonkeyPatch.context() as changed:
        for name, analysis in ANALYSES.items():
            changed.setitem(ANALYSES, name, replace(analysis, images=min(8, analysis.images)))
        yield


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """A folder of trained runs, measured once a worker; not to be changed."""
    from eqviz.studies.recipes import parse_recipe
    from eqviz.studies.training import train_recipe

    folder = tmp_path_factory.mktemp("study") / "runs"
    train_recipe(parse_recipe(STUDY, "study.toml"), folder, device="cpu")
    return folder


@pytest.fixture
def spoilt(study, tmp_path):
    """A folder with a copy of one run, to be changed."""
    folder = tmp_path / "runs"
    shutil.copytree(study / "p4cnn-9-seed0", folder / "p4cnn-9-seed0")
    return folder


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str


@pytest.fixture
def eqviz(capsys):
    """Runs `eqviz` with these arguments and gives its exit status and what it wrote."""

    def call(*arguments):
        from eqviz.cli.main import run

        capsys.readouterr()
        status = run([str(argument) for argument in arguments])
        return Outcome(status, *capsys.readouterr())

    return call
