"""Files that are trusted become safetensors: the same tensors, settings and epoch, whole or not there."""

import argparse
import os
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from eqviz.checkpoints.conversion import convert
from eqviz.checkpoints.reading import read_checkpoint
from tests.checkpoints.files import FORMATS, write, write_zip


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one
    )


def network():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


class Local:
    """Something that only this module has."""


@pytest.mark.parametrize("kind", FORMATS[1:])
@pytest.mark.parametrize(
    "content",
    [
        lambda model: model,
        lambda model: {"model": model, "epoch": 3},
        lambda model: {"epoch": 3, "state_dict": model.state_dict(), "note": Local()},
        lambda model: {"state_dict": model.state_dict(), "hyper_parameters": {"loss": nn.MSELoss(), "lr": 0.1}},
        lambda model: model.state_dict(),
    ],
)
def test_what_is_converted_reads_the_same(tmp_path, kind, content):
    model = network()
    made = content(model)
    write(tmp_path / "a.pth.tar", made, kind)
    assert convert(tmp_path / "a.pth.tar") == tmp_path / "a.safetensors"
    read = read_checkpoint(tmp_path / "a.safetensors")
    assert (read.format, list(read.states)) == ("safetensors", [""])
    assert same(read.states[""], dict(model.state_dict()))
    table = made if type(made) is dict else {}
    assert read.epoch == table.get("epoch")
    assert read.hyperparameters == ({"lr": 0.1} if "hyper_parameters" in table else {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pth.tar", "a.safetensors"]


def test_settings_of_every_kind_stay(tmp_path):
    options = argparse.Namespace(lr=np.float64(0.1), dims=(1, 2), path=tmp_path, inner={"a": [1, None]}, local=Local())
    write(tmp_path / "a.pt", {"net": network().state_dict(), "args": options, "config": types.SimpleNamespace(b=2)})
    settings = read_checkpoint(convert(tmp_path / "a.pt")).hyperparameters
    assert settings == {"lr": 0.1, "dims": [1, 2], "path": str(tmp_path), "inner": {"a": [1]}, "b": 2}


def test_shared_half_and_transposed_tensors(tmp_path):
    weight = torch.rand(2, 3)
    state = {
        "a": weight, "b": weight, "c": weight.t(), "d": weight[0], "e": weight.bfloat16(), "f": torch.ones(1).expand(3),
        "g": torch.tensor(3), "h": nn.Parameter(weight), "i": weight.to(torch.complex64).conj(),
    }  # fmt: skip
    write(tmp_path / "a.pt", {"model": state, "x": Local()})
    assert same(read_checkpoint(convert(tmp_path / "a.pt")).states[""], state)


def test_the_best_of_several_or_the_place_that_is_named(tmp_path, refused):
    best, average = network(), network()
    write(tmp_path / "a.pt", {"ema": {"shadow": average.state_dict()}, "model": best, "epoch": 2})
    assert same(read_checkpoint(convert(tmp_path / "a.pt", tmp_path / "b")).states[""], dict(best.state_dict()))
    found = read_checkpoint(convert(tmp_path / "a.pt", tmp_path / "c", weights="ema")).states[""]
    assert same(found, dict(average.state_dict()))
    refused("weights at 'G'; found them at 'model', 'ema.shadow'", convert, tmp_path / "a.pt", weights="G")


@pytest.mark.parametrize(
    ("name", "new"),
    [
        ("a.pt", "a"), ("a.pth.tar", "a"), ("last.ckpt", "last"), ("net-0.5", "net-0.5"), ("a.b.bin", "a.b"),
        ("a.tar", "a"), ("epoch=3-val:0.9.ckpt", "epoch=3-val:0.9"), ("ü b.pt", "ü b"),
        ("a.safetensors.pt", "a.safetensors"),
    ],
)  # fmt: skip
def test_the_name_of_the_new_file(tmp_path, name, new):
    assert convert(write(tmp_path / name, network())).name == f"{new}.safetensors"


def test_into_a_folder(tmp_path):
    (tmp_path / "out").mkdir()
    assert convert(write(tmp_path / "a.pt", network()), tmp_path / "out") == tmp_path / "out/a.safetensors"


def test_nothing_is_overwritten(tmp_path, refused, monkeypatch):
    path = write(tmp_path / "a.pt", network())
    (tmp_path / "a.safetensors").write_text("mine")
    refused("expected a new file; found one that is there already", convert, path)
    (tmp_path / "loose").symlink_to(tmp_path / "gone")
    refused("there already", convert, path, tmp_path / "loose")
    refused("there already", convert, path, path)
    monkeypatch.setattr("os.path.lexists", lambda _: False)  # somebody writes it meanwhile
    refused("there already", convert, path)
    assert (tmp_path / "a.safetensors").read_text() == "mine"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.pt", "a.safetensors", "loose"]


def test_places_that_cannot_be_written(tmp_path, refused, monkeypatch):
    path = write(tmp_path / "a.pt", network())
    refused("a folder to write in; found none", convert, path, tmp_path / "none" / "b")
    refused("a folder to write in; found none", convert, path, path / "b")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("eqviz.checkpoints.conversion.save_file", full)
    refused("No space left on device", convert, path)
    assert [one.name for one in tmp_path.iterdir()] == ["a.pt"]


def test_a_file_system_without_links(tmp_path, monkeypatch, refused):
    def none(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", none)
    written = convert(write(tmp_path / "a.pt", network()))
    assert len(read_checkpoint(written).states[""]) == 7
    refused("there already", convert, tmp_path / "a.pt")
    assert len(list(tmp_path.iterdir())) == 2


def raising(error):
    raise error


class Broken:
    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        return raising, (self.error,)


def test_what_fails_while_it_is_unpickled_is_one_line(tmp_path, refused, monkeypatch):
    for error in (ValueError("two\nlines"), RuntimeError(), AssertionError("x" * 2000), RecursionError("deep")):
        path = write(tmp_path / "a.pt", {"w": torch.ones(2), "x": Broken(error)})
        refused(f"cannot be unpickled .{type(error).__name__}.*run from the folder", convert, path)
    refused("cannot be unpickled .ModuleNotFoundError: No module named 'gone'", convert, missing_class(tmp_path / "b"))
    refused("cannot be unpickled", convert, write_zip(tmp_path / "c", b"\x80\x02}"))
    assert len(list(tmp_path.iterdir())) == 3


def missing_class(path):
    return write_zip(path, b"\x80\x02cgone\nNet\n)R.")


def test_a_class_in_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "my_net_of_this_test.py").write_text(
        "from torch import nn\n\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.fc = nn.Linear(2, 1)\n"
    )
    monkeypatch.chdir(tmp_path)
    searched = list(sys.path)
    monkeypatch.syspath_prepend(tmp_path)
    from my_net_of_this_test import Net

    write(tmp_path / "a.pt", Net())
    monkeypatch.setattr(sys, "path", searched)
    monkeypatch.delitem(sys.modules, "my_net_of_this_test")
    assert list(read_checkpoint(convert(tmp_path / "a.pt")).states[""]) == ["fc.bias", "fc.weight"]
    assert sys.path == searched
    monkeypatch.delitem(sys.modules, "my_net_of_this_test")


@pytest.mark.filterwarnings("ignore:.torch.jit")  # torch tells that it is old
def test_torchscript(tmp_path):
    model = nn.Linear(2, 1)
    torch.jit.script(model).save(tmp_path / "a.pt")
    assert same(read_checkpoint(convert(tmp_path / "a.pt")).states[""], dict(model.state_dict()))


class Marker:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_code_in_a_file_that_is_trusted_runs(tmp_path):
    """That is what trust means; and why nothing else in eqviz does it."""
    convert(write(tmp_path / "a.pt", {"model": network().state_dict(), "x": Marker(tmp_path / "ran")}))
    assert (tmp_path / "ran").is_dir()


@pytest.mark.filterwarnings("ignore:.*quantiz")  # torch tells that it is old
def test_what_cannot_be_converted(tmp_path, refused):
    state = network().state_dict()
    refused("found safetensors; use it as it is", convert, write(tmp_path / "a", state, "safetensors"))
    refused("an empty file", convert, write_bytes(tmp_path / "b", b""))
    refused("a picture", convert, write_bytes(tmp_path / "b", b"\x89PNG"))
    refused("a folder", convert, tmp_path)
    refused("no named weights", convert, write(tmp_path / "c", {"epoch": 3}))
    refused("no named weights", convert, write(tmp_path / "c", {"epoch": 3, "x": Local()}))
    sparse = write(tmp_path / "d", {**state, "s": torch.eye(2).to_sparse(), "m": torch.ones(2, device="meta")})
    refused("sparse, quantised or empty tensors: s, m", convert, sparse)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c", "d"]


def write_bytes(path, content):
    path.write_bytes(content)
    return path
