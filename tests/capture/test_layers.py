"""Which layers are meant, what they are, and how the group acts on them."""

import re

import pytest
import torch
from torch import nn

from eqviz.capture.layers import layer_kind, resolve_field, select_layers, stages
from eqviz.capture.orbit_capture import capture, subsamples
from eqviz.errors import EqvizError
from eqviz.fields.field_types import Image, declare
from eqviz.fields.layer_calls import layer_names, matches, near_names
from eqviz.models.registry import build_model


class Residual(nn.Sequential):
    """A container with a forward of its own."""

    def forward(self, x):
        return x + super().forward(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU())
        self.block = Residual(nn.Conv2d(2, 2, 3, padding=1))
        self.branches = nn.ModuleList([nn.Identity()])
        self.conv1, self.conv2 = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)

    def forward(self, x):
        return self.conv1(self.block(self.stem(x)))


NET = Net()


@pytest.mark.parametrize(
    ("layers", "selected"),
    [
        ("*", ["stem.0", "stem.1", "block", "block.0", "branches.0", "conv1", "conv2", "(output)"]),
        ("stem", ["stem"]),
        ("stem*", ["stem.0", "stem.1"]),
        ("conv1, stem.0", ["stem.0", "conv1"]),
        (["conv?", "(output)"], ["conv1", "conv2", "(output)"]),
        (("conv[12]",), ["conv1", "conv2"]),
        ("stem,*.0", ["stem", "stem.0", "block.0", "branches.0"]),
        (iter(["conv1"]), ["conv1"]),
    ],
)
def test_globs(layers, selected):
    assert list(select_layers(NET, layers)) == selected


@pytest.mark.parametrize("layers", ["cnov1", "conv1,cnov1", ["cnov1"]])
def test_an_unknown_glob_names_its_neighbours(layers):
    with pytest.raises(EqvizError, match=r"layers: .*'cnov1'; near names are (conv1|conv2)") as caught:
        select_layers(NET, layers)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("layers", ["", " , ", [], "Conv1", "branches?"])
def test_what_matches_nothing_is_refused_in_one_line(layers):
    with pytest.raises(EqvizError, match="layers: expected") as caught:
        select_layers(NET, layers)
    assert "\n" not in str(caught.value)


def test_a_container_is_kept_only_where_it_does_something():
    names = select_layers(NET, "*")
    assert "stem" not in names
    assert "branches" not in names
    assert "block" in names  # a Sequential with its own forward adds
    assert list(select_layers(nn.Sequential(nn.ReLU()), "*")) == ["0", "(output)"]


@pytest.mark.parametrize("layers", ["conv2", "conv1, conv2", iter(["conv1", "conv2"]), "branches.0"])
def test_a_layer_named_in_full_that_never_ran_is_an_error(layers):
    name = "branches.0" if layers == "branches.0" else "conv2"
    with pytest.raises(EqvizError, match=f"layer {name}: .*never ran; layers that ran are") as caught:
        capture(NET, torch.rand(2, 1, 5, 5), "C4", layers=layers)
    assert "\n" not in str(caught.value)


def test_a_layer_under_a_glob_that_never_ran_is_listed():
    found = capture(NET, torch.rand(2, 1, 5, 5), "C4", layers="conv*")
    assert [key.layer for key in found.layers] == ["conv1"]
    assert found.skipped == {"conv2": "it never ran"}
    with pytest.raises(EqvizError, match="never ran"):
        capture(NET, torch.rand(2, 1, 5, 5), "C4", layers="branch*")


def test_near_names_fall_back_on_the_first():
    assert near_names("zzz", ["a", "b", "c", "d", "e", "f"]) == ["a", "b", "c", "d", "e"]
    assert near_names("stem.*", layer_names(NET))[0] in ("stem", "stem.0", "stem.1")


def test_matches():
    assert matches("head[logits]", "head[logits]")
    assert matches("head[0][1]", "head[0]*")
    assert matches("conv1", "conv[12]")
    assert not matches("conv3", "conv[12]")
    assert not matches("CONV1", "conv*")


class Kinded(nn.Module):
    kind = "attention"


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        (nn.Conv2d(1, 1, 1), "convolution"),
        (nn.ConvTranspose2d(1, 1, 1), "convolution"),
        (nn.MaxPool2d(2), "pooling"),
        (nn.AdaptiveAvgPool2d(1), "pooling"),
        (nn.BatchNorm2d(1), "normalisation"),
        (nn.InstanceNorm2d(1), "normalisation"),
        (nn.GroupNorm(1, 1), "normalisation"),
        (nn.Dropout2d(), "dropout"),
        (nn.Linear(1, 1), "linear"),
        (nn.ReLU(), "activation"),
        (nn.Softmax(dim=1), "activation"),
        (nn.MultiheadAttention(2, 1), "block"),
        (nn.Sequential(nn.ReLU()), "block"),
        (nn.Flatten(), "other"),
        (Kinded(), "attention"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_kinds(module, kind):
    assert layer_kind("layer", module) == kind
    assert layer_kind("(output)", module) == layer_kind("(output)[0]", module) == "output"


def test_where_a_field_type_comes_from():
    conv = nn.Conv2d(1, 1, 1)
    assert resolve_field("a", conv, (2, 1, 3, 3), {}) == (Image(), "by shape")
    assert resolve_field("a", conv, (2, 8), {})[0].name == "invariant"
    declare(conv, "regular(C4)")
    field, source = resolve_field("a.b", conv, (2, 1, 4, 3, 3), {})
    assert (field.name, source) == ("regular(C4)", "declared")
    given = {"a.*": "image", "*.b": "invariant"}
    field, source = resolve_field("a.b", conv, (2, 1, 4, 3, 3), given)
    assert (field.name, source) == ("invariant", "given")  # the last one that matches
    assert resolve_field("a.c", conv, (2, 1, 4, 3, 3), given)[0] == Image()
    assert resolve_field("head[0]", conv, (2, 8), {"head[0]": "invariant"})[1] == "given"


@pytest.mark.parametrize(
    ("shape", "likely"),
    [
        ((2, 3, 4), "regular(C4)"),
        ((2, 4, 4), "regular(C4)"),
        ((2, 3, 4, 5, 5), "regular(C4)"),
        ((2, 49, 8), "tokens(7, 7)"),
        ((2, 197, 8), "tokens(14, 14, class token)"),
        ((2, 48, 8), "regular(C4)"),
    ],
)
def test_an_undeclared_shape_asks_for_a_declaration_in_one_line(shape, likely):
    with pytest.raises(EqvizError, match=re.escape(f"fields={{'odd': '{likely}'}}")) as caught:
        resolve_field("odd", nn.ReLU(), shape, {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("module", "shape", "last"),
    [
        (nn.Linear(3, 3), (2, 5, 6, 3), True),
        (nn.LayerNorm(4), (2, 4, 4, 4), True),
        (nn.LayerNorm([3, 4, 4]), (2, 3, 4, 4), False),
        (nn.GELU(), (2, 4, 4, 3), True),
        (nn.GELU(), (2, 4, 4, 4), False),
        (nn.GELU(), (2, 3, 4, 4), False),
        (nn.Identity(), (2, 4, 5, 3), False),
        (nn.Conv2d(1, 4, 1), (2, 4, 4, 3), False),
        (nn.MaxPool2d(2), (2, 4, 4, 3), False),
        (nn.BatchNorm2d(4), (2, 4, 4, 3), False),
        (nn.GroupNorm(2, 4), (2, 4, 4, 3), False),
    ],
)
def test_maps_whose_channels_come_last_are_not_taken_for_images(module, shape, last):
    if not last:
        assert resolve_field("a", module, shape, {}) == (Image(), "by shape")
        return
    with pytest.raises(EqvizError, match="channels seem to come last"):
        resolve_field("a", module, shape, {})
    assert resolve_field("a", module, shape, {"a": "image"}) == (Image(), "given")


def test_a_transposed_convolution_enlarges_and_does_not_subsample():
    images, module = torch.zeros(2, 1, 4, 4), nn.ConvTranspose2d(1, 1, 2, stride=2)
    assert not subsamples(module, images, module(images))
    assert subsamples(nn.MaxPool2d(2), images, nn.MaxPool2d(2)(images))


def test_stages_are_the_stem_and_the_containers_that_declare_a_field_type():
    assert stages(build_model("p4resnet8", widths=[1, 2, 3])) == ("conv1", "layers.0", "layers.1", "layers.2")
    inner = declare(nn.Sequential(nn.ReLU()), "image")
    whole = nn.Sequential(nn.Conv2d(1, 1, 1), declare(nn.Sequential(inner), "image"))
    assert stages(whole) == ("0", "1")  # the outermost container
    declare(whole[1], "image", by_glob=True)  # said of all layers at once, so it tells nothing of their order
    assert stages(whole) == ("0", "1.0")


def test_without_stages_there_are_convolutions_pools_and_blocks():
    convolutions = [f"conv{n}" for n in range(1, 8)]
    expected = (*convolutions[:2], "pool", *convolutions[2:], "global_pool", "coset_pool")
    assert stages(build_model("p4cnn", channels=1)) == expected
    assert stages(Net()) == ("stem.0", "block", "conv1", "conv2")  # what lies in a block does not count
    assert stages(nn.Linear(1, 1)) == ()

    class Wrapper(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

    assert stages(Wrapper(Wrapper(Net()))) == tuple(f"inner.inner.{name}" for name in stages(Net()))
    for name in stages(Net()):
        assert name in select_layers(Net(), ",".join(stages(Net())))
