"""State dicts of the GrouPy lineage load into eqviz's networks as they are, and give the same numbers."""

import pytest
import torch
from torch.nn import functional as F

from eqviz.groups.group import group
from eqviz.models.convolutions import LiftingConv2d
from eqviz.models.registry import build_model
from eqviz.models.separable import SEPARABLE
from tests.models import groupy_reference as lineage

POINT_GROUPS = {"P4": "C4", "P4M": "D4"}


def test_elements_stand_in_the_lineages_order():
    """Rows u of u^-1 v as the lineage's separable layers write them out, and eqviz's own products."""
    written = [
        "01234567", "30125674", "23016745", "12307456",
        "45670123", "56743012", "67452301", "74561230",
    ]  # fmt: skip
    G = group("D4")
    for u in range(8):
        found = [lineage.quotient(u, v) for v in range(8)]
        assert found == [int(v) for v in written[u]]
        assert found == [G.compose(G.inverse(u), v) for v in range(8)]


@pytest.mark.parametrize(("k", "stride", "padding"), [(1, 1, 0), (1, 2, 0), (3, 1, 1), (3, 2, 1), (4, 1, 0), (2, 2, 0)])
@pytest.mark.parametrize("name", POINT_GROUPS)
def test_layers_are_theirs(name, k, stride, padding):
    """Even kernels over p4m are eqviz's alone: the lineage refuses them."""
    order = 4 if name == "P4" else 8
    options = {"stride": stride, "padding": padding}
    theirs = lineage.GConv(2, 3, k, fibres=(1, order), **options)
    ours = LiftingConv2d(name, 2, 3, k, **options)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 2, 5, 6)
    torch.testing.assert_close(ours(images), theirs(images), rtol=0, atol=1e-12)
    for kind, layer in SEPARABLE.items():
        theirs = lineage.GConv(2, 3, k, fibres=(order, order), kind=kind, **options)
        ours = layer(name, 2, 3, k, **options)
        ours.load_state_dict(theirs.state_dict())
        maps = torch.randn(2, 2, order, 5, 6)
        torch.testing.assert_close(ours(maps), theirs(maps), rtol=0, atol=1e-12)


CNNS = [  # name, their group, pools, kind, input size
    ("p4cnn", "P4", 1, "", 8), ("p4cnn", "P4", 1, "", 9), ("p4cnn", "P4", 1, "g", 8), ("p4cnn", "P4", 1, "gc", 8),
    ("p4mcnn", "P4M", 1, "", 8), ("p4mcnn", "P4M", 1, "gc", 8), ("z2cnn", "Z2", 1, "", 9),
    ("p4cnn_two_pools", "P4", 2, "", 16), ("p4cnn_two_pools", "P4", 2, "g", 17),
    ("p4mcnn_two_pools", "P4M", 2, "g", 16), ("z2cnn_two_pools", "Z2", 2, "", 18),
]  # fmt: skip


@pytest.mark.parametrize(("name", "theirs", "pools", "kind", "size"), CNNS)
def test_cnns_are_theirs(name, theirs, pools, kind, size):
    """They end in a log-softmax, which eqviz leaves to the loss."""
    network = lineage.trained(lineage.Cnn(theirs, channels=2, pools=pools, kind=kind))
    arguments = {"separable": kind} if kind else {}
    model = build_model(name, in_channels=3, channels=2, **arguments).eval()
    assert model.load_state_dict(network.state_dict(), strict=True)
    images = torch.randn(2, 3, size, size)
    torch.testing.assert_close(F.log_softmax(model(images), 1), network(images), rtol=0, atol=1e-12)


RESNETS = [
    ("p4resnet18_published", "P4", {"head": "flatten"}, 9), ("p4resnet18_published", "P4", {"head": "coset_max"}, 10),
    ("p4resnet18_published", "P4", {"separable": "gc"}, 6), ("p4mresnet18_published", "P4M", {"separable": "g"}, 6),
    ("p4mresnet18_published", "P4M", {"head": "coset_max"}, 6), ("z2resnet18_published", "Z2", {}, 9),
    ("p4resnet44_published", "P4", {"head": "coset_max", "separable": "g"}, 5),
    ("p4resnet44_histology", "P4", {}, 5), ("z2resnet44_histology", "Z2", {}, 6),
]  # fmt: skip


@pytest.mark.parametrize(("name", "theirs", "arguments", "size"), RESNETS)
def test_resnets_are_theirs(name, theirs, arguments, size):
    """Strides, 1x1 shortcuts with their batch norm, which maximum and mean comes first, scores of either output."""
    blocks, widths = ((2,) * 4, (2, 1, 2, 3)) if "18" in name else ((7,) * 3, (2, 1, 2))
    network = lineage.ResNet(
        theirs, blocks, widths, classes=5, coset_max=arguments.get("head") == "coset_max",
        histology="histology" in name, kind=arguments.get("separable", ""),
    )  # fmt: skip
    lineage.trained(network)
    model = build_model(name, classes=5, widths=widths, **arguments).eval()
    assert model.load_state_dict(network.state_dict(), strict=True)
    images = torch.randn(2, 3, size, size)
    scores = network(images)
    scores = scores[0] if isinstance(scores, tuple) else scores
    torch.testing.assert_close(model(images), scores, rtol=1e-10, atol=1e-10)


def test_files_of_theirs_hold_what_their_networks_compute(tmp_path):
    torch.set_default_dtype(torch.float32)
    written = lineage.write_folder(tmp_path, sizes=(8,), seeds=(0,))
    assert sorted(written) == sorted(path.name for path in tmp_path.iterdir())
    for file, network in written.items():
        saved = torch.load(tmp_path / file, weights_only=True)
        state = {name.removeprefix("module."): value for name, value in saved.get("state_dict", saved).items()}
        model = build_model(f"{file.split('_')[0]}cnn", channels=2).eval()
        model.load_state_dict(state, strict=True)
        images = torch.randn(2, 1, 8, 8)
        torch.testing.assert_close(F.log_softmax(model(images), 1), network(images))
