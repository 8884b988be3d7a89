"""Two samples of values, one value a seed: tests of their difference, its size and its interval.

Welch's test does not assume that both samples scatter alike: B. Welch, "The generalization of 'Student's' problem when
several different population variances are involved", Biometrika 34 (1947). Effect sizes: L. Hedges, "Distribution
theory for Glass's estimator of effect size and related estimators", Journal of Educational Statistics 6 (1981). Many
tests at once: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6
(1979).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special, stats

DifferenceInterval = Literal["auto", "t", "bootstrap"]
Values = npt.NDArray[np.float64]

CONFIDENCE = 0.95
FEWEST_FOR_BOOTSTRAP = 10
"""Of fewer values the bootstrap is too narrow: with 3 normal ones each it holds the true difference in 81 of 100 cases,
with 5 in 87, with 10 in 93."""

RESAMPLES = 5000
NO_SPREAD = 1e-12
"""A standard deviation of fractions below this is rounding: the values are one and the same number."""

MISSING = float("nan")


@dataclass(frozen=True)
class Difference:
    """What two samples say about the difference of their means, a - b; what cannot be said is NaN.

    `effect_size` is Hedges' g: the difference in pooled standard deviations, corrected for small samples.
    `effect_size_paired` is the same correction of the mean difference in standard deviations of the differences.
    """

    difference: float
    low: float
    high: float
    interval: str
    p_welch: float
    p_paired: float
    effect_size: float
    effect_size_paired: float


def difference(a: Values, b: Values, pairs: Values, *, interval: DifferenceInterval = "auto") -> Difference:
    """Tests, sizes and interval of mean(a) - mean(b); `pairs` (pair, 2) are values of a and b that belong together.

    With one value, or without any spread, a test has no answer and is missing; so are sizes without a spread to be
    measured by. The interval is Welch's t interval (`t`), or the percentile interval of 5,000 resamples of each sample
    (`bootstrap`, fixed seed); `auto` takes the bootstrap from ten values of each on.

    >>> found = difference(np.array([3.0, 4.0, 5.0]), np.array([1.0, 2.0, 3.0]), np.empty((0, 2)))
    >>> round(found.difference, 3), round(found.p_welch, 3), round(found.effect_size, 3)
    (2.0, 0.07, 1.596)
    """
    gaps = pairs[:, 0] - pairs[:, 1]
    return Difference(
        float(a.mean() - b.mean()), *_interval(a, b, interval), p_welch=_welch(a, b), p_paired=_paired(gaps),
        effect_size=_hedges(a, b), effect_size_paired=_hedges_paired(gaps),
    )  # fmt: skip


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: the k-th smallest times (m - k + 1), never less than one before.

    m counts all of them, also missing ones (NaN), which stay missing.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")  # NaN last
    steps = np.minimum(p[order] * np.arange(len(p), 0, -1), 1.0)
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(steps)
    return [float(value) for value in adjusted]


def _welch(a: Values, b: Values) -> float:
    if min(len(a), len(b)) < 2 or max(_spread(a), _spread(b)) == 0:
        return MISSING
    samples = a.mean(), _spread(a), len(a), b.mean(), _spread(b), len(b)
    return float(stats.ttest_ind_from_stats(*samples, equal_var=False).pvalue)


def _paired(gaps: Values) -> float:
    """Student's t test of the mean difference of pairs, on n - 1 degrees of freedom."""
    spread = _spread(gaps)
    if spread == 0:
        return MISSING
    t = gaps.mean() / (spread / np.sqrt(len(gaps)))
    return float(2 * stats.t.sf(abs(t), len(gaps) - 1))


def _hedges(a: Values, b: Values) -> float:
    free = len(a) + len(b) - 2
    if min(len(a), len(b)) < 2 or max(_spread(a), _spread(b)) == 0:
        return MISSING
    pooled = np.sqrt(((len(a) - 1) * _spread(a) ** 2 + (len(b) - 1) * _spread(b) ** 2) / free)
    return float(_correction(free) * (a.mean() - b.mean()) / pooled)


def _hedges_paired(gaps: Values) -> float:
    spread = _spread(gaps)
    return MISSING if spread == 0 or len(gaps) < 3 else float(_correction(len(gaps) - 1) * gaps.mean() / spread)


def _correction(free: int) -> float:
    """Gamma(m / 2) / (sqrt(m / 2) Gamma((m - 1) / 2)) for m > 1 degrees of freedom; about 1 - 3 / (4 m - 1)."""
    return float(np.exp(special.gammaln(free / 2) - special.gammaln((free - 1) / 2)) / np.sqrt(free / 2))


def _spread(values: Values) -> float:
    """Standard deviation (ddof 1), 0 where there is none or all of it is rounding."""
    found = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return found if found > NO_SPREAD else 0.0


def _interval(a: Values, b: Values, method: DifferenceInterval) -> tuple[float, float, str]:
    if min(len(a), len(b)) < 2 or max(_spread(a), _spread(b)) == 0:
        return MISSING, MISSING, "none"
    if method == "bootstrap" or (method == "auto" and min(len(a), len(b)) >= FEWEST_FOR_BOOTSTRAP):
        rng = np.random.default_rng(0)
        means = [rng.choice(values, size=(RESAMPLES, len(values))).mean(axis=1) for values in (a, b)]
        low, high = np.quantile(means[0] - means[1], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        return float(low), float(high), f"{CONFIDENCE:.0%} bootstrap interval over seeds"
    parts = _spread(a) ** 2 / len(a), _spread(b) ** 2 / len(b)
    free = sum(parts) ** 2 / (parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, free) * np.sqrt(sum(parts)))
    gap = float(a.mean() - b.mean())
    return gap - half, gap + half, f"{CONFIDENCE:.0%} Welch t interval over seeds"
