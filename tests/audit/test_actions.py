"""Permutations of the fibre: products, restrictions, and how filters act, against brute force."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eqviz.audit.actions import (
    Filters,
    combine,
    compose,
    full_action,
    identity,
    invariant,
    moves,
    reorder,
    restrict,
)
from eqviz.audit.declared_actions import declared_permutation
from eqviz.audit.layout import Atom, CannotFollow, viewed
from eqviz.fields.field_types import field_type
from eqviz.fields.grid_action import act_on_grid
from eqviz.groups.group import group
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d

D4 = group("D4")
PERMUTATIONS = st.integers(1, 6).flatmap(lambda n: st.permutations(list(range(n))))


@pytest.mark.parametrize("g", range(8))
def test_moves_say_where_the_pixels_go(g):
    how = moves(D4.elements[g])
    image = torch.arange(12).reshape(3, 4)
    found = image.T if how.swaps else image
    found = found.flip(0) if how.rows_reversed else found
    found = found.flip(1) if how.columns_reversed else found
    assert torch.equal(found, act_on_grid(image, D4.elements[g]))


@given(outer=PERMUTATIONS, inner=PERMUTATIONS)
@settings(max_examples=60, deadline=None)
def test_a_product_is_taken_apart_again(outer, inner):
    a, b = np.array(outer), np.array(inner)
    found = restrict(combine(a, b), [len(a), len(b)], [1])
    assert found is not None
    assert np.array_equal(found[0], b)
    assert np.array_equal(found[1], a)
    swapped = reorder(combine(a, b), [len(a), len(b)], [1, 0])
    assert np.array_equal(swapped, combine(b, a))


def test_what_mixes_two_axes_cannot_be_restricted_to_one():
    assert restrict(np.array([3, 1, 2, 0]), [2, 2], [1]) is None


@pytest.mark.parametrize("name", ["C4", "D4"])
def test_declared_actions_multiply_as_the_group_does(name):
    G = group(name)
    field = field_type(f"regular({name}, flattened)")
    actions = {g: declared_permutation(field, G, g, 2 * G.order) for g in range(1, G.order)}
    for g, h in itertools.product(actions, repeat=2):
        product = G.compose(g, h)
        wanted = identity(2 * G.order) if product == 0 else actions[product]
        assert np.array_equal(compose(actions, g, h), wanted)


@pytest.mark.parametrize("name", ["C2", "C4", "D1(transpose)", "D2(axes)", "D4"])
def test_the_action_of_group_convolutions_is_found_from_their_filters_alone(name):
    torch.manual_seed(0)
    G = group(name)
    lifting, deeper = LiftingConv2d(G, 2, 3, 3), GroupConv2d(G, 3, 2, 3)
    for g in range(1, G.order):
        first, match = Filters(lifting.planar_filter().detach()).action(G.elements[g], identity(2), [])
        assert match == "yes"
        wanted = declared_permutation(field_type(f"regular({name}, flattened)"), G, g, 3 * G.order)
        assert np.array_equal(first, wanted)
        second, match = Filters(deeper.planar_filter().detach()).action(G.elements[g], first, [])
        assert match == "yes"
        assert second is not None


@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 4])
def test_a_found_action_maps_the_filters_onto_each_other(kernel, groups):
    """Against the definition W[o, i] = g . W[q[o], p[i]], written out."""
    torch.manual_seed(1)
    C4 = group("C4")
    seeds = torch.randn(4 // groups, kernel, kernel, dtype=torch.float64)
    weight = torch.stack([act_on_grid(seeds, element) for element in C4.elements])
    p = identity(4) if groups == 1 else np.array([3, 0, 1, 2])
    action, match = Filters(weight, groups).action(C4.elements[1], p, [])
    assert match == "yes"
    dense = torch.block_diag(*weight.reshape(4, -1)) if groups == 4 else weight.reshape(4, -1)
    dense = dense.reshape(4, 4, kernel, kernel)
    moved = act_on_grid(dense[torch.from_numpy(action)][:, torch.from_numpy(p)], C4.elements[1])
    assert torch.equal(dense, moved)


def test_random_filters_have_no_action_and_nearly_symmetric_ones_only_to_rounding():
    torch.manual_seed(2)
    random = torch.randn(3, 2, 3, 3, dtype=torch.float64)
    quarter = group("C4").elements[1]
    assert Filters(random).action(quarter, identity(2), [identity(3)]) == (None, "no")
    symmetric = sum(act_on_grid(random, g) for g in group("C4").elements)
    assert Filters(symmetric).action(quarter, identity(2), [identity(3)])[1] == "yes"
    assert Filters(symmetric.float()).action(quarter, identity(2), [identity(3)])[1] in ("yes", "rounding")
    nudged = symmetric.clone()
    nudged[0, 0, 0, 0] += 1e-4
    assert Filters(nudged).action(quarter, identity(2), [identity(3)])[1] == "no"


@pytest.mark.parametrize("inputs", [2, 256])
@pytest.mark.parametrize(("error", "expected"), [(2.0**-24, "rounding"), (3e-5, "no")])
def test_filters_of_any_size_are_held_to_rounding(inputs, error, expected):
    torch.manual_seed(3)
    random = torch.randn(3, inputs, 3, 3, dtype=torch.float64)
    symmetric = sum(act_on_grid(random, g) for g in group("C4").elements)
    off = symmetric * (1 + error * torch.randn_like(symmetric))
    quarter = group("C4").elements[1]
    assert Filters(off).action(quarter, identity(inputs), [identity(3)])[1] == expected


def test_taps_follow_the_axes():
    parts = [Atom("fibre", 2), Atom("row taps", 3), Atom("column taps", 3)]
    numbers = torch.arange(18.0).reshape(2, 3, 3)
    for g in range(1, 8):
        action = full_action(identity(2), parts, moves(D4.elements[g]))
        assert action is not None
        moved = numbers.reshape(-1)[torch.from_numpy(action)].reshape(2, 3, 3)
        assert torch.equal(moved, act_on_grid(numbers, D4.elements[g]))
    assert full_action(identity(1), parts[1:2], moves(D4.elements[1])) is None
    with pytest.raises(CannotFollow):
        full_action(identity(1), [parts[1], parts[1]], moves(D4.elements[2]))


def test_numbers_are_the_same_exactly_to_rounding_or_not():
    numbers = np.array([1.0, -2.0])
    assert invariant(numbers, numbers) == "yes"
    assert invariant(numbers, numbers * (1 + 1e-7)) == "rounding"
    assert invariant(numbers, numbers + 1e-3) == "no"


@pytest.mark.parametrize(
    ("shape", "splits"),
    [
        ((2, 3, 48), 0), ((6, 6, 8), 0), ((2, 3, 6, 2, 4), 1), ((2, 3, 3, 2, 4, 2), 2), ((2, 144), 0),
        ((2, 3, 6, 8, 1), 0),
    ],
)  # fmt: skip
def test_views_keep_the_order_of_atoms(shape, splits):
    dims = ((Atom("batch", 2),), (Atom("fibre", 3),), (Atom("rows", 6),), (Atom("columns", 8),))
    found, cut = viewed(dims, shape)
    assert tuple(int(np.prod([a.size for a in dim], dtype=int)) for dim in found) == shape
    assert len(cut) == splits


def test_views_across_rows_and_columns_cannot_be_followed():
    dims = ((Atom("rows", 6),), (Atom("columns", 8),))
    with pytest.raises(CannotFollow):
        viewed(dims, (4, 12))
