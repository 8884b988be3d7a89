"""Do two networks differ, or do their seeds? Every pair of networks and every named metric, tested over seeds."""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import combinations
from typing import cast

import numpy as np
import pandas as pd

from eqviz.analysis.network_values import named_accuracies
from eqviz.analysis.pairwise_tests import Difference, DifferenceInterval, Values, difference, holm
from eqviz.errors import EqvizError
from eqviz.tables import COMPARISON_KEYS, conform, empty

FEW = 6
"""Below so many seeds a test finds only large differences, and the note says so."""

_NETWORK = ("model", "input_size")


def comparisons(accuracy: pd.DataFrame, *, interval: str = "auto") -> pd.DataFrame:
    """The table `comparisons`: every two networks of the same group, epoch, data and regime, for every named metric.

    Takes the table `accuracy` of several runs. A network is a model at an input size, its seeds are the sample; what
    the metrics are, :func:`eqviz.analysis.network_values.named_accuracies` says. `difference` is mean_a - mean_b,
    with `low` and `high`; `interval` is `auto`, `t` or `bootstrap`, see
    :func:`eqviz.analysis.pairwise_tests.difference`.

    `p_welch`: two-sided, seeds of the two networks independent. `p_paired`: two-sided, over the seeds that both have;
    it is the sharper one only where a seed means the same for both, as with two sizes of one architecture that start
    from the same weights. `p_welch_holm`, `p_paired_holm`: adjusted by Holm's method over the `family_size` pairs of
    the metric, tested or not. A rank test is left out: with five seeds it cannot reach 0.05.
    What cannot be computed is missing, and `note` says why: a single seed, or no spread over seeds at all.
    Raises EqvizError for a method of the interval that is none.

    >>> run = dict(group="C4", epoch=9, data="digits", regime="upright", reflected=False, grid=True, angle=0.0)
    >>> runs = [("p4cnn", seed, 0.98 + seed / 100) for seed in (0, 1)] + [("z2cnn", seed, 0.9) for seed in (0, 1)]
    >>> rows = [dict(run, run=f"{m}-{s}", model=m, input_size=16, seed=s, accuracy=a) for m, s, a in runs]
    >>> comparisons(pd.DataFrame(rows))[["metric", "model_a", "model_b", "difference"]].round(3).to_numpy().tolist()
    [['accuracy at 0 degrees', 'p4cnn', 'z2cnn', 0.085]]
    """
    if interval not in ("auto", "t", "bootstrap"):
        raise EqvizError("interval", expected="auto, t or bootstrap", found=repr(interval), fix="choose one of these")
    method = cast(DifferenceInterval, interval)
    values = named_accuracies(accuracy)
    rows: list[dict[str, object]] = []
    for keys, family in values.groupby([*COMPARISON_KEYS, "metric"], sort=False, observed=True, dropna=False):
        rows += _family(dict(zip([*COMPARISON_KEYS, "metric"], keys, strict=True)), family, method)
    return conform(pd.DataFrame(rows), "comparisons") if rows else empty("comparisons")


def _family(keys: dict[str, object], family: pd.DataFrame, interval: DifferenceInterval) -> Iterator[dict[str, object]]:
    samples = [(key, part) for key, part in family.groupby(list(_NETWORK), sort=False, observed=True)]
    compared = [(a, b, *_compared(a[1], b[1], interval)) for a, b in combinations(samples, 2)]
    tested = [found for _, _, found, _ in compared]
    welch, paired = holm([found.p_welch for found in tested]), holm([found.p_paired for found in tested])
    for (a, b, found, counted), p_welch, p_paired in zip(compared, welch, paired, strict=True):
        named = {"model_a": a[0][0], "input_size_a": a[0][1], "model_b": b[0][0], "input_size_b": b[0][1]}
        adjusted = {"p_welch_holm": p_welch, "p_paired_holm": p_paired, "family_size": len(compared)}
        yield {**keys, **named, **asdict(found), **counted, **adjusted}


def _compared(
    rows_a: pd.DataFrame, rows_b: pd.DataFrame, interval: DifferenceInterval
) -> tuple[Difference, dict[str, object]]:
    """What the tests say, and the other columns of a comparison: means, numbers of seeds and the note."""
    a, b = (rows["value"].to_numpy(dtype=np.float64) for rows in (rows_a, rows_b))
    pairs = _pairs(rows_a, rows_b)
    found = difference(a, b, pairs, interval=interval)
    note = "; ".join(_notes(found, a, b, pairs, twice=_twice(rows_a) or _twice(rows_b)))
    means = {"mean_a": float(a.mean()), "mean_b": float(b.mean())}
    return found, {**means, "n_a": len(a), "n_b": len(b), "n_pairs": len(pairs), "note": note}


def _pairs(rows_a: pd.DataFrame, rows_b: pd.DataFrame) -> Values:
    """Values of the seeds that both networks have, (pair, 2); none where a seed is there twice."""
    if _twice(rows_a) or _twice(rows_b):
        return np.empty((0, 2))
    both = rows_a[["seed", "value"]].merge(rows_b[["seed", "value"]], on="seed", suffixes=("_a", "_b"))
    return both[["value_a", "value_b"]].to_numpy(dtype=np.float64)


def _twice(rows: pd.DataFrame) -> bool:
    return bool(rows["seed"].duplicated().any())


def _notes(found: Difference, a: Values, b: Values, pairs: Values, *, twice: bool) -> Iterator[str]:
    fewest = min(len(a), len(b))
    if fewest < 2:
        yield "one seed: no test"
    elif np.isnan(found.p_welch):
        yield "no spread over seeds: no test"
    elif fewest < FEW:
        yield f"{fewest} seeds: only large differences can be significant"
    if twice:
        yield "a seed is there twice: not paired"
    elif fewest > 1 and len(pairs) < 2:
        yield "fewer than two seeds in common: not paired"
    elif fewest > 1 and np.isnan(found.p_paired) and not np.isnan(found.p_welch):
        yield "the same difference in every seed: no paired test"
