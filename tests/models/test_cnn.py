"""The seven-layer CNNs: published sizes, keys, exact sizes."""

import pytest
import torch
from torch import nn

from eqviz.fields.field_types import declared
from eqviz.groups.group import group
from eqviz.models.cnn import GroupCNN, PlainCNN
from eqviz.models.separable import SEPARABLE


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def test_parameter_counts_are_the_published_ones():
    assert parameters(GroupCNN("p4", in_channels=3)) == 24_990
    assert parameters(PlainCNN(in_channels=3)) == 25_570
    assert parameters(GroupCNN("p4m", in_channels=3, channels=7)) == 24_328


@pytest.mark.parametrize("separable", ["g", "gc"])
@pytest.mark.parametrize(("name", "c", "order"), [("p4", 10, 4), ("p4m", 7, 8)])
def test_parameter_counts_of_separable_networks(separable, name, c, order):
    """Six layers share spatial filters, five of 9 pixels and one of 16; all have biases, scales and shifts."""
    spatial = (5 * 9 + 16) * (c if separable == "gc" else c * c)
    expected = 27 * c + spatial + 6 * order * c * c + 7 * 3 * c + 10 * c + 10
    assert parameters(GroupCNN(name, in_channels=3, channels=c, separable=separable)) == expected


@pytest.mark.parametrize(
    ("build", "weights"),
    [
        (lambda: GroupCNN("p4", channels=2), ["weight"]),
        (lambda: GroupCNN("p4", channels=2, separable="g"), ["depthwise_weight", "pointwise_weight"]),
        (lambda: GroupCNN("p4", channels=2, separable="gc"), ["depthwise_weight", "pointwise_weight"]),
        (lambda: PlainCNN(channels=2), ["weight"]),
    ],
)
def test_state_dict_keys_and_round_trip(build, weights):
    model, twin = build().eval(), build().eval()
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    expected = {f"conv{i}.{key}" for i in range(2, 8) for key in (*weights, "bias")} | {"conv1.weight", "conv1.bias"}
    expected |= {f"bn{i}.{key}" for i in range(1, 8) for key in norm} | {"fc.weight", "fc.bias"}
    assert set(model.state_dict()) == expected
    images = torch.randn(2, 1, 12, 12)
    assert not torch.equal(model(images), twin(images))
    twin.load_state_dict(model.state_dict())
    assert torch.equal(model(images), twin(images))


@pytest.mark.parametrize(("name", "separable"), [("p4", ""), ("p4m", ""), ("p4", "g"), ("p4m", "gc")])
def test_exact_on_even_sizes_alone(orbit, name, separable):
    model = GroupCNN(name, channels=2, separable=separable).eval()
    for size in (26, 27, 28, 29):
        found = orbit(model, torch.randn(8, 1, size, size), group(name))
        assert (found.breaking < 1e-24) == (size % 2 == 0)
        assert found.breaking < 1e-24 or found.breaking > 1e-9


@pytest.mark.parametrize(("name", "separable"), [("p4", ""), ("p4m", ""), ("D2(axes)", ""), ("p4", "gc"), ("p4m", "g")])
def test_every_declared_type_is_true_at_an_exact_size(outputs, name, separable):
    G = group(name)
    model = GroupCNN(G, channels=2, separable=separable).eval()
    images = torch.randn(2, 1, 12, 12)
    upright = outputs(model, images)
    for element in G.elements[1:]:
        moved = torch.rot90(images, element.quarter_turns, (-2, -1))
        turned = outputs(model, moved.flip(-2) if element.reflected else moved)
        for layer, module in model.named_modules():
            field = declared(module)
            assert field is not None, layer
            assert field.fits(tuple(upright[layer].shape)), layer
            torch.testing.assert_close(turned[layer], field.act(upright[layer], element), rtol=0, atol=1e-10)


def test_the_plain_twin_breaks_from_its_first_filter(orbit, outputs):
    model = PlainCNN(channels=2, dropout=0.0)
    images = torch.randn(4, 1, 28, 28)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # running statistics of this one batch, so that biases do not drown the signal
    model(images)
    model.eval()
    assert orbit(model, images, group("C4")).breaking > 1e-6
    assert orbit(model.conv1, images, group("C4")).breaking > 1e-2
    found = outputs(model, images)
    for layer, module in model.named_modules():
        assert declared(module) is not None, layer
        assert declared(module).fits(tuple(found[layer].shape)), layer


def test_where_it_drops_and_pools():
    names = [name for name, _ in GroupCNN("p4").named_children()]
    assert [name for name in names if name.startswith("drop")] == ["drop1", "drop3", "drop4", "drop5"]
    assert names[names.index("pool") - 1] == "relu2"
    assert all(d.p == 0.25 for d in GroupCNN("p4", dropout=0.25).modules() if isinstance(d, nn.Dropout))


@pytest.mark.parametrize("separable", SEPARABLE)
def test_training_step_moves_every_parameter(separable):
    model = GroupCNN("p4", channels=2, separable=separable)
    model(torch.randn(4, 1, 12, 12)).square().sum().backward()
    found = {name: p.grad for name, p in model.named_parameters()}
    assert all(grad is not None and torch.isfinite(grad).all() for grad in found.values())
    assert all(grad.any() for name, grad in found.items() if "weight" in name)
