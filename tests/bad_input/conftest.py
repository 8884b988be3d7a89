"""A folder with one checkpoint and its description, to be spoilt, and the promise that every case is held to.

The promise: one line on standard error that starts with `eqviz: ` and says what it is about, what was expected, what
was found and what to do; exit status 2; no traceback; nothing lost, nothing half-written.
"""

import re

import pytest
import tomli_w
import torch

from eqviz.models.registry import build_model

FEW = ("--limit", "20", "--orbit-images", "2", "--device", "cpu")
"""Options that measure on few images."""

MEASURES = ("figures", "analyse", "tables")
ARGUMENTS = {"classes": 10}
DESCRIBED = {
    "files": "net.pt", "model": "p4conv", "arguments": ARGUMENTS, "input_size": 8, "group": "C4",
    "data": {"source": "digits"}, "normalisation": {"mean": [0.3], "std": [0.32]},
}  # fmt: skip
PROGRESS = re.compile(r"\[\d+/\d+\] |drawing |writing$|\d+ checkpoints, ")


@pytest.fixture(scope="session")
def state():
    """The weights of a network that is exact on odd sizes; not to be changed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_model("p4conv", **ARGUMENTS).state_dict()


@pytest.fixture
def folder(tmp_path, state):
    """A folder with one checkpoint that eqviz did not write, `net.pt`, and its description."""
    place = tmp_path / "checkpoints"
    place.mkdir()
    torch.save(state, place / "net.pt")
    describe(place)
    return place


def describe(place, **changes):
    """Writes the description with these keys; None takes one out."""
    table = {key: value for key, value in (DESCRIBED | changes).items() if value is not None}
    (place / "eqviz.toml").write_text(tomli_w.dumps({"format": 1, "runs": [table]}), encoding="utf-8")


def snapshot(place):
    """Every file, folder and link below a place; nothing is opened but regular files."""
    found = {}
    for path in sorted(place.rglob("*")):
        if path.is_symlink():
            found[path] = path.readlink()
        else:
            found[path] = path.read_bytes() if path.is_file() else path.stat().st_mode
    return found


def check_line(line, names=()):
    """One clean line that keeps the promise and has these words in it."""
    assert line.startswith("eqviz: ")
    assert line.isprintable(), repr(line)
    assert len(line) < 1500
    for part in (": expected ", "; found ", "; "):
        assert part in line, line
    for name in names:
        assert name in line, line
    return line


@pytest.fixture
def refused(eqviz, tmp_path, monkeypatch):
    """Calls eqviz on a folder, which must keep the promise; gives the line. `names` are words that it must have."""

    def call(target, *arguments, command="audit", names=(), check=check_line):
        monkeypatch.chdir(tmp_path)
        report = tmp_path / "report"
        if command in ("figures", "tables"):
            report.mkdir(exist_ok=True)
            (report / "an old page.html").write_text("mine")
            arguments = ("-o", report, *arguments)
        measuring = FEW if command in MEASURES else ()
        before = snapshot(tmp_path)
        done = eqviz(command, target, *measuring, *arguments)
        assert (done.status, done.out) == (2, ""), (done.out + done.err)[-2000:]
        *progress, line = done.err.splitlines()
        assert all(PROGRESS.match(step) for step in progress), done.err
        after = snapshot(tmp_path)
        kept = {path for path in after if ".eqviz" in path.parts and not path.name.endswith(".part")}
        assert {path: after[path] for path in after if path in before or path not in kept} == before
        return check(line, names)

    return call


@pytest.fixture
def works(eqviz):
    """Calls eqviz on a folder, which must do what was asked; gives what it wrote."""

    def call(target, *arguments, command="audit"):
        done = eqviz(command, target, *(FEW if command in MEASURES else ()), *arguments)
        assert done.status in (0, 3, 4), done.err
        assert "Traceback" not in done.err
        return done

    return call
