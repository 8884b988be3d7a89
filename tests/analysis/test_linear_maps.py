"""Best maps from second moments, against brute force on the vectors themselves."""

from itertools import permutations

import numpy as np
import pytest

from eqviz.analysis.linear_maps import (
    STRENGTHS,
    best_linear,
    best_orthogonal,
    best_permutation,
    linear_errors,
    squared_error,
)


@pytest.fixture
def random():
    return np.random.default_rng(11)


@pytest.fixture
def vectors(random):
    """Rows x and y that are related, but not exactly."""
    x = random.normal(size=(200, 5)) @ random.normal(size=(5, 5))
    return x, x @ random.normal(size=(5, 5)) + 0.3 * random.normal(size=(200, 5))


def test_the_error_of_a_map_is_that_of_the_vectors(vectors, random):
    x, y = vectors
    M = random.normal(size=(5, 5))
    found = squared_error(M, x.T @ x, x.T @ y, float((y**2).sum()))
    assert found == pytest.approx(((y - x @ M.T) ** 2).sum(), rel=1e-10)  # float64; the sums are far from cancelling


def test_the_best_permutation_is_the_best_of_all(vectors):
    x, y = vectors
    errors = {order: ((y - x[:, order]) ** 2).sum() for order in permutations(range(5))}
    best = min(errors, key=errors.__getitem__)
    assert best_permutation(x.T @ y).tolist() == np.eye(5)[list(best)].tolist()


def test_a_rotation_is_found_again(random):
    x = random.normal(size=(50, 4))
    Q = np.linalg.qr(random.normal(size=(4, 4)))[0]
    np.testing.assert_allclose(best_orthogonal(x.T @ (x @ Q.T)), Q, atol=1e-12)  # float64


def test_no_rotation_nearby_is_better(vectors, random):
    x, y = vectors
    Q = best_orthogonal(x.T @ y)
    np.testing.assert_allclose(Q @ Q.T, np.eye(5), atol=1e-12)  # float64
    least = ((y - x @ Q.T) ** 2).sum()
    for _ in range(50):
        small = 0.1 * random.normal(size=(5, 5))
        near = np.linalg.qr(Q @ (np.eye(5) + small - small.T))[0]
        near = near @ np.diag(np.sign(np.diag(near.T @ Q)))
        assert ((y - x @ near.T) ** 2).sum() >= least


def test_without_a_ridge_it_is_least_squares(vectors):
    x, y = vectors
    reference = np.linalg.lstsq(x, y, rcond=None)[0].T
    np.testing.assert_allclose(best_linear(x.T @ x, x.T @ y, 0.0), reference, rtol=1e-8, atol=1e-10)  # normal equations


def test_fewer_vectors_than_entries_give_the_solution_of_least_norm(random):
    x, y = random.normal(size=(3, 8)), random.normal(size=(3, 8))
    reference = np.linalg.lstsq(x, y, rcond=None)[0].T
    np.testing.assert_allclose(best_linear(x.T @ x, x.T @ y, 0.0), reference, atol=1e-10)  # normal equations


@pytest.mark.parametrize("strength", [1e-3, 1.0])
def test_the_ridge_is_that_of_its_definition(vectors, strength):
    x, y = vectors
    added = strength * np.trace(x.T @ x) / 5
    reference = np.linalg.solve(x.T @ x + added * np.eye(5), x.T @ y).T
    np.testing.assert_allclose(best_linear(x.T @ x, x.T @ y, strength), reference, rtol=1e-9, atol=1e-12)  # float64


def test_errors_on_other_data_are_those_of_the_fitted_maps(vectors, random):
    x, y = vectors
    others = [random.normal(size=(30, 5)) for _ in range(3)]
    xy = np.stack([x.T @ y, x.T @ (y + x)])
    other_xx = others[0].T @ others[0]
    other_xy = np.stack([others[0].T @ others[1], others[0].T @ others[2]])
    other_yy = np.array([(others[1] ** 2).sum(), (others[2] ** 2).sum()])
    found = linear_errors(x.T @ x, xy, other_xx, other_xy, other_yy)
    for g in range(2):
        for s, strength in enumerate(STRENGTHS):
            M = best_linear(x.T @ x, xy[g], strength)
            wanted = squared_error(M, other_xx, other_xy[g], other_yy[g])
            assert found[g, s] == pytest.approx(wanted, rel=1e-9)  # float64, no cancellation


def test_dead_vectors_are_mapped_to_zero():
    nothing = np.zeros((3, 3))
    assert not best_linear(nothing, nothing, 0.0).any()
    assert not linear_errors(nothing, nothing[None], nothing, nothing[None], np.zeros(1)).any()
