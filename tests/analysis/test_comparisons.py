"""Pairs of networks over seeds, on accuracy tables made by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from eqviz.analysis.comparisons import comparisons
from eqviz.analysis.network_values import named_accuracies
from eqviz.analysis.pairwise_tests import holm
from eqviz.errors import EqvizError
from eqviz.tables import COMPARISON_KEYS, columns

RNG = np.random.default_rng(3)
VALUES = {
    ("p4cnn", 15): RNG.normal(0.75, 0.03, 6),
    ("p4cnn", 16): RNG.normal(0.98, 0.004, 6),
    ("z2cnn", 16): RNG.normal(0.10, 0.02, 6),
}


def table(values=VALUES, angle=90.0, seeds=None, **changes):
    rows = []
    for (model, size), scores in values.items():
        for place, score in enumerate(scores):
            seed = place if seeds is None else seeds[model, size][place]
            keys = {"run": f"{model}-{size}-{seed}-{place}", "model": model, "input_size": size, "group": "C4"}
            keys |= {"seed": seed, "epoch": 5, "data": "digits", "regime": "upright"}
            rows.append(
                keys
                | {"angle": angle, "reflected": False, "grid": angle % 90 == 0, "mask": False, "fill": 0.0}
                | {"accuracy": float(score), "balanced_accuracy": float(score), "n": 100}
                | changes
            )
    return pd.DataFrame(rows)


def test_every_pair_once_with_the_tests_of_scipy():
    found = comparisons(table())
    assert tuple(found.columns) == columns("comparisons")
    pairs = list(zip(found["input_size_a"], found["model_a"], found["input_size_b"], found["model_b"], strict=True))
    assert pairs == [(15, "p4cnn", 16, "p4cnn"), (15, "p4cnn", 16, "z2cnn"), (16, "p4cnn", 16, "z2cnn")]
    for row in found.to_dict("records"):
        a, b = VALUES[row["model_a"], row["input_size_a"]], VALUES[row["model_b"], row["input_size_b"]]
        assert row["difference"] == pytest.approx(a.mean() - b.mean())
        assert (row["mean_a"], row["mean_b"]) == pytest.approx((a.mean(), b.mean()))
        assert row["p_welch"] == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue, rel=1e-9)
        assert row["p_paired"] == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-9)
        assert (row["n_a"], row["n_b"], row["n_pairs"], row["family_size"]) == (6, 6, 6, 3)
        assert row["note"] == ""
    assert found["p_welch_holm"].tolist() == pytest.approx(holm(found["p_welch"].tolist()))
    assert found["p_paired_holm"].tolist() == pytest.approx(holm(found["p_paired"].tolist()))


def test_metrics_say_what_they_are_and_do_not_mix():
    parts = [table(angle=float(angle)) for angle in (0, 90, 180, 270)]
    interpolated = [table(angle=10.0), table({key: values - 0.05 for key, values in VALUES.items()}, angle=20.0)]
    reflected = table({key: values * 0 for key, values in VALUES.items()}, reflected=True)
    accuracy = pd.concat([*parts, *interpolated, reflected])
    named = named_accuracies(accuracy)
    assert named["metric"].unique().tolist() == [
        "accuracy at 0 degrees", "accuracy at 90 degrees", "accuracy at 180 degrees", "accuracy at 270 degrees",
        "accuracy, mean over the quarter turns", "accuracy, mean over interpolated angles",
    ]  # fmt: skip
    means = named.groupby(["metric", "model", "input_size"])["value"].mean()
    for (model, size), values in VALUES.items():
        assert means["accuracy, mean over the quarter turns", model, size] == pytest.approx(values.mean())
        assert means["accuracy, mean over interpolated angles", model, size] == pytest.approx(values.mean() - 0.025)
    found = comparisons(accuracy)
    assert found.groupby("metric").size().tolist() == [3] * 6
    assert (found["family_size"] == 3).all()


def test_a_mean_over_quarter_turns_needs_all_of_them():
    named = named_accuracies(pd.concat([table(angle=0.0), table(angle=90.0), table(angle=180.0)]))
    assert named["metric"].unique().tolist() == [f"accuracy at {angle} degrees" for angle in (0, 90, 180)]


def test_networks_are_compared_within_one_group_epoch_data_and_regime():
    for column, other in zip(COMPARISON_KEYS, ("D4", 0, "mnist", "uniform"), strict=True):
        accuracy = pd.concat([table(), table(**{column: other})])
        found = comparisons(accuracy)
        assert found.groupby(column).size().tolist() == [3, 3]


def test_seeds_are_paired_by_their_number():
    order = [4, 2, 0, 1, 5, 3]
    seeds = {key: list(range(6)) for key in VALUES} | {("p4cnn", 16): order}
    found = comparisons(table(seeds=seeds)).iloc[0]
    a, b = VALUES["p4cnn", 15], VALUES["p4cnn", 16]
    assert found["p_paired"] == pytest.approx(stats.ttest_rel(a[order], b).pvalue, rel=1e-9)
    apart = {key: list(range(6)) for key in VALUES} | {("p4cnn", 16): [0, 1, 7, 8, 9, 10]}
    found = comparisons(table(seeds=apart)).iloc[0]
    assert found["n_pairs"] == 2
    assert found["p_paired"] == pytest.approx(stats.ttest_rel(a[:2], b[:2]).pvalue, rel=1e-9)


def test_what_cannot_be_tested_is_missing_and_said():
    cases = {
        "one seed: no test": {("a", 1): [0.5], ("b", 1): [0.6, 0.7]},
        "no spread over seeds: no test": {("a", 1): [1.0, 1.0], ("b", 1): [0.5, 0.5]},
        "2 seeds: only large differences can be significant": {("a", 1): [0.5, 0.6], ("b", 1): [0.5, 0.7]},
        "2 seeds: only large differences can be significant; the same difference in every seed: no paired test": {
            ("a", 1): [0.5, 0.6], ("b", 1): [0.7, 0.8],
        },
    }  # fmt: skip
    for note, values in cases.items():
        (row,) = comparisons(table(values)).to_dict("records")
        assert row["note"] == note
        assert np.isnan(row["p_welch"]) == ("no test" in note and "paired" not in note)
        assert np.isnan(row["p_welch_holm"]) == np.isnan(row["p_welch"])


def test_a_seed_that_is_there_twice_is_not_paired():
    seeds = {("a", 1): [0, 0, 1], ("b", 1): [0, 1, 2]}
    (row,) = comparisons(table({("a", 1): [0.5, 0.6, 0.65], ("b", 1): [0.7, 0.9, 0.8]}, seeds=seeds)).to_dict("records")
    assert row["note"].endswith("a seed is there twice: not paired")
    assert np.isnan(row["p_paired"])
    assert row["n_pairs"] == 0
    assert row["n_a"] == 3
    apart = {("a", 1): [0, 1], ("b", 1): [2, 3]}
    (row,) = comparisons(table({("a", 1): [0.5, 0.6], ("b", 1): [0.7, 0.9]}, seeds=apart)).to_dict("records")
    assert row["note"].endswith("fewer than two seeds in common: not paired")


def test_one_network_or_none_gives_an_empty_table():
    one = {("p4cnn", 16): VALUES["p4cnn", 16]}
    for accuracy in (table(one), table(one).iloc[:0]):
        found = comparisons(accuracy)
        assert tuple(found.columns) == columns("comparisons")
        assert len(found) == 0


def test_sizes_that_are_not_square_are_networks_too():
    values = {("p4cnn", "8x9"): [0.5, 0.6, 0.7], ("p4cnn", "16"): [0.4, 0.5, 0.7]}
    (row,) = comparisons(table(values)).to_dict("records")
    assert (row["input_size_a"], row["input_size_b"]) == ("8x9", "16")


def test_an_unknown_interval_is_refused():
    with pytest.raises(EqvizError, match="interval: expected auto, t or bootstrap; found 'bca'"):
        comparisons(table(), interval="bca")
