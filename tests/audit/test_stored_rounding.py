"""Filters that are symmetric up to the rounding of what was stored, and fields that act by matrices."""

import numpy as np
import pytest
import torch
from torch import nn

from eqviz.audit.auditing import examine
from eqviz.audit.declared_actions import declared_permutation
from eqviz.fields.field_types import Vector, declare
from eqviz.groups.group import group
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d

QUARTERS = np.array([np.linalg.matrix_power([[0, -1], [1, 0]], r) for r in range(4)], dtype=np.float64)


def exported(noise, *, stated):
    """Group convolutions as plain ones, with filters that differ from symmetric ones by a relative `noise`."""
    layers = []
    for built in (LiftingConv2d(group("C4"), 1, 2, 3), GroupConv2d(group("C4"), 2, 2, 3)):
        weight = built.planar_filter().detach()
        layer = nn.Conv2d(weight.shape[1], weight.shape[0], 3, bias=False)
        layer.weight = nn.Parameter(weight * (1 + noise * torch.rand_like(weight)))
        layers.append(declare(layer, "regular(C4, flattened)") if stated else layer)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.Unflatten(1, (2, 4)))


@pytest.mark.parametrize(
    ("noise", "stated", "exact"),
    [(0, True, True), (0, False, True), (2e-7, True, True), (2e-7, False, None), (1e-4, True, False)],
)
def test_rounding_is_no_coincidence_where_a_field_type_says_what_it_rounds(noise, stated, exact):
    found = examine(exported(noise, stated=stated), 9, "C4")
    assert found.exact is exact
    assert found.grid_exact is True
    rounded = [row for row in found.operations if "rounding" in row.why]
    assert bool(rounded) is (noise == 2e-7)
    assert any("rounding" in note for note in found.notes) is (noise == 2e-7 and stated)


def test_what_follows_filters_of_unsure_symmetry_is_judged_by_itself():
    found = examine(nn.Sequential(exported(2e-7, stated=False), nn.Flatten(1, 2), nn.MaxPool2d(2)), 9, "C4")
    assert [row.exact for row in found.operations] == ["unknown", "unknown", "no"]


def test_fields_that_act_by_matrices_are_unknown_and_not_broken():
    """Gradients turn as vectors do: exact, but no permutation of channels."""
    slope = torch.tensor([[-1.0, 0, 1]] * 3)
    layer = nn.Conv2d(1, 2, 3, bias=False)
    layer.weight = nn.Parameter(torch.stack([slope, -slope.T])[:, None])
    declare(layer, Vector(group("C4"), QUARTERS))
    lengths = nn.Sequential(layer, nn.LPPool2d(2, 2), nn.Conv2d(2, 3, 1))
    found = examine(lengths, 8, "C4")
    assert (found.exact, found.grid_exact) == (None, True)
    assert "matrices" in found.first_fault.why
    assert [row.fibre_exact for row in found.operations if row.op == "conv2d"] == ["unknown", "unknown"]


def test_a_sign_is_no_permutation_not_even_of_the_first_entry():
    field = Vector(group("C4"), QUARTERS)
    assert [declared_permutation(field, group("C4"), g, 2) is None for g in range(4)] == [False, True, True, True]
