"""Residual networks: the sizes on which they are exact, what survives elsewhere, and their keys."""

import pytest
import torch

from eqviz.errors import EqvizError
from eqviz.fields.field_types import Invariant, declared
from eqviz.groups.group import group
from eqviz.models.registry import build_model
from eqviz.models.resnet import Block, ResNet

EXACT, BROKEN = 1e-24, 1e-9


def narrow(name, stages, **arguments):
    return build_model(name, in_channels=1, classes=5, widths=(2,) * stages, **arguments).eval()


@pytest.mark.parametrize("size", range(28, 35))
@pytest.mark.parametrize(
    ("name", "separable"), [("p4resnet44", ""), ("p4resnet8", ""), ("p4resnet8", "g"), ("p4resnet8", "gc")]
)
def test_three_stages_are_exact_on_1_mod_4_alone(orbit, name, separable, size):
    model = narrow(name, 3, separable=separable)
    breaking = orbit(model, torch.randn(4, 1, size, size), group("C4")).breaking
    assert breaking < EXACT if size % 4 == 1 else breaking > BROKEN


@pytest.mark.parametrize(("size", "exact"), [(25, True), (33, True), (32, False), (29, False)])
@pytest.mark.parametrize("name", ["p4resnet18", "p4mresnet18"])
def test_resnet18_is_exact_on_1_mod_8_alone(orbit, name, size, exact):
    model = narrow(name, 4)
    breaking = orbit(model, torch.randn(4, 1, size, size), group("C4")).breaking
    assert breaking < EXACT if exact else breaking > BROKEN


@pytest.mark.parametrize("size", [30, 31, 32])
@pytest.mark.parametrize(("name", "separable"), [("p4mresnet44", ""), ("p4mresnet8", ""), ("p4mresnet8", "gc")])
def test_p4m_off_its_sizes_keeps_exactly_the_transpose(orbit, name, separable, size):
    model = narrow(name, 3, separable=separable)
    found = orbit(model, torch.randn(4, 1, size, size), group("D4"))
    assert found.surviving() == {"C1", "D1(transpose)"}
    assert min(found.residual(H) for H in group("D4").subgroups if H.name not in found.surviving()) > BROKEN


def test_a_flattened_head_breaks_at_the_very_end(orbit):
    model = narrow("p4resnet44", 3, head="flatten")
    images = torch.randn(4, 1, 33, 33)
    assert model.fc.weight.shape == (5, 8)
    assert orbit(model, images, group("C4")).breaking > 1e-4
    features = lambda x: model.head(model.global_pool(model.relu(model.bn1(model.layers(model.conv1(x))))))  # noqa: E731  # one line says it best
    assert orbit(features, images, group("C4"), declared(model.head)).breaking < EXACT
    assert declared(model.fc) == Invariant()


@pytest.mark.parametrize(
    ("name", "stages", "separable"),
    [
        ("p4resnet18", 4, ""), ("p4mresnet18", 4, ""), ("p4resnet8", 3, "g"), ("p4resnet8", 3, "gc"),
        ("p4mresnet8", 3, "g"), ("p4mresnet8", 3, "gc"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("head", ["coset_max", "flatten"])
def test_every_declared_type_is_true_at_an_exact_size(outputs, name, stages, separable, head):
    model = narrow(name, stages, head=head, separable=separable)
    G = model.conv1.group
    images = torch.randn(2, 1, 17, 17)
    upright = outputs(model, images)
    for element in G.elements[1:]:
        moved = torch.rot90(images, element.quarter_turns, (-2, -1))
        turned = outputs(model, moved.flip(-2) if element.reflected else moved)
        for layer, module in model.named_modules():
            if layer == "layers" or (head == "flatten" and layer in ("", "fc")):
                continue
            field = declared(module)
            assert field is not None, layer
            assert field.fits(tuple(upright[layer].shape)), layer
            torch.testing.assert_close(turned[layer], field.act(upright[layer], element), rtol=0, atol=1e-10)


def test_blocks_declare_their_sum_and_keep_it():
    blocks = [module for module in narrow("p4resnet44", 3).modules() if isinstance(module, Block)]
    assert len(blocks) == 21
    assert {block.kind for block in blocks} == {"block"}
    assert {declared(block).name for block in blocks} == {"regular(C4)"}


def expected_keys(blocks_a_stage, weights=("weight",)):
    norm = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    blocks = [f"layers.{s}.{b}" for s in range(3) for b in range(blocks_a_stage)]
    expected = {"conv1.weight", "fc.weight", "fc.bias"} | {f"bn1.{key}" for key in norm}
    expected |= {f"{block}.{conv}.{key}" for block in blocks for conv in ("conv1", "conv2") for key in weights}
    expected |= {f"{block}.{bn}.{key}" for block in blocks for bn in ("bn1", "bn2") for key in norm}
    return expected | {f"layers.{s}.0.downsample.weight" for s in (1, 2)}


SEPARATE = ("depthwise_weight", "pointwise_weight")


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("z2resnet44", {}, expected_keys(7)), ("p4resnet44", {}, expected_keys(7)),
        ("p4mresnet44", {}, expected_keys(7)), ("z2resnet8", {}, expected_keys(1)),
        ("p4mresnet8", {}, expected_keys(1)), ("p4resnet8", {"separable": "g"}, expected_keys(1, SEPARATE)),
        ("p4mresnet8", {"separable": "gc"}, expected_keys(1, SEPARATE)),
    ],
)  # fmt: skip
def test_state_dict_keys_and_round_trip(name, arguments, expected):
    """Stem and shortcuts of separable networks are ordinary: they have one `weight`."""
    model, twin = narrow(name, 3, **arguments), narrow(name, 3, **arguments)
    assert set(model.state_dict()) == expected
    twin.load_state_dict(model.state_dict())
    images = torch.randn(2, 1, 17, 17)
    assert torch.equal(model(images), twin(images))


@pytest.mark.parametrize("separable", ["g", "gc"])
def test_training_step_moves_every_separable_weight(separable):
    model = narrow("p4mresnet8", 3, separable=separable).train()
    model(torch.randn(4, 1, 12, 12)).square().sum().backward()
    found = {name: p.grad for name, p in model.named_parameters()}
    assert all(grad is not None and torch.isfinite(grad).all() for grad in found.values())
    assert all(grad.any() for name, grad in found.items() if name.endswith(SEPARATE))


COUNTS = {
    "z2resnet44": 2_636_074, "p4resnet44": 2_631_834, "z2resnet8": 19_858, "p4resnet8": 19_470, "p4mresnet8": 21_757,
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_default_widths_give_about_equal_sizes(name):
    assert sum(p.numel() for p in build_model(name).parameters()) == COUNTS[name]


def test_blocks_halve_and_widen():
    plain = ResNet(None, (2, 4), 1, in_channels=1)
    images = torch.randn(1, 1, 9, 9)
    assert plain.layers(plain.conv1(images)).shape == (1, 4, 5, 5)
    assert plain(images).shape == (1, 10)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"widths": (2, 2)}, "3 of them"),
        ({"widths": (2, 2, 0)}, "widths"),
        ({"head": "mean"}, "coset_max or flatten"),
        ({"classes": 0}, "classes"),
        ({"in_channels": -1}, "in_channels"),
        ({"separable": "dw"}, "'' or g or gc; found 'dw'"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments, words):
    with pytest.raises(EqvizError, match=words):
        build_model("p4resnet44", **arguments)


def test_no_widths_are_refused():
    with pytest.raises(EqvizError, match="no widths"):
        ResNet("p4", (), 1)


def test_separable_plain_networks_are_refused():
    with pytest.raises(EqvizError, match="expected a group network"):
        ResNet(None, (2, 4), 1, separable="gc")
