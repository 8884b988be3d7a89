"""Linear CKA against the formulas of the papers, its invariances, and what it says of unrelated features."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eqviz.analysis import kernel_alignment
from eqviz.analysis.kernel_alignment import biased_cka, gram_matrix, u_centred, unbiased_cka

ROUNDING = 1e-12  # float64 sums of some thousand terms of order 1


def draw(images, features, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(images, features)))


def hsic_1(K, L):
    """Nguyen, Raghu, Kornblith 2021, equation 3, term by term."""
    n = len(K)
    K, L, one = K - np.diag(np.diag(K)), L - np.diag(np.diag(L)), np.ones(len(K))
    first = np.trace(K @ L)
    second = (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
    third = 2 / (n - 2) * (one @ K @ L @ one)
    return (first + second - third) / (n * (n - 3))


@pytest.mark.parametrize("n", [4, 5, 12])
def test_unbiased_is_the_formula_of_the_paper_on_uncentred_grams(n):
    X, Y = draw(n, 3).numpy() + 2, draw(n, 7, seed=1).numpy() - 1
    K, L = X @ X.T, Y @ Y.T
    expected = hsic_1(K, L) / np.sqrt(hsic_1(K, K) * hsic_1(L, L))
    found = unbiased_cka(gram_matrix(torch.from_numpy(X)), gram_matrix(torch.from_numpy(Y)))
    # at n = 4 the estimate is a ratio of small differences: a few digits more are lost
    assert found == pytest.approx(expected, abs=1e-10)


def test_u_centred_rows_add_to_zero_and_give_hsic():
    K, L = (gram_matrix(draw(9, 4, seed)) for seed in (0, 1))
    np.testing.assert_allclose(u_centred(K).sum(0), 0, atol=ROUNDING * np.abs(K).sum())
    assert (u_centred(K) * u_centred(L)).sum() / (9 * 6) == pytest.approx(hsic_1(K, L), rel=1e-10)


def test_biased_is_the_formula_on_features():
    X, Y = (draw(10, features, features).numpy() for features in (3, 8))
    X, Y = X - X.mean(0), Y - Y.mean(0)
    expected = np.linalg.norm(Y.T @ X) ** 2 / (np.linalg.norm(X.T @ X) * np.linalg.norm(Y.T @ Y))
    assert biased_cka(*(gram_matrix(torch.from_numpy(Z)) for Z in (X, Y))) == pytest.approx(expected, abs=ROUNDING)


@pytest.mark.parametrize("measure", [biased_cka, unbiased_cka])
def test_nothing_changes_under_orthogonal_maps_shifts_and_scales(measure):
    X, Y = draw(11, 6), draw(11, 5, seed=1)
    orthogonal, _ = torch.linalg.qr(draw(6, 6, seed=2))
    before = measure(gram_matrix(X), gram_matrix(Y))
    assert abs(before) < 0.9
    assert measure(gram_matrix(3 * X @ orthogonal + 7), gram_matrix(Y)) == pytest.approx(before, abs=ROUNDING)
    assert measure(gram_matrix(Y), gram_matrix(X)) == pytest.approx(before, abs=ROUNDING)
    assert measure(gram_matrix(X @ orthogonal), gram_matrix(X)) == pytest.approx(1, abs=ROUNDING)
    stretch = torch.diag(torch.tensor([30.0, 1, 1, 1, 1, 1], dtype=torch.float64))
    assert measure(gram_matrix(X @ stretch), gram_matrix(X)) < 0.9


def test_unrelated_features_have_none_and_the_biased_estimate_is_inflated():
    found = np.array([
        [measure(gram_matrix(draw(16, 400, seed)), gram_matrix(draw(16, 400, 1000 + seed))) for seed in range(60)]
        for measure in (unbiased_cka, biased_cka)
    ])  # fmt: skip
    # a single unbiased value scatters by about 1/sqrt(n (n - 3) / 2) = 0.1, their mean over 60 draws by 0.013
    assert abs(found[0].mean()) < 0.05
    assert found[1].min() > 0.9


@given(st.integers(0, 30), st.integers(1, 40))
def test_gram_matrices_add_over_features(cut, at_once):
    X = draw(5, 30).float()
    whole = gram_matrix(X)
    parts = gram_matrix(X[:, :cut]) + gram_matrix(X[:, cut:])
    np.testing.assert_allclose(parts, whole, atol=ROUNDING * np.abs(whole).max())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel_alignment, "_COLUMNS_AT_ONCE", at_once)
        np.testing.assert_allclose(gram_matrix(X), whole, atol=ROUNDING * np.abs(whole).max())


def test_features_on_a_large_mean_lose_nothing_to_it():
    X = draw(8, 20)
    # float32 holds 1000 + x to 6e-5, which is what is left of the features; the mean itself must not be squared
    far = gram_matrix((X + 1000).float())
    np.testing.assert_allclose(far, gram_matrix(X), atol=1e-3 * np.abs(gram_matrix(X)).max())


@pytest.mark.parametrize("value", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_features_have_no_cka(value, dtype):
    constant, other = gram_matrix(torch.full((7, 3), value, dtype=dtype)), gram_matrix(draw(7, 3))
    assert not constant.any()
    for measure in (biased_cka, unbiased_cka):
        assert np.isnan(measure(constant, other))
        assert np.isnan(measure(other, constant))


def test_one_image_that_differs_gives_no_unbiased_estimate():
    features = torch.zeros(6, 2, dtype=torch.float64)
    features[2] = 1.0
    other = gram_matrix(draw(6, 3))
    # every distance is either 0 or that of the one image, and the U-centred matrix is 0
    assert np.isnan(unbiased_cka(gram_matrix(features), other))
    assert np.isfinite(biased_cka(gram_matrix(features), other))
