"""Pools and batch norm against torch's own layers, by another route, and against the law."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from eqviz.errors import EqvizError
from eqviz.fields.field_types import Regular
from eqviz.groups.group import group
from eqviz.models.normalisation import GroupBatchNorm2d
from eqviz.models.pooling import CosetMaxPool, GlobalAveragePool, GroupAvgPool2d, GroupMaxPool2d


@settings(max_examples=50, deadline=None)
@given(
    kernel=st.integers(1, 3), stride=st.integers(1, 3) | st.none(),
    padding=st.integers(0, 1), height=st.integers(3, 8), width=st.integers(3, 8),
)  # fmt: skip
def test_spatial_pools_are_torchs_3d_pools_with_a_window_of_one_along_the_group(kernel, stride, padding, height, width):
    padding = min(padding, kernel // 2)
    x = torch.randn(2, 3, 4, height, width)
    step = kernel if stride is None else stride
    window = ((1, kernel, kernel), (1, step, step), (0, padding, padding))
    torch.testing.assert_close(GroupMaxPool2d(kernel, stride, padding)(x), F.max_pool3d(x, *window))
    torch.testing.assert_close(GroupAvgPool2d(kernel, stride, padding)(x), F.avg_pool3d(x, *window))


def test_global_and_coset_pools():
    x = torch.randn(2, 3, 8, 5, 6)
    torch.testing.assert_close(GlobalAveragePool()(x), x.sum((-1, -2)) / 30)
    torch.testing.assert_close(GlobalAveragePool()(x[:, :, 0]), x[:, :, 0].sum((-1, -2)) / 30)
    assert torch.equal(CosetMaxPool()(x[..., 0, 0]), x[..., 0, 0].sort(dim=2).values[:, :, -1])


@pytest.mark.parametrize("name", ["C4", "D4", "D2(diagonals)"])
def test_the_law_holds_at_sizes_that_fit(name):
    G = group(name)
    field = Regular(G)
    norm = GroupBatchNorm2d(3)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(2, 3, G.order, 8, 8)
    whole, pooled = GlobalAveragePool()(x), CosetMaxPool()
    for g in G.elements:
        for layer in (norm, GroupMaxPool2d(2), GroupMaxPool2d(4, 2, 1), GroupAvgPool2d(2), GroupAvgPool2d(4, 2, 1)):
            torch.testing.assert_close(layer(field.act(x, g)), field.act(layer(x), g), rtol=0, atol=1e-10)
        moved = GlobalAveragePool()(field.act(x, g))
        torch.testing.assert_close(moved, field.act(whole, g), rtol=0, atol=1e-10)
        torch.testing.assert_close(pooled(moved), pooled(whole), rtol=0, atol=1e-10)


def test_a_pool_that_does_not_fit_breaks_the_law():
    field, g = Regular(group("C4")), group("C4").elements[1]
    x = torch.randn(16, 3, 4, 7, 7)
    assert (GroupMaxPool2d(2)(field.act(x, g)) - field.act(GroupMaxPool2d(2)(x), g)).abs().max() > 0.1


def test_batch_norm_is_torchs_with_the_group_axis_joined_to_the_batch():
    ours, plain = GroupBatchNorm2d(3), nn.BatchNorm2d(3)
    assert list(ours.state_dict()) == list(plain.state_dict())
    x = 2 + 3 * torch.randn(4, 3, 8, 5, 6)
    joined = x.transpose(1, 2).flatten(0, 1)
    expected = plain(joined).unflatten(0, (4, 8)).transpose(1, 2)
    torch.testing.assert_close(ours(x), expected)
    torch.testing.assert_close(ours.running_mean, plain.running_mean)
    torch.testing.assert_close(ours.running_var, plain.running_var)
    plain.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours.eval()(x), plain.eval()(joined).unflatten(0, (4, 8)).transpose(1, 2))


@pytest.mark.parametrize(
    "build", [lambda: GroupMaxPool2d(0), lambda: GroupAvgPool2d(2, 0), lambda: GroupBatchNorm2d(-3)]
)
def test_sizes_below_one_are_refused(build):
    with pytest.raises(EqvizError, match="whole number"):
        build()


def test_every_layer_says_its_kind():
    assert [layer.kind for layer in (GroupBatchNorm2d(1), GroupMaxPool2d(2), GlobalAveragePool(), CosetMaxPool())] == [
        "normalisation", "pooling", "pooling", "pooling",
    ]  # fmt: skip
