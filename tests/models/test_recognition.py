"""Networks are told by their tensors: the law is that whatever is built is found again, with its arguments."""

import inspect
import time
from random import Random

import pytest
import torch

from eqviz.models.lookup import load
from eqviz.models.recognition import recognise
from eqviz.models.registry import MODELS
from tests.models import groupy_reference as lineage

TWINS = {"p4cnn": "p4cnn_two_pools", "p4mcnn": "p4mcnn_two_pools", "z2cnn": "z2cnn_two_pools", "p4conv": "p4mconv"}


def shapes(network):
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def on_meta(name, **arguments):
    with torch.device("meta"):
        return shapes(load(MODELS[name])(**arguments))


def whole(found, name):
    """All arguments, those left to their default too; the head of a plain network has no trace and makes none."""
    parameters = inspect.signature(load(MODELS[name])).parameters
    usual = {key: parameter.default for key, parameter in parameters.items()}
    return {key: value for key, value in {**usual, **found}.items() if key != "dropout"}


def drawn(name, random):
    arguments = {}
    for key, parameter in inspect.signature(load(MODELS[name])).parameters.items():
        if key in ("in_channels", "classes", "channels"):
            arguments[key] = random.randint(1, 60)
        elif key == "widths":
            arguments[key] = tuple(random.randint(1, 60) for _ in parameter.default)
        elif key == "separable":
            arguments[key] = random.choice(["", "g", "gc"])
        elif key == "head" and not name.startswith("z2"):
            arguments[key] = random.choice(["coset_max", "flatten"])
    return arguments


@pytest.mark.parametrize("name", MODELS)
def test_whatever_is_built_is_found_again(name):
    """With `num_batches_tracked` and without; networks that differ in what has no tensors are both found."""
    random = Random(name)
    for arguments in [drawn(name, random)] if "44" in name else [{}, drawn(name, random), drawn(name, random)]:
        held = on_meta(name, **arguments)
        if random.random() < 0.5:
            held = {key: shape for key, shape in held.items() if not key.endswith("num_batches_tracked")}
        found = recognise(held)
        mine = next(one for one in found if one.model == name)
        assert mine.score == 1
        assert whole(mine.arguments, name) == whole(arguments, name)
        assert {one.model for one in found} - {name} == {
            b if a == name else a for a, b in TWINS.items() if name in (a, b)
        }


def test_files_of_the_lineage_are_recognised():
    cases = [
        (lineage.Cnn("P4", channels=3), "p4cnn", {"in_channels": 3, "classes": 10, "channels": 3}),
        (
            lineage.ResNet("P4M", (2,) * 4, (1, 2, 3, 4), classes=7, kind="gc", coset_max=True),
            "p4mresnet18_published",
            {"in_channels": 3, "classes": 7, "widths": (1, 2, 3, 4), "head": "coset_max", "separable": "gc"},
        ),
        (
            lineage.ResNet("Z2", (7,) * 3, (8, 14, 28), classes=2, histology=True),
            "z2resnet44_histology",
            {"in_channels": 3, "classes": 2, "widths": (8, 14, 28)},
        ),
    ]
    for network, name, arguments in cases:
        found = recognise(shapes(network))[0]
        assert (found.model, found.arguments, found.score) == (name, arguments, 1)


NEAR = [  # how a state dict of p4cnn(in_channels=3) differs, and the words for it
    ({"fc.weight": (10, 40)}, "fc.weight is (10, 40), not (10, 10): is the group axis flattened before it?"),
    ({"fc.bias": None}, "no fc.bias"),
    ({"aux.weight": (2, 3)}, "aux.weight is more than it has"),
    ({"conv2.weight": (10, 10, 4, 5, 5)}, "conv2.weight is (10, 10, 4, 5, 5), not (10, 10, 4, 3, 3)"),
    ({f"bn{i}.weight": None for i in range(1, 8)}, "no bn1.weight; no bn2.weight; and 5 more like it"),
]


@pytest.mark.parametrize(("changes", "words"), NEAR)
def test_near_misses_say_what_differs(changes, words):
    changed = {k: v for k, v in {**on_meta("p4cnn", in_channels=3), **changes}.items() if v is not None}
    found = recognise(changed)
    assert (found[0].model, found[0].why) == ("p4cnn", words)
    assert found[0].arguments == {"in_channels": 3, "classes": 10, "channels": 10}
    assert 0.8 < found[0].score < 1
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert len(found) <= 3


def test_what_has_no_weights_is_not_told_apart_and_said():
    first, second = recognise(on_meta("p4cnn_two_pools"))
    assert (first.model, second.model) == ("p4cnn", "p4cnn_two_pools")
    assert "as they do in p4cnn_two_pools, which differs in what has no tensors" in first.why


@pytest.mark.parametrize(
    "strange",
    [
        {}, {"a": (1, 2)}, {"": ()}, {"conv1.weight": ()}, {"conv1.weight": (0, 0, 0, 0, 0)},
        {"conv.weight": (10**7, 1, 1, 3, 3), "conv.bias": (10**7,), "fc.weight": (2, 10**7), "fc.bias": (2,)},
        {f"layer{i}\n": (10**30,) for i in range(1000)},
    ],
)  # fmt: skip
def test_what_is_none_of_them_fits_none(strange):
    """Nor is a network that has such tensors but more of them than eqviz builds."""
    assert all(one.score < 1 for one in recognise(strange))


def test_it_is_quick():
    held = on_meta("p4mresnet44_published", head="coset_max", separable="gc")
    recognise(held)
    start = time.process_time()
    recognise(held)
    assert time.process_time() - start < 1
