"""`eqviz convert`: an explicit act, with one line for everything else."""

import os

import pytest
import torch
from torch import nn

from eqviz.checkpoints.reading import read_checkpoint


class Marker:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def whole(tmp_path):
    """A whole model, and an average of it, with something that runs."""
    path = tmp_path / "net.pth.tar"
    model, average = nn.Linear(2, 1), nn.Linear(2, 1)
    content = {"model": model, "model_ema": average, "epoch": 5, "x": Marker(tmp_path / "ran"), "args": {"lr": 0.1}}
    torch.save(content, path)
    return path


def test_without_trust_nothing_runs_and_nothing_is_written(eqviz, whole, tmp_path):
    for arguments in ((), ("-o", tmp_path / "out"), ("--weights", "ema")):
        done = eqviz("convert", whole, *arguments)
        assert (done.status, done.out) == (2, "")
        assert done.err.startswith("eqviz: convert: expected --trust; found none; unpickling ")
        assert done.err.count("\n") == 1
        assert "may run any code that is in it" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["net.pth.tar"]


def test_with_trust_it_is_converted(eqviz, whole, tmp_path):
    done = eqviz("convert", "--trust", whole)
    assert (done.status, done.out, done.err) == (0, f"{tmp_path / 'net.safetensors'}: written\n", "")
    read = read_checkpoint(tmp_path / "net.safetensors")
    assert (list(read.states[""]), read.epoch, read.hyperparameters) == (["bias", "weight"], 5, {"lr": 0.1})
    (tmp_path / "ran").rmdir()
    done = eqviz("convert", "--trust", whole, "-o", tmp_path / "ema.safetensors", "--weights", "ema")
    assert done.status == 0
    average = read_checkpoint(tmp_path / "ema.safetensors").states[""]
    assert not torch.equal(average["weight"], read.states[""]["weight"])


@pytest.mark.parametrize(
    "arguments", [("none.pt",), ("net.pth.tar", "-o", "net.pth.tar"), ("net.pth.tar", "--weights", "G")]
)
def test_mistakes_are_one_line(eqviz, whole, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    done = eqviz("convert", "--trust", *arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("eqviz: ")
    assert done.err.count("\n") == 1
    assert not list(tmp_path.glob("*.safetensors"))
