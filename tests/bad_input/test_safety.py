"""Nothing in a folder from a stranger is ever run: planted pickles, names of functions, modules beside checkpoints."""

import io
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import tomli_w

from eqviz.checkpoints.reading import read_checkpoint
from eqviz.errors import EqvizError
from tests.bad_input.conftest import DESCRIBED, FEW, check_line, describe
from tests.bad_input.crafting import packed
from tests.bad_input.plants import GADGETS, OWNED, WRAPPED, hidden, planted

RECIPE = {
    "name": "r", "data": {"source": "digits", "train_limit": 40, "test_limit": 20}, "training": {"epochs": 2},
    "runs": [{"model": "p4conv", "input_size": 8}],
}  # fmt: skip


@pytest.fixture
def owned(tmp_path):
    """The path that planted pickles make; nothing may be there in the end."""
    path = tmp_path / OWNED
    yield path
    assert not path.exists(), "a planted pickle was run"


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # plants that are run leave files open
@pytest.mark.parametrize("gadget", GADGETS)
def test_the_plants_work_where_they_are_run(tmp_path, gadget):
    pickle.loads(pickle.dumps(GADGETS[gadget](str(tmp_path / OWNED))))
    assert (tmp_path / OWNED).exists()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("gadget", GADGETS)
def test_planted_pickles_are_refused_by_the_reader(tmp_path, owned, gadget, protocol):
    for wrap in WRAPPED:
        for name in ("net.pt", "net.safetensors"):
            (tmp_path / name).write_bytes(planted(owned, gadget, protocol, wrap))
            with pytest.raises(EqvizError) as caught:
                read_checkpoint(tmp_path / name)
            assert name in str(caught.value)


@pytest.mark.parametrize("kind", ["torch", "legacy"])
@pytest.mark.parametrize("place", ["itself", "weights", "beside", "settings", "optimiser", "deep", "key"])
def test_planted_pickles_are_found_wherever_they_are(folder, owned, state, refused, place, kind):
    (folder / "net.pt").write_bytes(packed(hidden(GADGETS["os.system"](str(owned)), state)[place], kind))
    line = refused(folder, names=(str(folder / "net.pt"), "refused", "eqviz convert --trust"))
    assert f"{os.system.__module__}.system" in line


CODE = {
    "dotted": b"\x80\x04\x8c\x0ccollections\x8c\x1bOrderedDict.__init__.__self__\x93)R.",
    "copyreg": b"\x80\x02\x82\x01.", "persistent": b"Pos.system\n.", "instance": b"(S'touch owned'\nios\nsystem\n.",
    "object": b"(cos\nsystem\nS'touch owned'\no.",
    "build": b"\x80\x02ccollections\nOrderedDict\n)R}(S'__class__'\ncos\nsystem\nub.",
    "getattr": b"\x80\x02cbuiltins\ngetattr\ncbuiltins\n__import__\nS'os'\n\x85RS'system'\n\x86RS'touch owned'\n\x85R.",
    "python 2": b"\x80\x02c__builtin__\neval\nS'open(\"owned\", \"w\")'\n\x85R.",
    "torch": b"\x80\x02ctorch\nload\nS'net.pt'\n\x85R.",
    "nested": b"\x80\x02ctorch.serialization\nload\nS'net.pt'\n\x85R.",
    "attribute": b"\x80\x04\x8c\x05torch\x8c\x09os.system\x93\x8c\x0btouch owned\x85R.",
}  # fmt: skip
"""Pickles that Python itself would not write."""


@pytest.mark.parametrize("code", CODE)
@pytest.mark.parametrize("wrap", ["zip", "legacy"])
def test_pickles_written_by_hand(folder, owned, refused, code, wrap):
    (folder / "net.pt").write_bytes(WRAPPED[wrap](CODE[code]))
    refused(folder, names=(str(folder / "net.pt"),))


COMMANDS = {
    "init": ("init", "{folder}", "--force"),
    "init by name": ("init", "{folder}", "--dry-run", "--model", "p4conv"),
    "runs": ("runs", "{folder}"),
    "audit": ("audit", "{folder}"),
    "audit verified": ("audit", "{folder}", "--verify"),
    "analyse": ("analyse", "{folder}", *FEW),
    "figures": ("figures", "{folder}", *FEW, "-o", "{out}"),
    "tables": ("tables", "{folder}", *FEW, "-o", "{out}"),
    "convert": ("convert", "{folder}/net.pt"),
    "audit by name": ("audit", "{folder}/net.pt", "--input-size", "8"),
    "data": ("analyse", "{clean}", *FEW, "--data", "{folder}/net.pt"),
    "data npz": ("analyse", "{clean}", *FEW, "--data", "{folder}/net.npz"),
    "published": ("analyse", "{clean}", *FEW, "--published", "{folder}/net.pt"),
    "recipe": ("train", "{folder}/net.pt", "-o", "{out}"),
    "list": ("list", "models"),
}  # fmt: skip


@pytest.mark.parametrize("wrap", ["zip", "legacy", "alone"])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_runs_a_planted_pickle(eqviz, folder, owned, tmp_path, monkeypatch, command, wrap):
    shutil.copytree(folder, tmp_path / "clean")
    for name in ("net.pt", "net.npz", "net.safetensors", "resume.pt"):
        (folder / name).write_bytes(planted(owned, wrap=wrap))
    monkeypatch.chdir(folder)
    places = {"folder": folder, "clean": tmp_path / "clean", "out": tmp_path / "out"}
    done = eqviz(*(argument.format(**places) for argument in COMMANDS[command]))
    assert done.status == (0 if command == "list" else 2), done.err
    assert "Traceback" not in done.out + done.err
    assert not (tmp_path / "out/index.html").exists()
    if command not in ("list", "runs"):
        check_line(done.err.splitlines()[-1])


@pytest.mark.parametrize("wrap", ["zip", "legacy", "alone"])
def test_a_run_that_is_resumed_reads_numbers_only(eqviz, owned, tmp_path, wrap):
    (tmp_path / "recipe.toml").write_text(tomli_w.dumps(RECIPE))
    command = ("train", tmp_path / "recipe.toml", "-o", tmp_path / "runs", "--device", "cpu")
    assert eqviz(*command).status == 0
    run = tmp_path / "runs/p4conv-8-seed0"
    (run / "epoch-0002.safetensors").unlink()
    (run / "resume.pt").write_bytes(planted(owned, wrap=wrap))
    done = eqviz(*command, "--resume")
    assert done.status == 2
    check_line(done.err.splitlines()[-1], ("resume.pt",))


def extension(owned):
    """A table with a type that pyarrow once unpickled to know what it is."""
    pickled = planted(owned, wrap="alone")
    kind = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": pickled}
    schema = pa.schema([pa.field("layer", pa.string(), metadata=kind)])
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pa.table({"layer": ["conv"]}, schema=schema), stream)
    return stream.getvalue()


def objects(owned):
    """A table whose description for pandas says that its cells are pickles."""
    table = pa.Table.from_pandas(pd.DataFrame({"layer": [1]}))
    cells = pa.table({"layer": [planted(owned, wrap="alone")]})
    stream = io.BytesIO()
    told = table.schema.metadata[b"pandas"].replace(b"int64", b"object")
    pyarrow.parquet.write_table(cells.replace_schema_metadata({b"pandas": told}), stream)
    return stream.getvalue()


@pytest.mark.parametrize("make", [planted, extension, objects])
def test_a_cache_of_pickles_is_measured_again(works, refused, folder, owned, make):
    only = ("--only", "accuracy", "--only", "equivariance")
    works(folder, *only, command="analyse")
    cached = sorted((folder / ".eqviz").iterdir())
    assert len(cached) > 1
    for path in cached:
        path.write_bytes(make(owned))
    if make is extension:  # a table like others, but for its columns
        for path in folder.glob(".eqviz/*.json"):
            path.unlink()
        refused(folder, *only, command="analyse", names=("a table without angle",))
    else:
        assert "0 of them from the cache" in works(folder, *only, command="analyse").err
        assert all(path.read_bytes() != make(owned) for path in cached)


@pytest.mark.parametrize("key", ["images", "labels", "x_train", "classes"])
def test_arrays_of_objects_are_never_unpickled(folder, owned, refused, tmp_path, key):
    evil = np.array([GADGETS["os.system"](str(owned))] * 40, dtype=object)
    arrays = {"images": np.zeros((40, 8, 8), np.uint8), "labels": np.arange(40) % 10}
    if key == "x_train":
        arrays = {
            f"{name}_{split}": arrays[it]
            for name, it in (("x", "images"), ("y", "labels"))
            for split in ("train", "test")
        }
        arrays["x_test"] = evil
    np.savez(tmp_path / "evil.npz", **arrays | {key: evil})
    refused(folder, "--data", tmp_path / "evil.npz", command="analyse", names=("evil.npz",))


MODULE = f"import pathlib\npathlib.Path(__file__).with_name({OWNED!r}).write_text(__name__)\n"
EVIL = (
    "my_models",
    "sitecustomize",
    "usercustomize",
    "torch",
    "numpy",
    "joblib",
    "lightning",
    "e2cnn",
    "h5py",
    "conftest",
)


@pytest.fixture
def evil(folder):
    """The folder with modules beside its checkpoint that would leave a file where they are imported."""
    for name in EVIL:
        (folder / f"{name}.py").write_text(MODULE)
    (folder / "eqviz").mkdir()
    (folder / "eqviz/__init__.py").write_text(MODULE)
    (folder / "eqviz.egg-info").mkdir()
    (folder / "eqviz.egg-info/entry_points.txt").write_text("[eqviz.models]\np4conv = my_models:p4conv\n")
    (folder / "evil.pth").write_text("import my_models")
    yield folder
    found = list(folder.rglob(OWNED))
    assert not found, found[0].read_text()
    assert not list(folder.rglob("__pycache__"))


@pytest.mark.parametrize(
    "model", [
        "my_models:p4conv", "my_models", "my_models.Net", "sitecustomize:Net", "./my_models.py", "os:system",
        "os.system", "builtins.exec", "torch.nn:Linear", "eqviz.cli.main:run", "torch:load",
    ],
)  # fmt: skip
@pytest.mark.parametrize("record", ["eqviz.toml", "run.toml"])
def test_names_in_a_folder_import_nothing(evil, refused, monkeypatch, model, record):
    (evil / "eqviz.toml").unlink()
    known = {key: value for key, value in DESCRIBED.items() if key != "files"} | {"model": model, "format": 1}
    (evil / "run.toml").write_text(tomli_w.dumps(known))
    (evil / "epoch-0001.safetensors").touch()
    if record == "eqviz.toml":
        (evil / "run.toml").unlink()
        describe(evil, model=model)
    monkeypatch.setattr(sys, "path", [*sys.path])
    refused(evil, names=("model", "registered model"))


FUNCTIONS = """
import pathlib
from torch import nn

def wipe(path="."):
    pathlib.Path(path, "owned").touch()

def wiped() -> None:
    wipe()

def network_of(path: nn.Module):
    wipe()

class Config:
    def __init__(self, **settings):
        wipe()

_hidden = nn.Linear
number = 3
"""


@pytest.mark.parametrize(
    "name", ["wipe", "wiped", "network_of", "Config", "_hidden", "number", "pathlib", "nn", "wipe:wipe"]
)
def test_functions_of_the_users_that_make_no_networks_are_not_called(
    folder, owned, refused, monkeypatch, tmp_path, name
):
    (tmp_path / "users_functions.py").write_text(FUNCTIONS)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    describe(folder, model=name, arguments={})
    refused(folder, "--import", "users_functions", names=(repr(name),))


SPREAD = """
import joblib
from eqviz.studies.processes import apart
with apart(2):
    assert joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(-number) for number in range(4)) == [0, 1, 2, 3]
"""


def test_the_folder_as_the_current_folder_gives_no_modules(evil):
    """In processes of their own, from within the folder: neither the command nor what --jobs starts imports from it."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COV"))}
    program = str(Path(sys.executable).with_name("eqviz"))
    for command in ([program, "runs", "."], [sys.executable, "-P", "-c", SPREAD]):
        done = subprocess.run(
            command, cwd=evil, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr


def test_what_a_user_trusts_is_converted_and_nothing_else(eqviz, folder, tmp_path):
    path = tmp_path / OWNED
    (folder / "net.pt").write_bytes(planted(path))
    assert eqviz("convert", folder / "net.pt").status == 2
    assert not path.exists()
    done = eqviz("convert", "--trust", folder / "net.pt")
    assert done.status == 2
    assert path.exists()
    check_line(done.err.splitlines()[-1], ("net.pt",))
    assert not list(folder.glob("*.safetensors"))
