"""Ties in maximum pools, counted; and that they are why gradients do not turn with the image."""

import numpy as np
import pytest
import torch
from torch import nn

from eqviz.analysis.attribution_methods import Asked, saliency
from eqviz.analysis.pool_ties import TieCounts, pool_ties, tied_windows
from eqviz.fields.grid_action import act_on_grid
from eqviz.groups.group import group
from eqviz.models.pooling import CosetMaxPool, GroupMaxPool2d


def brute_ties(maps, kernel, stride, padding, dilation, shape):
    """One window at a time, in numpy; what lies outside the map does not count."""
    found = np.zeros((len(maps), *shape), dtype=bool)
    for place, window in np.ndenumerate(found):
        del window
        n, i, j = place
        values = [
            maps[n, y, x]
            for y in range(i * stride - padding, i * stride - padding + dilation * (kernel - 1) + 1, dilation)
            for x in range(j * stride - padding, j * stride - padding + dilation * (kernel - 1) + 1, dilation)
            if 0 <= y < maps.shape[1] and 0 <= x < maps.shape[2]
        ]
        found[place] = values.count(max(values)) > 1
    return found


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"), [(2, 2, 0, 1), (3, 2, 1, 1), (3, 1, 0, 1), (2, 3, 1, 1), (2, 2, 0, 2)]
)
def test_tied_windows_are_those_of_brute_force(kernel, stride, padding, dilation, ceil_mode):
    maps = torch.randint(-3, 1, (2, 3, 8, 7), generator=torch.Generator().manual_seed(0)).float()
    pool = nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil_mode)
    found = tied_windows(pool, maps, pool(maps))
    expected = brute_ties(maps.flatten(0, 1).numpy(), kernel, stride, padding, dilation, pool(maps).shape[-2:])
    np.testing.assert_array_equal(found.numpy(), expected)
    assert expected.any()
    assert not expected.all()


def asked(network, images):
    return Asked(network, images, torch.zeros(len(images), dtype=torch.long), torch.zeros_like(images[:1]))


def test_a_rectified_zero_is_tied_but_passes_nothing_on():
    images = torch.tensor([[[[-1.0, -2.0, 3.0, 3.0], [-1.0, -1.0, 1.0, 0.0]]]])
    for first, live in ((nn.ReLU(), 1), (nn.Identity(), 2)):
        network = nn.Sequential(first, nn.MaxPool2d(2), nn.Flatten())
        # the score of class 0 is the left window alone; the sum of both reaches both
        both = nn.Sequential(network, nn.Linear(2, 1, bias=False))
        nn.init.ones_(both[1].weight)
        assert pool_ties(both, asked(both, images)) == TieCounts(2, 2, live, live)
        assert pool_ties(network, asked(network, images)) == TieCounts(2, 2, live - 1, live - 1)


def test_group_pools_count_for_every_group_element():
    pool = nn.Sequential(GroupMaxPool2d(2), nn.Flatten(), nn.Linear(3 * 4 * 4, 2))
    counts = pool_ties(pool, asked(pool, torch.ones(2, 3, 4, 4, 4)))
    assert counts == TieCounts(2 * 3 * 4 * 4, *(2 * 3 * 4 * 4,) * 3)
    assert (counts.fraction, counts.fraction_with_gradient) == (1.0, 1.0)


def test_a_network_without_maximum_pools_has_no_fraction():
    network = nn.Sequential(nn.AvgPool2d(2), nn.Flatten())
    counts = pool_ties(network, asked(network, torch.ones(1, 1, 4, 4)))
    assert counts == TieCounts()
    assert np.isnan(counts.fraction)
    assert np.isnan(counts.fraction_with_gradient)


def test_counts_add_up_over_images():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3))
    images = torch.randn(6, 1, 8, 8).clamp(min=0)
    parts = [pool_ties(network, asked(network, part)) for part in torch.split(images, [1, 3, 2])]
    assert sum(parts, TieCounts()) == pool_ties(network, asked(network, images))
    assert all(not module._forward_hooks for module in network.modules())


def test_hooks_are_removed_when_the_model_raises():
    class Fails(nn.Module):
        def forward(self, images):
            raise ValueError("no")

    network = nn.Sequential(nn.MaxPool2d(2), Fails())
    with pytest.raises(ValueError, match="no"):
        pool_ties(network, asked(network, torch.ones(1, 1, 4, 4)))
    assert not network[0]._forward_hooks


def test_an_in_place_layer_after_the_pool_changes_nothing():
    images = torch.tensor([[[[-1.0, -1.0, 3.0, 3.0], [-1.0, -2.0, 1.0, 0.0]]]])
    for inplace in (False, True):
        network = nn.Sequential(nn.MaxPool2d(2), nn.ReLU(inplace), nn.Flatten(), nn.Linear(2, 1))
        # both windows are tied; the left one is rectified away, so that no gradient reaches it
        assert pool_ties(network, asked(network, images)) == TieCounts(2, 2, 1, 1)


class EvenMaxPool(nn.Module):
    """Maximum over windows of 2 x 2 whose gradient is shared between equal entries."""

    def forward(self, maps):
        return torch.amax(maps.unfold(-2, 2, 2).unfold(-2, 2, 2), dim=(-1, -2))


@pytest.mark.parametrize(("pool", "turns"), [(nn.MaxPool2d(2), False), (EvenMaxPool(), True)])
def test_ties_are_why_a_gradient_does_not_turn_with_the_image(pool, turns):
    def invariant(images):
        return pool(images).square().flatten(1).sum(1)

    images = torch.ones(1, 1, 4, 4)
    gradients = [
        saliency(Asked(invariant, shown, None, torch.zeros_like(images)))
        for shown in (images, act_on_grid(images, group("C4").elements[1]))
    ]
    assert torch.equal(act_on_grid(gradients[0], group("C4").elements[1]), gradients[1]) == turns


def test_the_maximum_over_the_group_axis_shares_its_gradient():
    fibre = torch.ones(1, 1, 4, requires_grad=True)
    CosetMaxPool()(fibre).sum().backward()
    assert fibre.grad.flatten().tolist() == [0.25] * 4
