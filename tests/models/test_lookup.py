"""Names lead to what eqviz has, what packages offer and what the user named; to nothing else."""

import sys
import types
from importlib import metadata

import pytest
import torch
from torch import nn

from eqviz.errors import EqvizError
from eqviz.models import lookup
from eqviz.models.construction import construct
from eqviz.models.fetching import refuse_fetching
from eqviz.models.registry import build_model, describe_models, find_model, is_own, model_names
from tests.studies.plain_networks import UNet

SOURCE = """
import os
from os import system
from torch import nn
from torch.nn import Linear

def cleanup(path="x"):
    raise AssertionError("called")

def bare():
    return nn.ReLU()

def annotated(width: int = 3) -> nn.Module:
    return nn.Conv2d(1, width, 3)

def strange(width: int) -> "no such thing at all":
    return nn.ReLU()

class Mine(nn.Module):
    def __init__(self, width=2, *, depth=1):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3)

class _Hidden(nn.Module):
    pass

class Plain:
    pass
"""


@pytest.fixture
def offered(monkeypatch):
    """The source above as an imported module that the user named."""
    module = types.ModuleType("a_users_models")
    exec(compile(SOURCE, "a_users_models.py", "exec"), vars(module))
    for value in vars(module).values():
        if getattr(value, "__module__", None) == "builtins" or getattr(value, "__module__", "") == __name__:
            value.__module__ = "a_users_models"
    monkeypatch.setitem(sys.modules, "a_users_models", module)
    monkeypatch.setattr(lookup, "_IMPORTED", ["a_users_models"])
    return module


def test_of_a_module_only_networks_are_models(offered):
    assert sorted(lookup.constructors("a_users_models")) == ["Mine", "annotated"]
    assert find_model("Mine") == "a_users_models:Mine"
    assert isinstance(build_model("annotated", width=5), nn.Conv2d)
    assert not is_own("Mine")
    assert set(model_names()) >= {"Mine", "annotated", "p4cnn"}


@pytest.mark.parametrize(
    "name", ["cleanup", "system", "os", "bare", "strange", "_Hidden", "Plain", "Linear", "os.system", "__builtins__",
             "a_users_models:cleanup", "os:system", "", "nn.ReLU", "Mine.__init__"]
)  # fmt: skip
def test_no_other_name_leads_anywhere(offered, name):
    assert find_model(name) is None
    with pytest.raises(EqvizError, match="a registered model"):
        build_model(name)


def test_what_a_module_imported_from_elsewhere_is_a_model_only_where_it_lists_it(offered, monkeypatch):
    monkeypatch.setattr(offered, "symbolic_trace", torch.fx.symbolic_trace, raising=False)
    monkeypatch.setattr(offered, "Other", UNet, raising=False)
    assert sorted(lookup.constructors("a_users_models")) == ["Mine", "annotated"]
    monkeypatch.setattr(offered, "__all__", ["Mine", "Other"], raising=False)
    assert sorted(lookup.constructors("a_users_models")) == ["Mine", "Other", "annotated"]


def test_a_module_that_is_gone_offers_nothing(offered, monkeypatch):
    monkeypatch.delitem(sys.modules, "a_users_models")
    assert find_model("Mine") is None


@pytest.fixture
def packages(monkeypatch):
    """Pretends that packages with these entry points are installed."""

    def pretend(**points):
        found = [metadata.EntryPoint(name, value, lookup.GROUP) for name, value in points.items()]
        asked = []
        monkeypatch.setattr(metadata, "entry_points", lambda group: asked.append(group) or found)
        lookup.entry_points.cache_clear()
        return asked

    yield pretend
    lookup.entry_points.cache_clear()


def test_packages_offer_models_by_entry_points(packages):
    asked = packages(theirs="torch.nn:Linear", gone="no_such_package_at_all:Net", number="math:pi")
    assert find_model("theirs") == "torch.nn:Linear"
    assert build_model("theirs", in_features=2, out_features=3).out_features == 3
    assert set(asked) == {"eqviz.models"}
    rows = {row["model"]: row for row in describe_models()}
    assert rows["theirs"]["parameters"] == ""
    assert "no_such_package_at_all" in rows["gone"]["about"]
    with pytest.raises(EqvizError, match=r"no_such_package_at_all.*ModuleNotFoundError"):
        build_model("gone")
    with pytest.raises(EqvizError, match="found a float"):
        build_model("number")


def test_own_names_win_over_those_of_packages(packages):
    packages(p4cnn="torch.nn:Linear")
    assert find_model("p4cnn") == "eqviz.models.cnn:p4cnn"


def raises(error):
    def constructor():
        raise error

    return constructor


@pytest.mark.parametrize(
    ("constructor", "arguments", "words"),
    [
        (raises(RuntimeError("two\nlines")), {}, "RuntimeError: two"),
        (raises(SystemExit(0)), {}, "SystemExit"),
        (raises(MemoryError()), {}, "MemoryError"),
        (raises(AttributeError("'numpy.ndarray' object has no attribute 'tostring'")), {}, "numpy before 2"),
        (raises(RuntimeError("masked_fill_ only supports boolean masks, but got uint8")), {}, "use regular fields"),
        (lambda: None, {}, "a value of type NoneType"),
        (lambda: nn.ReLU, {}, "a value of type type"),
        (lambda width: nn.ReLU(), {}, "found no width"),
        (lambda width: nn.ReLU(), {"widht": 1, "width": 1}, "did you mean width"),
        (lambda width: nn.ReLU(), {"width": 1, "seven": 1}, "leave it out"),
        (nn.Linear, {"in_features": "a", "out_features": 2}, "TypeError"),
        (nn.Linear, {"in_features": -1, "out_features": 2}, "RuntimeError"),
    ],
)  # fmt: skip
def test_whatever_goes_wrong_in_a_network_of_others_is_one_line(constructor, arguments, words):
    with pytest.raises(EqvizError, match=words) as caught:
        construct("model theirs", constructor, arguments)
    assert str(caught.value).startswith("model theirs: ")


def test_a_constructor_that_takes_any_keyword_gets_it():
    assert construct("theirs", lambda **given: nn.Linear(**given), {"in_features": 2, "out_features": 1}) is not None


@pytest.mark.parametrize(
    "arguments",
    [{"weights": "DEFAULT"}, {"pretrained": True}, {"resume": "x"}, {"head": "/etc/passwd"}, {"head": "https://a/b"},
     {"parts": ["a", "evil.pkl"]}, {"width": 3, "checkpoint_path": "last"}, {"name": "hub:evil"},
     {"encoder_weights": "imagenet"}],
)  # fmt: skip
def test_arguments_out_of_a_file_by_which_a_network_would_fetch_something_are_refused(arguments):
    with pytest.raises(EqvizError, match="bind it in a function of your module"):
        refuse_fetching("eqviz.toml", arguments)


def test_arguments_that_only_build_are_taken():
    refuse_fetching(
        "eqviz.toml", {"width": 3, "head": "flatten", "init_channels": 8, "flips": True, "rate": 0.5, "weights": 2}
    )
