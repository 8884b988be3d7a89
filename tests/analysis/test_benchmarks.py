"""Benchmarks against plain pandas, on tables made by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from eqviz.analysis.benchmarks import accuracy_by_images, benchmark_accuracies, benchmarks
from eqviz.tables import MODEL_KEYS, RUN_KEYS, columns

ANGLES = tuple(range(0, 360, 30))
NETWORKS = (("p4resnet44", 33, "C4"), ("p4resnet44", 32, "C4"), ("p4mresnet44", 33, "D4"), ("z2resnet44", 32, "C4"))
CASES = (("cifar10", "upright"), ("cifar10", "upright, quarter turns"), ("cells", "upright"))


def accuracy(seeds=(0, 1, 2), angles=ANGLES, cases=CASES):
    rng = np.random.default_rng(0)
    rows = []
    for model, size, group in NETWORKS:
        for data, regime in cases:
            for seed in seeds:
                keys = {"run": f"{model}-{size}-{data}-{regime}-{seed}", "model": model, "input_size": size}
                keys |= {"group": group, "seed": seed, "epoch": 9, "data": data, "regime": regime}
                for reflected in (False, True):
                    for angle in angles if not reflected else (0, 90, 180, 270):
                        case = {"angle": float(angle), "reflected": reflected, "grid": angle % 90 == 0, "mask": False}
                        rows.append(keys | case | {"fill": 0.0, "accuracy": rng.uniform(0.4, 0.6), "n": 100})
    return pd.DataFrame(rows)


def networks(table):
    found = table[list(MODEL_KEYS)].drop_duplicates()
    return found.assign(exact=["yes" if size == 33 else "no" for size in found["input_size"]])


def runs(table, images=100):
    found = table[list(RUN_KEYS)].drop_duplicates()
    return found.assign(parameters=range(len(found)), train_images=images)


def brute(part, reflected, angles):
    """One value a run: the mean over some angles."""
    values = []
    for _, run in part.groupby("run"):
        own = [row["accuracy"] for row in run.to_dict("records") if row["reflected"] == reflected]
        at = [row["angle"] for row in run.to_dict("records") if row["reflected"] == reflected]
        values.append(np.mean([value for value, angle in zip(own, at, strict=True) if angle in angles]))
    return np.array(values)


def test_means_and_intervals_are_those_of_numpy_and_scipy():
    table = accuracy()
    found = benchmarks(table, networks(table), runs(table))
    assert tuple(found.columns) == columns("benchmarks")
    assert len(found) == len(NETWORKS) * len(CASES)
    for row in found.to_dict("records"):
        own = table[(table[list(MODEL_KEYS)] == pd.Series({key: row[key] for key in MODEL_KEYS})).all(axis=1)]
        for metric, reflected, angles in (
            ("upright", False, (0,)), ("rotated", False, (0, 90, 180, 270)), ("reflected", True, (0, 90, 180, 270)),
        ):  # fmt: skip
            if metric == "reflected" and row["group"] != "D4":
                assert np.isnan([row["accuracy_reflected"], row["reflected_low"], row["reflected_high"]]).all()
                continue
            values = brute(own, reflected, angles)
            low, high = stats.t.interval(0.95, 2, loc=values.mean(), scale=stats.sem(values))
            assert row[f"accuracy_{metric}"] == pytest.approx(values.mean())
            # fractions: bounds are cut to 0..1
            assert row[f"{metric}_low"] == pytest.approx(max(low, 0))
            assert row[f"{metric}_high"] == pytest.approx(min(high, 1))
        assert row["exact"] == ("yes" if row["input_size"] == 33 else "no")
        assert (row["n_seeds"], row["interval"]) == (3, "95% t interval over seeds")
        assert row["parameters"] == max(runs(own)["parameters"].index.map(lambda i: runs(table)["parameters"][i]))


def test_a_mean_needs_all_quarter_turns():
    table = accuracy(angles=(0, 90, 180))
    found = benchmarks(table, networks(table), runs(table))
    assert found["accuracy_upright"].notna().all()
    assert found["accuracy_rotated"].isna().all()
    without = accuracy(angles=(90,))
    found = benchmarks(without, networks(without), runs(without))
    assert found["accuracy_upright"].isna().all()
    assert found["n_seeds"].eq(3).any()  # of what was measured: mirrored images
    nothing = benchmarks(table.iloc[:0], networks(table), runs(table))
    assert tuple(nothing.columns) == columns("benchmarks")
    assert len(nothing) == 0


def test_one_seed_has_no_interval():
    table = accuracy(seeds=(0,))
    found = benchmarks(table, networks(table), runs(table))
    assert found[["upright_low", "upright_high", "rotated_low"]].isna().all(axis=None)
    assert set(found["interval"]) == {"none"}


def test_accuracy_by_images_has_one_regime_at_all_numbers():
    parts, counts = [], []
    for images in (500, 8000):
        cases = ((data, f"{regime}, {images} images") for data, regime in CASES)
        part = accuracy(cases=tuple(cases))
        part["run"] = part["run"] + f"-{images}"
        parts.append(part)
        counts.append(runs(part, images))
    table, listed = pd.concat(parts), pd.concat(counts)
    found = accuracy_by_images(table, listed)
    assert tuple(found.columns) == columns("accuracy_by_images")
    assert set(found["regime"]) == {"upright", "upright, quarter turns"}
    assert set(found["train_images"]) == {500, 8000}
    assert set(found["metric"]) == {"upright", "rotated", "reflected"}
    values = benchmark_accuracies(table)
    for row in found.to_dict("records"):
        regime = f"{row['regime']}, {row['train_images']} images"
        own = values[
            (values["model"] == row["model"]) & (values["input_size"] == row["input_size"])
            & (values["data"] == row["data"]) & (values["regime"] == regime) & (values["metric"] == row["metric"])
        ]  # fmt: skip
        assert row["mean"] == pytest.approx(own["value"].mean())
        assert row["n_seeds"] == len(own) == 3


def test_runs_that_do_not_say_how_many_images_keep_their_rows():
    table = accuracy()
    found = accuracy_by_images(table, runs(table).assign(train_images=pd.array([pd.NA] * 36, dtype="Int64")))
    assert found["train_images"].isna().all()
    assert len(found) == 9 * 2 + 3 * 3
    assert len(accuracy_by_images(table.iloc[:0], runs(table))) == 0
