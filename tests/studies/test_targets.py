"""What a person points the audit at."""

import sys

import pytest
import torch

from eqviz.errors import EqvizError
from eqviz.models.registry import MODELS
from eqviz.studies.targets import find_targets, own_group, parse_arguments

OWN = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self, in_channels=3, width=2):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3)
    def forward(self, x):
        return self.conv(x)
def make(depth=1):
    return nn.Sequential(*[nn.Conv2d(1, 1, 3) for _ in range(depth)])
def number():
    return 3
def broken():
    raise KeyError("weights")
ready = nn.Conv2d(1, 2, 3)
constant = 4
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The name of a module of the user's own, in the current folder."""
    (tmp_path / "own_models_of_this_test.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield "own_models_of_this_test"
    sys.modules.pop("own_models_of_this_test", None)


def test_a_registered_model_has_random_weights_that_a_seed_fixes():
    (target,) = find_targets("p4cnn", arguments={"channels": 2})
    (again,) = find_targets("p4cnn", arguments={"channels": 2})
    one, other, twin = target.build(), again.build(), target.twin()
    assert torch.equal(one.conv2.weight, other.conv2.weight)
    assert not torch.equal(one.conv2.weight, twin.conv2.weight)
    assert (target.input_size, target.group, target.run, target.weights) == (None, None, None, "random weights")
    assert not one.training


def test_channels_go_to_models_that_take_them(own):
    assert find_targets("p4cnn", channels=3)[0].build().conv1.weight.shape[1] == 3
    assert find_targets("p4cnn", channels=3, arguments={"in_channels": 2})[0].build().conv1.weight.shape[1] == 2
    assert find_targets("Net", channels=5, imports=[own])[0].build().conv.in_channels == 5
    assert find_targets("make", channels=5, imports=[own])[0].arguments == {}


def test_classes_functions_and_models_of_an_imported_module(own):
    assert find_targets("Net", arguments={"width": 7}, imports=[own])[0].build().conv.out_channels == 7
    assert len(find_targets("make", arguments={"depth": 3}, imports=[own])[0].build()) == 3
    (ready,) = find_targets("ready", imports=[own])
    assert (ready.weights, ready.twin, ready.build() is ready.build()) == ("its own weights", None, True)


@pytest.mark.parametrize(
    ("name", "arguments", "found"),
    [
        ("Net", {"wdith": 2}, "wdith"), ("number", {}, "a value of type int"), ("broken", {}, "KeyError: 'weights'"),
        ("ready", {"width": 2}, "a model that is built"), ("constant", {}, "no such model"),
        ("nothing", {}, "nothing in own_models_of_this_test"), ("__name__", {}, "no such model"),
    ],
)  # fmt: skip
def test_imported_names_that_cannot_be_built(own, name, arguments, found):
    with pytest.raises(EqvizError) as refused:
        find_targets(name, arguments=arguments, imports=[own])[0].build()
    assert found in str(refused.value)


def test_unknown_names_are_told_near_ones():
    with pytest.raises(EqvizError, match="did you mean p4cnn or p4mcnn"):
        find_targets("p4cn")
    with pytest.raises(EqvizError, match="eqviz list models"):
        find_targets("zzz")


def test_runs_of_one_network_are_one_target(study):
    targets = find_targets(str(study))
    assert [target.name for target in targets] == ["p4cnn-8-seed0", "p4cnn-9-seed0", "z2cnn-8-seed0"]
    assert [target.alike for target in targets] == [("p4cnn-8-seed1",), ("p4cnn-9-seed1",), ("z2cnn-8-seed1",)]
    first = targets[0]
    assert (first.input_size, first.group, first.epoch, first.weights) == ((8, 8), "C4", 1, "weights of epoch 1")
    trained = first.run.build()
    assert torch.equal(first.build().conv1.weight, trained.conv1.weight)


def test_a_saved_epoch_is_chosen_and_another_refused(study):
    (early,) = find_targets(str(study / "p4cnn-8-seed0"), epoch=0)
    (late,) = find_targets(str(study / "p4cnn-8-seed0"))
    assert not torch.equal(early.build().conv1.weight, late.build().conv1.weight)
    with pytest.raises(EqvizError, match="a saved epoch: 0, 1"):
        find_targets(str(study), epoch=9)
    with pytest.raises(EqvizError, match="--epoch"):
        find_targets("p4cnn", epoch=1)
    with pytest.raises(EqvizError, match="--set"):
        find_targets(str(study), arguments={"channels": 2})


def test_a_folder_is_taken_before_a_model_of_that_name(spoilt, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p4cnn").symlink_to(spoilt / "p4cnn-9-seed0")
    (target,) = find_targets("p4cnn")
    assert target.run is not None
    assert "not the registered model" in target.note
    (tmp_path / "p4resnet18").mkdir()
    with pytest.raises(EqvizError, match="from another folder to audit the model p4resnet18"):
        find_targets("p4resnet18")


def test_nothing_in_a_run_folder_is_run(spoilt, tmp_path, monkeypatch):
    run = spoilt / "p4cnn-9-seed0"
    planted = f"open({str(tmp_path / 'owned')!r}, 'w')\n"
    for name in ("p4cnn.py", "sitecustomize.py", "__init__.py", "net.py", "conftest.py"):
        (run / name).write_text(planted)
    (run / "resume.pt").write_bytes(b"\x80\x04cbuiltins\nexec\n.")
    monkeypatch.chdir(run)
    find_targets(str(run))[0].build()
    record = run / "run.toml"
    record.write_text(record.read_text().replace('model = "p4cnn"', 'model = "net"'))
    with pytest.raises(EqvizError, match="a registered model"):
        find_targets(str(run))
    assert not (tmp_path / "owned").exists()
    assert "net" not in MODELS


def test_the_group_of_a_model_is_the_largest_that_its_layers_declare():
    for name, expected in (("p4mcnn", "D4"), ("p4cnn", "C4"), ("z2cnn", "C4")):
        assert own_group(find_targets(name, arguments={"channels": 1})[0].build()) == expected


@pytest.mark.parametrize("pair", ["head", "=3", "a b=3", "3=a"])
def test_arguments_that_are_no_pairs(pair):
    with pytest.raises(EqvizError, match="key=value"):
        parse_arguments([pair])


def test_arguments_as_people_write_them():
    pairs = ["a=1", "b=-0.5", "c=true", "d=flatten", "e=[1, 2]", "f=1,2", 'g="3"', "h=", "i=x=y", "j=a,b"]
    assert list(parse_arguments(pairs).values()) == [1, -0.5, True, "flatten", [1, 2], [1, 2], "3", "", "x=y", "a,b"]
