"""Orbits, alignment and the Reynolds split against numpy, one element at a time."""

import numpy as np
import pytest
import torch

from eqviz.errors import EqvizError
from eqviz.fields.field_types import Image, Invariant, Regular, Vector
from eqviz.fields.grid_action import act_by_interpolation, disc_mask
from eqviz.fields.orbit import Decomposition, align, orbit, symmetric_part
from eqviz.groups.group import group

D4 = group("D4")


@pytest.mark.parametrize("G", D4.subgroups, ids=str)
def test_orbit_of_square_images_is_one_batch(G, brute_pixels):
    images = np.random.default_rng(0).normal(size=(3, 2, 4, 4))
    (batch,) = orbit(torch.from_numpy(images), G)
    assert batch.positions == tuple(range(G.order))
    for g, moved in zip(G.elements, batch.images.reshape(G.order, 3, 2, 4, 4), strict=True):
        np.testing.assert_array_equal(moved, brute_pixels(images, g))


def test_orbit_of_other_images_is_two_batches_under_a_group_that_transposes(brute_pixels):
    images = np.random.default_rng(0).normal(size=(3, 2, 4, 6))
    plain, transposed = orbit(torch.from_numpy(images), D4)
    assert (plain.positions, transposed.positions) == ((0, 2, 4, 6), (1, 3, 5, 7))
    for batch, shape in ((plain, (4, 6)), (transposed, (6, 4))):
        parts = batch.images.reshape(4, 3, 2, *shape)
        for position, moved in zip(batch.positions, parts, strict=True):
            np.testing.assert_array_equal(moved, brute_pixels(images, D4.elements[position]))
    (alone,) = orbit(torch.from_numpy(images), group("D2"))
    assert alone.positions == (0, 1, 2, 3)


def test_orbit_off_the_grid_interpolates_what_the_grid_cannot():
    images = torch.rand(2, 1, 6, 6)
    (batch,) = orbit(images, group("C8"))
    parts = batch.images.reshape(8, 2, 1, 6, 6)
    for r in range(4):
        assert torch.equal(parts[2 * r], torch.rot90(images, r, (-2, -1)))
        assert torch.equal(parts[2 * r + 1], act_by_interpolation(images, group("C8").elements[2 * r + 1]))


def test_mask_blacks_out_the_corners_first():
    (batch,) = orbit(torch.ones(1, 1, 6, 6), D4, mask=True)
    assert torch.equal(batch.images, disc_mask(6, 6).float().expand(8, 1, 6, 6))


ALIGNED = [
    (Image(), (3, 5, 5)),
    (Image(), (5, 5)),
    (Invariant(), (7,)),
    (Invariant(), (7, 2, 3)),
    *[(Regular(H, flattened=False), (3, H.order, *space)) for H in (D4, group("C4")) for space in ((), (4, 4), (1, 1))],
    *[(Regular(H, flattened=True), (3 * H.order, *space)) for H in (D4, group("C4")) for space in ((), (4, 4), (1, 1))],
]


@pytest.mark.parametrize("subgroup", ["C1", "C2", "C4", "D1(transpose)", "D4"])
@pytest.mark.parametrize(("field", "shape"), ALIGNED, ids=[f"{f}-{s}" for f, s in ALIGNED])
def test_align_undoes_every_element(field, shape, subgroup, brute_pixels, brute_regular):
    G = group(subgroup)
    outputs = np.random.default_rng(0).normal(size=(G.order, 2, *shape))
    stacked = torch.from_numpy(outputs).flatten(0, 1)
    if isinstance(field, Regular) and not field.group.contains_group(G):
        with pytest.raises(EqvizError, match=f"elements that act on {field}".replace("(", r"\(").replace(")", r"\)")):
            align(stacked, G.elements, field)
        return
    aligned = align(stacked, G.elements, field)
    assert aligned.shape == outputs.shape
    for g, output, found in zip(G.elements, outputs, aligned, strict=True):
        if isinstance(field, Invariant):
            expected = output
        elif isinstance(field, Image):
            expected = brute_pixels(output, g.inverse)
        else:
            H = field.group
            unflattened = output.reshape(2, 3, H.order, *output.shape[2 if field.flattened else 3 :])
            expected = brute_regular(unflattened, g.inverse, H).reshape(output.shape)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "field",
    [Image(), Regular(D4), Regular(D4, flattened=True), Vector(D4, np.array([e.matrix for e in D4.elements]))],
    ids=str,
)  # fmt: skip
def test_align_of_half_an_orbit_brings_transposed_maps_back(field):
    shape = {"image": (3,), "regular(D4)": (3, 8), "regular(D4, flattened)": (24,), "vector(D4, 2)": (2,)}[field.name]
    maps = torch.randn(2, *shape, 4, 6, dtype=torch.float64)
    turning = [g for g in D4.elements if g.transposes]
    stacked = torch.cat([field.act(maps, g) for g in turning])
    assert stacked.shape[-2:] == (6, 4)
    # the vector field multiplies by sines and cosines; the others only permute
    tolerance = 1e-14 if isinstance(field, Vector) else 0
    for part in align(stacked, turning, field):
        torch.testing.assert_close(part, maps, rtol=tolerance, atol=tolerance)


def test_align_off_the_grid_acts_by_the_field_type():
    C8 = group("C8")
    features = torch.randn(8, 2, 3, 8, 5, 5, dtype=torch.float64)
    aligned = align(features.flatten(0, 1), C8.elements, Regular(C8))
    for r in range(8):
        moved = features[r].roll(-r, 2)
        if r % 2 == 0:
            expected = torch.rot90(moved, -r // 2, (-2, -1))
            assert torch.equal(aligned[r], expected)
        else:
            expected = act_by_interpolation(moved.flatten(1, 2), C8.elements[-r]).reshape(moved.shape)
            torch.testing.assert_close(aligned[r], expected, rtol=0, atol=1e-14)  # the same sums in another order


@pytest.mark.parametrize(
    "field", [Image(), Vector(D4, np.array([e.matrix for e in D4.elements]))], ids=["image", "vector"]
)
@pytest.mark.parametrize("G", ["D4", "C4"])
def test_maps_that_are_not_square_cannot_be_aligned_under_quarter_turns(field, G):
    elements = group(G).elements
    with pytest.raises(EqvizError, match="found maps of 3 x 5; measure under a group that keeps") as caught:
        align(torch.zeros(2 * len(elements), 2, 3, 5), elements, field)
    assert "\n" not in str(caught.value)


def test_a_field_type_that_does_not_fit_is_refused_in_one_line():
    with pytest.raises(EqvizError, match=r"fit regular\(D4\); found shape \(8, 3, 4, 4\)") as caught:
        align(torch.zeros(8, 3, 4, 4), D4.elements, Regular(D4))
    assert "\n" not in str(caught.value)


def test_reynolds_split_is_orthogonal_and_pythagorean():
    A = np.random.default_rng(5).normal(size=(8, 2, 3, 4))
    parts = Decomposition.of(torch.from_numpy(A))
    S = sum(A) / 8
    np.testing.assert_allclose(parts.symmetric, S, atol=1e-15)  # a mean of eight numbers of size 1
    np.testing.assert_allclose(symmetric_part(torch.from_numpy(A)), S, atol=1e-15)
    assert torch.equal(parts.symmetric + parts.breaking, parts.aligned) or torch.allclose(
        parts.symmetric + parts.breaking, parts.aligned, rtol=0, atol=1e-15
    )
    D = parts.breaking.numpy()
    assert sum((S * D[g]).sum() for g in range(8)) == pytest.approx(0, abs=1e-12)
    assert sum((A[g] ** 2).sum() for g in range(8)) / 8 == pytest.approx(
        (S**2).sum() + sum((D[g] ** 2).sum() for g in range(8)) / 8, rel=1e-12
    )
