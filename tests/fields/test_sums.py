"""Norms, distances and L1 sums of an aligned orbit against float64 loops; sums add."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eqviz.fields.sums import OrbitSums, reduce_orbit

NAMES = ("norms", "distances", "differences", "magnitude")


def brute(aligned: np.ndarray) -> dict[str, np.ndarray]:
    """By definition, in float64 and one image and element at a time."""
    order, batch = aligned.shape[:2]
    A = aligned.astype(np.float64)
    return {
        "norms": np.array([[(A[g, b] ** 2).sum() for g in range(order)] for b in range(batch)]),
        "distances": np.array(
            [[[((A[g, b] - A[h, b]) ** 2).sum() for h in range(order)] for g in range(order)] for b in range(batch)]
        ),
        "differences": np.array([[np.abs(A[g, b] - A[0, b]).sum() for g in range(order)] for b in range(batch)]),
        "magnitude": np.array([np.abs(A[0, b]).sum() for b in range(batch)]),
    }


@pytest.mark.parametrize("shape", [(1,), (7,), (3, 8), (3, 5, 5), (2, 4, 6, 6)])
@pytest.mark.parametrize("order", [1, 2, 8])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_against_float64_loops(dtype, order, shape):
    aligned = torch.randn(order, 3, *shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    found = reduce_orbit(aligned)
    assert found.images == 3
    # short dtypes are summed in float32 over at most 144 entries of a channel: a few of its epsilons
    relative = 1e-14 if dtype == torch.float64 else 16 * 2.0**-23
    for name, expected in brute(aligned.double().numpy()).items():
        value = getattr(found, name)
        assert value.dtype == np.float64
        np.testing.assert_allclose(value, expected, rtol=relative, atol=0, err_msg=name)


def test_equal_elements_differ_by_exactly_nothing():
    aligned = torch.randn(1, 2, 3, 9, 9).expand(8, -1, -1, -1, -1)
    found = reduce_orbit(aligned)
    assert not found.distances.any()
    assert not found.differences.any()
    assert (found.norms == found.norms[:, :1]).all()


def test_a_small_difference_of_large_vectors_is_not_cancelled():
    aligned = torch.full((2, 1, 3, 16), 1000.0)
    aligned[1] += 2.0**-10  # a Gram of these in float32 would give 0 or worse
    # a few float32 roundings
    assert reduce_orbit(aligned).distances[0, 0, 1] == pytest.approx(48 * 2.0**-20, rel=1e-6)


@pytest.mark.parametrize("shape", [(1, 512, 512), (1, 8, 28, 28), (2, 224, 112)])
def test_rounding_does_not_pile_up_over_large_maps(shape):
    aligned = torch.zeros(2, 1, *shape)
    aligned[0] = 0.1  # equal entries round in the same direction: in one go 512 x 512 of them lose 2e-3 of the L1 sum
    found, expected = reduce_orbit(aligned), brute(aligned.numpy())
    # 1e-5: at most 1024 additions one after the other, each off by less than 2^-24 of the sum so far
    for name in NAMES:
        np.testing.assert_allclose(getattr(found, name), expected[name], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_activations_that_are_not_finite_stay_visible(bad):
    aligned = torch.ones(2, 2, 3)
    aligned[1, 0, 0] = bad
    found = reduce_orbit(aligned)
    assert not np.isfinite(found.norms[0, 1])
    assert not np.isfinite(found.distances[0, 0, 1])
    assert np.isfinite(found.norms[1]).all()
    assert found.distances[1, 0, 1] == 0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 10), max_size=4))
def test_any_split_into_batches_merges_to_the_whole(cuts):
    aligned = torch.randn(4, 10, 3, 5, generator=torch.Generator().manual_seed(2))
    whole = reduce_orbit(aligned).summed()
    edges = sorted({0, 10, *cuts})
    parts = [reduce_orbit(aligned[:, a:b]).summed() for a, b in itertools.pairwise(edges)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    assert total.images == whole.images == 10
    for name in NAMES:  # the same ten float64 numbers in another order
        np.testing.assert_allclose(getattr(total, name), getattr(whole, name), rtol=1e-14, err_msg=name)


def test_of_elements_picks_rows_and_columns():
    aligned = torch.randn(8, 2, 6, dtype=torch.float64)
    rows = reduce_orbit(aligned)
    for sums, part in (
        (rows, reduce_orbit(aligned[[0, 3, 5]])),
        (rows.summed(), reduce_orbit(aligned[[0, 3, 5]]).summed()),
    ):
        picked = sums.of_elements([0, 3, 5])
        for name in NAMES:
            np.testing.assert_allclose(getattr(picked, name), getattr(part, name), rtol=1e-14)


def test_sums_compare_by_identity_rather_than_fail():
    one, two = (OrbitSums(np.ones(2), np.zeros((2, 2)), np.zeros(2), np.ones(()), 1) for _ in range(2))
    assert one == one
    assert one != two
