"""Every name builds; everything wrong is one line; nothing is loaded before it is needed."""

import subprocess
import sys
from importlib import import_module

import pytest
import torch
from torch import nn

from eqviz.errors import EqvizError
from eqviz.groups.group import group
from eqviz.models.registry import MODELS, build_model, describe_models, model_group

SMALL = {
    "cnn": {"channels": 1},
    "resnet44": {"widths": (1, 1, 1)},
    "resnet18": {"widths": [1, 1, 1, 1]},
    "resnet8": {"widths": (1, 1, 1)},
    "conv": {"channels": 1},
}


def small(name):
    return next(arguments for kind, arguments in SMALL.items() if kind in name)


@pytest.mark.parametrize("name", MODELS)
def test_every_entry_builds_and_runs(name):
    model = build_model(name, in_channels=2, classes=3, **small(name)).eval()
    assert isinstance(model, nn.Module)
    assert model(torch.randn(1, 2, 16, 16)).shape == (1, 3)
    assert model_group(name) == ("D4" if name.startswith("p4m") else "C4")
    if not name.startswith("z2"):
        first = next(module for module in model.modules() if hasattr(module, "group"))
        assert first.group == group(model_group(name))


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_says_where_its_output_lives(name, outputs):
    model = build_model(name, in_channels=1, **small(name)).eval()
    for layer, output in outputs(model, torch.randn(1, 1, 17, 17)).items():
        if layer != "layers":
            field = model.get_submodule(layer).field_type
            assert field.fits(tuple(output.shape)), (layer, field, output.shape)


def test_entries_are_import_paths_and_listing_them_loads_no_torch():
    for target in MODELS.values():
        module, attribute = target.split(":")
        assert callable(getattr(import_module(module), attribute))
    code = "import sys, eqviz.models.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_table_of_all():
    rows = describe_models()
    assert [row["model"] for row in rows] == list(MODELS)
    assert all(isinstance(row["parameters"], int) and row["about"] and row["arguments"] for row in rows)
    counts = {row["model"]: row["parameters"] for row in rows}
    assert counts["p4mcnn"] == pytest.approx(counts["p4cnn"], rel=0.05)
    assert counts["p4conv"] == counts["p4mconv"] == 14
    for size in ("resnet44", "resnet18", "resnet8"):
        assert counts["p4" + size] == pytest.approx(counts["z2" + size], rel=0.05)
        assert counts["p4m" + size] == pytest.approx(counts["z2" + size], rel=0.15)


def test_the_check_without_memory_leaves_the_generator_alone():
    from eqviz.models.cnn import p4cnn

    torch.manual_seed(1)
    built = build_model("p4cnn").state_dict()
    torch.manual_seed(1)
    expected = p4cnn().state_dict()
    assert all(torch.equal(built[key], expected[key]) for key in expected)
    assert all(value.device.type == "cpu" for value in built.values())


WRONG = [
    ("p4ccn", {}, "did you mean p4cnn?"),
    ("../../etc/passwd", {}, "eqviz list models"),
    ("os:system", {}, "eqviz list models"),
    ("p4cnn", {"chanels": 3}, "did you mean channels?"),
    ("p4cnn", {"group": "p4m"}, "in_channels=1, classes=10, channels=10, dropout=0.3"),
    ("p4cnn", {"channels": -1}, "channels"),
    ("p4cnn", {"channels": 0}, "channels"),
    ("p4cnn", {"channels": 10**9}, "channels"),
    ("p4cnn", {"channels": 10**400}, "channels"),
    ("p4cnn", {"channels": 10**9999}, "channels"),
    ("p" * 10**5, {}, "eqviz list models"),
    ("p4cnn", {"x" * 10**5: 1}, "leave it out"),
    ("p4cnn", {"channels": 10**5}, "500,000,000 parameters"),
    ("z2cnn", {"channels": 10**5}, "500,000,000 parameters"),
    ("p4cnn", {"classes": 10**9}, "classes"),
    ("p4cnn", {"channels": "ten\nlines"}, "whole number"),
    ("p4cnn", {"channels": 2.5}, "whole number"),
    ("p4cnn", {"channels": True}, "whole number"),
    ("p4cnn", {"channels": None}, "whole number"),
    ("p4cnn", {"separable": "c"}, "'' or g or gc"),
    ("p4mcnn", {"separable": True}, "text"),
    ("p4mresnet18", {"separable": "x" * 10**5}, "'' or g or gc"),
    ("z2cnn", {"separable": "g"}, "leave it out"),
    ("z2resnet8", {"separable": "g"}, "found 'separable'"),
    ("p4resnet8", {"widths": (4, 8)}, "3 of them"),
    ("p4conv", {"channels": 0}, "channels"),
    ("p4mconv", {"in_channels": -3}, "in_channels"),
    ("p4conv", {"separable": "g"}, "found 'separable'"),
    ("p4cnn", {"dropout": "much"}, "number"),
    ("p4cnn", {"dropout": 1.5}, "dropout"),
    ("p4cnn", {"dropout": float("nan")}, "dropout"),
    ("z2cnn", {"in_channels": 0}, "in_channels"),
    ("p4resnet44", {"widths": "16"}, "several whole numbers"),
    ("p4resnet44", {"widths": 16}, "several whole numbers"),
    ("p4resnet44", {"widths": ["a", 1, 2]}, "several whole numbers"),
    ("p4resnet44", {"widths": []}, "3 of them"),
    ("p4resnet44", {"widths": [1] * 10**4}, "3 of them"),
    ("p4resnet44", {"widths": (16, 32, 10**6)}, "500,000,000 parameters"),
    ("p4resnet18", {"head": 3}, "text"),
    ("p4resnet18", {"head": "x" * 10**5}, "head"),
]


@pytest.mark.parametrize(("name", "arguments", "words"), WRONG, ids=range(len(WRONG)))
def test_whatever_is_wrong_is_one_line(name, arguments, words):
    with pytest.raises(EqvizError) as caught:
        build_model(name, **arguments)
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    assert len(message) < 400


def test_unknown_names_have_no_group():
    with pytest.raises(EqvizError, match="did you mean z2cnn"):
        model_group("z2cn")
