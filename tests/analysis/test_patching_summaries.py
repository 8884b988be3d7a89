"""Summaries over seeds of a small table whose means and exact twins are known by hand."""

import numpy as np
import pandas as pd
import pytest

from eqviz.analysis.patching_summaries import function_split_summary, patching_summary
from eqviz.analysis.patching_summaries import upright_gain as gain_of
from eqviz.errors import EqvizError
from eqviz.tables import MODEL_KEYS, columns, empty

BREAKS, EXACT = 0.1, 1e-14


def upright_gain(patching):
    """With the verdict that is exact where no seed breaks."""
    worst = (
        patching.groupby(list(MODEL_KEYS), dropna=False)["output_breaking"]
        .agg(lambda values: values.max(skipna=False))
        .reset_index()
    )
    answers = ["yes" if breaking <= EXACT else "no" for breaking in worst["output_breaking"]]
    return gain_of(patching, worst.assign(exact=answers))


def rows(size, seed, upright, symmetric, breaking=BREAKS, model="p4cnn", cut=True, **changed):
    """Both scales of one layer of one run."""
    keys = {
        "run": f"{model}-{size}-{seed}", "model": model, "input_size": size, "group": "C4", "seed": seed, "epoch": 5,
        "data": "digits", "regime": "upright", "layer": "pool", "call": 0, "depth": 2, "kind": "pooling",
        "subsamples": True, "cut": cut, "n": 100,
    }  # fmt: skip
    for scale, accuracy, broken in ((0.0, symmetric, 0.0), (1.0, upright, breaking)):
        values = {"accuracy_upright": accuracy, "accuracy_rotated": accuracy / 2, "accuracy_orbit": accuracy}
        values |= {"consistency": 1.0, "output_breaking": broken, "gain_upright": accuracy - upright}
        yield {**keys, "scale": scale, **values, "gain_rotated": (accuracy - upright) / 2, **changed}


def table(*parts):
    return pd.DataFrame([row for part in parts for row in part])[list(columns("patching"))]


def study():
    return table(
        rows(15, 0, 0.90, 0.70), rows(15, 1, 1.00, 0.80), rows(16, 0, 0.80, 0.80, EXACT), rows(16, 1, 0.90, 0.90, EXACT)
    )


def test_mean_lowest_highest_by_measure():
    summary = patching_summary(study())
    assert tuple(summary.columns) == columns("patching_summary")
    chosen = summary[(summary["input_size"] == 15) & (summary["measure"] == "accuracy_upright")].set_index("scale")
    assert chosen.loc[0.0, ["mean", "lowest", "highest", "n_seeds"]].tolist() == pytest.approx([0.75, 0.7, 0.8, 2])
    assert chosen.loc[1.0, "mean"] == pytest.approx(0.95)
    assert len(summary) == 2 * 2 * 7  # networks, scales, measures


def test_a_layer_is_a_cut_if_it_is_one_in_every_seed():
    mixed = table(rows(15, 0, 0.9, 0.7), rows(15, 1, 0.9, 0.7, cut=False), rows(16, 0, 0.9, 0.9))
    cuts = patching_summary(mixed).groupby("input_size")["cut"].agg(["all", "any"])
    assert cuts.loc[15].tolist() == [False, False]
    assert cuts.loc[16].tolist() == [True, True]


def test_values_that_are_not_there_do_not_count():
    some = table(rows(15, 0, 0.9, 0.7), rows(15, 1, 0.9, 0.7, accuracy_rotated=np.nan))
    summary = patching_summary(some).set_index(["measure", "scale"])
    assert summary.loc[("accuracy_rotated", 0.0), "n_seeds"] == 1
    assert summary.loc[("accuracy_upright", 0.0), "n_seeds"] == 2


def test_the_gain_over_the_exact_twin():
    found = upright_gain(study()).set_index("input_size")
    assert tuple(upright_gain(study()).columns) == columns("upright_gain")
    names = [
        "accuracy_upright",
        "accuracy_symmetric",
        "accuracy_exact",
        "gain",
        "gain_left",
        "n_seeds",
        "n_seeds_exact",
    ]
    assert found.loc[15, names].tolist() == pytest.approx([0.95, 0.75, 0.85, 0.10, -0.10, 2, 2])
    assert found.loc[15, ["exact_size", "n"]].tolist() == ["16", 100]
    assert found.loc[16, ["accuracy_exact", "gain", "gain_left"]].isna().all()  # exact itself
    assert found.loc[16, ["exact_size", "n_seeds_exact"]].tolist() == ["", 0]


def test_the_nearest_exact_size_is_the_twin_and_then_the_one_that_breaks_less():
    several = table(
        rows(15, 0, 1.0, 0.5), rows(20, 0, 0.6, 0.6, 1e-16), rows(16, 0, 0.8, 0.8, 1e-13), rows("14x17", 0, 1.0, 0.5),
        rows("14x18", 0, 0.7, 0.7, 1e-15), rows("18x14", 0, 0.75, 0.75, 1e-14),
    ).astype({"input_size": str})  # fmt: skip
    found = upright_gain(several).set_index("input_size")
    assert found.loc["15", ["exact_size", "accuracy_exact"]].tolist() == ["14x18", 0.7]  # 252 pixels, nearer to 225
    assert found.loc["14x17", ["exact_size", "accuracy_exact"]].tolist() == ["14x18", 0.7]


@pytest.mark.parametrize(
    "other",
    [
        {"breaking": EXACT, "model": "z2cnn"},
        {"breaking": EXACT, "regime": "uniform"},
        {"breaking": EXACT, "data": "mnist"},
        {"breaking": EXACT, "epoch": 4},
        {"breaking": EXACT, "group": "C2"},
        {"breaking": 1e-6},
        {"breaking": float("nan")},
    ],
)
def test_no_twin_of_another_kind(other):
    found = upright_gain(table(rows(15, 0, 0.9, 0.7), rows(16, 0, 0.8, 0.8, **other)))
    assert found["gain"].isna().all()
    assert set(found["exact_size"]) == {""}


def test_one_seed_that_breaks_is_enough_to_be_no_twin():
    found = upright_gain(table(rows(15, 0, 0.9, 0.7), rows(16, 0, 0.8, 0.8, EXACT), rows(16, 1, 0.8, 0.8)))
    assert found["gain"].isna().all()


def test_without_scale_0_nothing_is_left_to_compare():
    found = upright_gain(study().query("scale == 1")).set_index("input_size")
    assert np.isnan(found.loc[15, "accuracy_symmetric"])
    assert np.isnan(found.loc[15, "gain_left"])
    assert found.loc[15, "gain"] == pytest.approx(0.1)


def split_rows(seed, fraction, **changed):
    keys = {
        "run": f"a-{seed}", "model": "p4cnn", "input_size": 15, "group": "C4", "seed": seed, "epoch": 5,
        "data": "digits", "regime": "upright", "function": "scores", "distribution": "orbit",
    }  # fmt: skip
    values = {name: 0.5 for name in columns("function_split") if name not in keys}
    return {**keys, **values, "antisymmetric_fraction": fraction, **changed}


def test_the_split_over_seeds():
    split = pd.DataFrame([split_rows(0, 0.1), split_rows(1, 0.3, accuracy_antisymmetric=np.nan)])
    summary = function_split_summary(split).set_index("measure")
    assert summary.loc["antisymmetric_fraction", ["mean", "lowest", "highest", "n_seeds"]].tolist() == pytest.approx(
        [0.2, 0.1, 0.3, 2]
    )
    assert summary.loc["accuracy_antisymmetric", "n_seeds"] == 1
    keys = {"run", "model", "input_size", "group", "seed", "epoch", "data", "regime", "function", "distribution", "n"}
    assert set(summary.index) == set(columns("function_split")) - keys


@pytest.mark.parametrize(
    ("summarise", "name"),
    [(patching_summary, "patching"), (function_split_summary, "function_split")],
)
def test_tables_without_rows_or_columns(summarise, name):
    assert len(summarise(empty(name))) == 0
    with pytest.raises(EqvizError, match=f"table {name}"):
        summarise(pd.DataFrame({"model": ["p4cnn"]}))


def test_the_verdict_decides_what_is_exact_not_the_size_of_the_breaking():
    patching = study()
    verdicts = patching[list(MODEL_KEYS)].drop_duplicates().assign(exact="undecided")
    assert gain_of(patching, verdicts)["gain"].isna().all()
    assert len(gain_of(empty("patching"), verdicts)) == 0
    with pytest.raises(EqvizError, match="table patching"):
        gain_of(pd.DataFrame({"model": ["p4cnn"]}), verdicts)
