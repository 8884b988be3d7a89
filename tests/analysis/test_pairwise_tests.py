"""Tests, sizes and intervals against scipy and against numbers worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from eqviz.analysis.pairwise_tests import difference, holm

A = np.array([0.91, 0.94, 0.90, 0.97, 0.93])
B = np.array([0.80, 0.93, 0.85, 0.88, 0.90])
PAIRS = np.stack([A, B], axis=1)
NO_PAIRS = np.empty((0, 2))


def test_tests_are_those_of_scipy():
    found = difference(A, B, PAIRS)
    assert found.p_welch == pytest.approx(stats.ttest_ind(A, B, equal_var=False).pvalue, rel=1e-12)
    assert found.p_paired == pytest.approx(stats.ttest_rel(A, B).pvalue, rel=1e-12)
    assert found.difference == pytest.approx(A.mean() - B.mean())


def test_the_t_interval_is_that_of_scipy_and_ends_at_zero_where_p_is_one_in_twenty():
    found = difference(A, B[:4], NO_PAIRS)
    expected = stats.ttest_ind(A, B[:4], equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert found.interval == "95% Welch t interval over seeds"
    shifted = difference(A - found.low, B[:4], NO_PAIRS)
    assert shifted.low == pytest.approx(0, abs=1e-12)
    assert shifted.p_welch == pytest.approx(0.05, rel=1e-9)


def test_the_bootstrap_is_that_of_scipy_from_ten_seeds_on():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.9, 0.02, 12), rng.normal(0.88, 0.03, 10)
    found = difference(a, b, NO_PAIRS)
    assert found.interval == "95% bootstrap interval over seeds"
    expected = stats.bootstrap(
        (a, b), lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis), n_resamples=5000, method="percentile",
        rng=np.random.default_rng(7),
    ).confidence_interval  # fmt: skip
    # two sets of 5,000 resamples: their 2.5% quantiles scatter by 0.04 standard errors of 0.011
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.002)
    assert difference(a, b, NO_PAIRS) == found
    assert "Welch" in difference(a, b, NO_PAIRS, interval="t").interval
    assert "bootstrap" in difference(A, B, PAIRS, interval="bootstrap").interval
    assert "Welch" in difference(a, b[:9], NO_PAIRS).interval


def test_effect_sizes_by_hand():
    a, b = np.array([3.0, 4.0, 5.0]), np.array([1.0, 2.0, 3.0])
    # pooled standard deviation 1; J(4) = Gamma(2) / (sqrt(2) Gamma(1.5)) = 1 / (sqrt(2) sqrt(pi) / 2)
    correction = 1 / (math.sqrt(2) * math.sqrt(math.pi) / 2)
    assert difference(a, b, NO_PAIRS).effect_size == pytest.approx(2 * correction, rel=1e-12)
    # of different scatter and number: s^2 = (2 * 1 + 3 * 4) / 5, J(5) = Gamma(2.5) / (sqrt(2.5) Gamma(2))
    c = np.array([0.0, 2.0, 4.0, 2.0 + math.sqrt(4)])
    spread = math.sqrt((2 * 1 + 3 * c.var(ddof=1)) / 5)
    expected = math.gamma(2.5) / math.sqrt(2.5) * (4 - c.mean()) / spread
    assert difference(a, c, NO_PAIRS).effect_size == pytest.approx(expected, rel=1e-12)
    gaps = A - B
    expected = math.gamma(2) / (math.sqrt(2) * math.gamma(1.5)) * gaps.mean() / gaps.std(ddof=1)
    assert difference(A, B, PAIRS).effect_size_paired == pytest.approx(expected, rel=1e-12)


def test_the_published_setting():
    """97.69 +- 0.17 against 98.52 +- 0.26 over 100 seeds: the p-value that was published is below 1e-56."""
    rng = np.random.default_rng(0)
    a, b = (with_moments(rng.normal(size=100), mean, std) for mean, std in ((97.69, 0.17), (98.52, 0.26)))
    found = difference(a, b, NO_PAIRS)
    expected = stats.ttest_ind_from_stats(97.69, 0.17, 100, 98.52, 0.26, 100, equal_var=False).pvalue
    assert found.p_welch == pytest.approx(expected, rel=1e-6)  # a p-value of 1e-62 magnifies rounding
    assert found.p_welch < 1e-56
    assert found.high < -0.7


def with_moments(values, mean, std):
    return mean + std * (values - values.mean()) / values.std(ddof=1)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (A[:1], B[:1]),
        (A[:1], B),
        (np.full(3, 0.9), np.full(3, 0.9)),
        (np.full(3, 1.0), np.full(4, 0.1)),
        (np.array([0.1 + 0.2, 0.3]), np.array([0.7, 0.7])),
    ],
    ids=["one seed each", "one seed", "identical", "constant", "rounding"],
)
def test_no_spread_or_no_second_seed_is_no_test(a, b):
    found = difference(a, b, NO_PAIRS)
    assert found.difference == a.mean() - b.mean()
    assert np.isnan([found.p_welch, found.effect_size, found.low, found.high]).all()
    assert found.interval == "none"


def test_a_network_without_spread_is_compared_with_one_that_has_some():
    constant = np.full(5, 0.98)
    found = difference(constant, B, NO_PAIRS)
    # Welch's test of a constant against a sample is the one-sample test
    assert found.p_welch == pytest.approx(stats.ttest_1samp(B, 0.98).pvalue, rel=1e-9)
    assert np.isfinite([found.low, found.high, found.effect_size]).all()


def test_pairs_that_all_differ_by_the_same_amount_are_no_test():
    pairs = np.stack([A, A - 0.3], axis=1)
    found = difference(A, A - 0.3, pairs)
    assert np.isnan([found.p_paired, found.effect_size_paired]).all()
    assert np.isfinite(found.p_welch)


def test_holm_by_hand():
    # sorted 0.01 0.02 0.03 0.04 times 4 3 2 1 = 0.04 0.06 0.06 0.04, never less than before
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_missing_p_values_count_in_the_family():
    found = holm([float("nan"), 0.01, 0.04])
    assert np.isnan(found[0])
    assert found[1:] == pytest.approx([0.03, 0.08])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_holm_is_monotone_and_never_below_the_raw_values(p):
    adjusted = holm(p)
    assert all(after >= before for after, before in zip(adjusted, p, strict=True))
    assert max(adjusted) <= 1
    in_order = [adjusted[place] for place in np.argsort(p, kind="stable")]
    assert in_order == sorted(in_order)
    # never above Bonferroni
    assert all(after <= min(1, len(p) * before) + 1e-15 for after, before in zip(adjusted, p, strict=True))
