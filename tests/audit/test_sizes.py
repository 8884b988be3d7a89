"""Safe sizes against the audit and against brute force, size by size."""

import pytest
import torch
from torch import nn

from eqviz.audit.auditing import examine
from eqviz.audit.sizes import exact_sizes, exactness_by_size, nearest_sizes
from eqviz.errors import EqvizError
from eqviz.fields.field_types import declare
from eqviz.groups.group import group
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d
from tests.audit.laws import judge
from tests.audit.measuring import measure
from tests.audit.random_networks import Network, draw_recipe

SIZES = range(6, 15)


def strided(*strides):
    """One lifting convolution and one group convolution of kernel 3 for every stride."""
    layers = [LiftingConv2d("p4", 1, 2, 3, padding=1)]
    layers += [GroupConv2d("p4", 2, 2, 3, stride=stride, padding=1) for stride in strides]
    return declare(nn.Sequential(*layers), "regular(C4)").double()


@pytest.mark.parametrize("strides", [(2,), (3,), (2, 2)])
def test_exact_sizes_are_those_measured_exact(strides):
    network = strided(*strides)
    measured = [n for n in SIZES if measure([network], 1, (n, n), group("C4"), "C4", count=8).exact]
    assert exact_sizes(network, SIZES, "p4") == measured
    assert exact_sizes(network, SIZES, "p4", part="grid") == measured


def test_exact_sizes_of_pairs_are_those_measured_exact():
    network = strided(3)
    pairs = [(h, w) for h in (6, 7, 8, 10) for w in (7, 9, 13)]
    for name in ("C4", "C2"):
        measured = [pair for pair in pairs if measure([network], 1, pair, group(name), "C4", count=8).exact]
        assert exact_sizes(network, pairs, name) == measured


def test_sizes_keep_their_order_and_kind():
    assert exact_sizes(strided(2), [9, 8, (7, 9), 7], "p4") == [9, (7, 9), 7]
    assert exact_sizes(strided(2), [], "p4") == []
    assert exact_sizes(strided(2), iter([9]), "p4") == [9]


def test_sizes_on_which_the_model_does_not_run_are_not_safe():
    network = nn.Sequential(LiftingConv2d("p4", 1, 2, 5), declare(GroupConv2d("p4", 2, 2, 5), "regular(C4)"))
    assert exact_sizes(network, range(3, 12), "p4") == [9, 10, 11]


def test_nearest_sizes_are_the_nearest_of_the_exact_sizes():
    network = strided(2, 2)
    exact = exact_sizes(network, range(1, 24), "p4")
    for size in (1, 8, 9, 14, 16):
        below, above = nearest_sizes(network, size, "p4")
        assert below == max((n for n in exact if n < size), default=None)
        assert above == min(n for n in exact if n > size)


def test_nearest_sizes_within_reach_only():
    assert nearest_sizes(strided(4, 4), 26, "p4", reach=2) == (None, None)
    below, above = nearest_sizes(strided(4, 4), 26, "p4")
    assert (below, above) == (17, 33)


def test_exactness_by_size_is_the_audit_of_every_size():
    network = strided(2, 2)
    table = exactness_by_size(network, SIZES, "p4")
    assert list(table.columns) == ["input_size", "layer", "call", "depth", "exact", "grid_exact", "surviving"]
    for size in SIZES:
        rows = table[table["input_size"].astype(str).isin([str(size), f"{size}x{size}"])]
        expected = {
            (row.layer, row.call): (row.exact, row.grid_exact, row.surviving)
            for row in examine(network, size, "p4").layers
        }
        found = {(r.layer, r.call): (r.exact, r.grid_exact, r.surviving) for r in rows.itertuples()}
        assert found == expected


def test_an_unknown_part_is_an_error():
    with pytest.raises(EqvizError, match="part"):
        exact_sizes(strided(2), SIZES, "p4", part="grd")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3000, 3012))
def test_exact_sizes_of_random_networks(seed):
    """On every size on which such a network runs, safe means measured exact (law 1, over sizes)."""
    recipe = draw_recipe(seed, largest=12, most_steps=4)
    if judge(recipe).unknown:
        pytest.skip("an unknown operation")  # nothing is predicted that could be compared
    network, G = Network(recipe), group(recipe.measured)
    sizes = [recipe.size, (9, 9), (10, 10), (11, 11), (12, 12), (13, 13)]
    safe = exact_sizes(network, sizes, G.name, channels=recipe.channels)
    for size in safe:
        assert measure([network], recipe.channels, size, G, recipe.group).exact, (recipe, size)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_does_not_matter(dtype):
    assert exact_sizes(strided(2).to(dtype), SIZES, "p4") == [n for n in SIZES if n % 2]
