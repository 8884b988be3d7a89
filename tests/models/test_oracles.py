"""Small random networks whose breaking is known beforehand, layer by layer and subgroup by subgroup."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from eqviz.fields.field_types import Image, declare, declared
from eqviz.groups.group import group
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d
from eqviz.models.pooling import GroupMaxPool2d
from eqviz.models.registry import build_model

EXACT, BROKEN = 1e-25, 1e-6


@pytest.mark.parametrize(
    ("size", "exact"),
    [(30, [True] * 5), (28, [True, True, True, True, False]), (29, [True, True, False, False, False])],
)
def test_p4_chain(orbit, size, exact):
    chain = [
        LiftingConv2d("p4", 1, 3, 3, padding=1),
        GroupConv2d("p4", 3, 3, 3, padding=1),
        declare(GroupMaxPool2d(2), "regular(C4)"),
        GroupConv2d("p4", 3, 3, 3, padding=1),
        GroupConv2d("p4", 3, 3, 3, stride=2, padding=1),
    ]
    images = torch.randn(16, 1, size, size)
    measured = []
    for depth, layer in enumerate(chain):
        prefix = declare(nn.Sequential(*chain[: depth + 1]), layer.field_type)
        measured.append(orbit(prefix, images, group("C4")).breaking)
    assert all((b < EXACT) if fits else (b > BROKEN) for b, fits in zip(measured, exact, strict=True)), measured


def p4m_pair():
    return declare(
        nn.Sequential(
            LiftingConv2d("p4m", 1, 6, 3, padding=1), nn.ReLU(), GroupConv2d("p4m", 6, 6, 3, stride=2, padding=1)
        ),
        "regular(D4)",
    )


def test_p4m_pair_is_exact_on_9(orbit):
    assert orbit(p4m_pair(), torch.randn(16, 1, 9, 9), group("D4")).breaking < EXACT


def test_p4m_pair_on_8_keeps_the_transpose_and_breaks_in_b2_and_e_alone(orbit):
    found = orbit(p4m_pair(), torch.randn(16, 1, 8, 8), group("D4"))
    spectrum = found.spectrum()
    assert 0.3 < found.breaking < 0.7
    assert abs(spectrum["A2"]) < 1e-15
    assert abs(spectrum["B1"]) < 1e-15
    assert spectrum["B2"] > 0.01
    assert spectrum["E"] > 0.01
    assert sum(spectrum.values()) == pytest.approx(found.breaking, abs=1e-12)
    assert found.surviving() == {"C1", "D1(transpose)"}
    broken = {H.name: found.residual(H) for H in group("D4").subgroups if H.name not in found.surviving()}
    assert all(residual > 0.01 for residual in broken.values()), broken


def test_one_strided_convolution_of_14_parameters_tells_an_image_from_its_turned_copy(orbit):
    network = build_model("p4conv")
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert shapes == {"conv.weight": (1, 1, 1, 3, 3), "conv.bias": (1,), "fc.weight": (2, 1), "fc.bias": (2,)}
    assert sum(p.numel() for p in network.parameters()) == 14
    assert [name for name, _ in network.named_children()] == ["conv", "global_pool", "coset_pool", "fc"]
    assert orbit(network, torch.randn(16, 1, 32, 32), group("C4")).breaking > BROKEN
    assert orbit(network, torch.randn(16, 1, 33, 33), group("C4")).breaking < EXACT


def test_over_p4m_it_tells_flips_apart_and_not_the_transpose(orbit):
    found = orbit(build_model("p4mconv"), torch.randn(16, 1, 32, 32), group("D4"))
    assert found.surviving() == {"C1", "D1(transpose)"}


@pytest.mark.parametrize("name", ["p4conv", "p4mconv"])
def test_one_strided_convolution_is_the_written_sum(name):
    """What the classifier sees, from the definition: largest mean of the strided maps of the moved filters."""
    network, images = build_model(name, in_channels=2, channels=3, classes=4), torch.randn(2, 2, 6, 6)
    conv = network.conv
    means = torch.stack([
        F.conv2d(images, Image().act(conv.weight[:, :, 0], g), conv.bias, stride=2, padding=1).mean((-2, -1))
        for g in conv.group.elements
    ])  # fmt: skip
    expected = means.max(0).values @ network.fc.weight.T + network.fc.bias
    torch.testing.assert_close(network(images), expected)


@pytest.mark.parametrize("name", ["p4conv", "p4mconv"])
def test_every_layer_of_one_strided_convolution_lives_where_it_says(outputs, name):
    network, images = build_model(name, channels=2).eval(), torch.randn(2, 1, 9, 9)
    upright = outputs(network, images)
    for element in network.conv.group.elements[1:]:
        for layer, moved in outputs(network, Image().act(images, element)).items():
            expected = declared(network.get_submodule(layer)).act(upright[layer], element)
            torch.testing.assert_close(moved, expected, rtol=0, atol=1e-10)
