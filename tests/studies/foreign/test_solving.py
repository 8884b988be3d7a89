"""Numbers that a constructor takes, from shapes alone: building the network again gives these shapes."""

import pytest
from torch import nn

from eqviz.studies.foreign.solving import solve_numbers
from tests.studies.plain_networks import ConvNext, ResNet, UNet, Vgg, Vit


def shapes(network):
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


@pytest.mark.parametrize(
    ("constructor", "arguments"),
    [
        (Vgg, {"in_channels": 3, "classes": 7, "channels": 5}),
        (ResNet, {"in_channels": 2, "classes": 4, "channels": 6}),
        (UNet, {"in_channels": 1, "classes": 2, "channels": 7}),
        (ConvNext, {"in_channels": 3, "classes": 5, "channels": 4}),
        (Vit, {"in_channels": 3, "classes": 3, "channels": 6}),
        (nn.Linear, {"in_features": 5, "out_features": 2}),
    ],
)  # fmt: skip
def test_the_numbers_make_the_same_shapes(constructor, arguments):
    wanted = shapes(constructor(**arguments))
    found = solve_numbers(constructor, {}, wanted)
    assert {key: found[key] for key in arguments} == arguments
    assert solve_numbers(constructor, arguments, wanted).keys().isdisjoint(arguments)


def test_names_under_a_prefix_tell_as_much():
    wanted = {f"network.{name}": shape for name, shape in shapes(Vgg(channels=5)).items()}
    assert solve_numbers(Vgg, {}, wanted)["channels"] == 5


def needs_text(name: str):
    return nn.Linear(1, 1)


def raises(width=3):
    raise RuntimeError("no")


def keywords(**options):
    return nn.Linear(**options)


@pytest.mark.parametrize("constructor", [needs_text, raises, keywords, nn.ReLU, dict])
def test_nothing_is_solved_where_nothing_follows(constructor):
    assert solve_numbers(constructor, {}, {"weight": (2, 3)}) == {}
