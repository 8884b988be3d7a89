"""Summaries over seeds against scipy and plain pandas, and the verdict of a network on tables made by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from eqviz.analysis.summaries import (
    accuracy_overview,
    accuracy_summary,
    equivariance_summary,
    interval_over_seeds,
    networks_summary,
    over_seeds,
    spectrum_summary,
    subgroups_summary,
)
from eqviz.groups.group import group
from eqviz.tables import MODEL_KEYS, SCHEMAS

VALUES = np.array([0.91, 0.94, 0.9, 0.97])
BASE = {
    "model": "p4cnn", "input_size": 16, "group": "C4", "epoch": 25, "data": "digits", "regime": "upright",
}  # fmt: skip


def keys(seed=0, **changes):
    base = BASE | changes
    return {"run": f"{base['model']}-{base['input_size']}-{base['regime']}-{base['data']}-{seed}", "seed": seed, **base}


@pytest.mark.parametrize("method", ["t", "auto"])
def test_t_interval_is_that_of_scipy(method):
    low, high = stats.t.interval(0.95, 3, loc=VALUES.mean(), scale=stats.sem(VALUES))
    found = interval_over_seeds(VALUES, method)
    assert found[:2] == pytest.approx((low, high))
    assert found[2] == "95% t interval over seeds"


def test_bootstrap_interval_is_that_of_scipy():
    expected = stats.bootstrap(
        (VALUES,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(5)
    ).confidence_interval
    low, high, name = interval_over_seeds(VALUES, "bootstrap")
    # two sets of 2,000 resamples: quantiles scatter by a few hundredths of the spread, 0.032
    assert (low, high) == pytest.approx(tuple(expected), abs=0.006)
    assert name == "95% bootstrap interval over seeds"
    assert interval_over_seeds(VALUES, "bootstrap") == (low, high, name)


def test_two_seeds_have_a_range_unless_asked_otherwise():
    assert interval_over_seeds(VALUES[:2]) == (0.91, 0.94, "range over seeds")
    assert interval_over_seeds(VALUES, "range") == (0.9, 0.97, "range over seeds")
    # Student's t with one degree of freedom has its 97.5% point at 12.706
    low, high, _ = interval_over_seeds(VALUES[:2], "t")
    assert (high - low) / 2 == pytest.approx(12.7062 * 0.03 / 2, rel=1e-5)


@pytest.mark.parametrize("method", ["auto", "t", "bootstrap", "range"])
def test_too_few_or_missing_values_have_no_interval(method):
    for values in ([0.5], [], [0.5, np.nan, 0.7]):
        low, high, name = interval_over_seeds(np.array(values, dtype=float), method)
        assert np.isnan([low, high]).all()
        assert (name == "none") is (len(values) < 2)


def accuracy_table(values, angle=0.0, reflected=False, **changes):
    grid = angle % 90 == 0
    return pd.DataFrame(
        [
            {**keys(seed, **changes), "angle": angle, "reflected": reflected, "grid": grid, "mask": False, "fill": 0.0,
             "accuracy": value, "balanced_accuracy": value, "n": 100}
            for seed, value in enumerate(values)
        ]
    )  # fmt: skip


def test_over_seeds_is_what_pandas_says():
    table = pd.concat([accuracy_table(VALUES), accuracy_table(VALUES - 0.3, 90.0), accuracy_table([0.4], 180.0)])
    found = over_seeds(table, "accuracy", ["model", "angle"]).set_index("angle")
    expected = table.groupby("angle")["accuracy"].agg(["mean", "std", "count"])
    pd.testing.assert_frame_equal(
        found[["mean", "std", "n_seeds"]], expected.rename(columns={"count": "n_seeds"}), check_names=False
    )
    assert found["interval"].tolist() == ["95% t interval over seeds"] * 2 + ["none"]
    assert over_seeds(table, "accuracy", ["model"], interval="bootstrap")["interval"][0].startswith("95% bootstrap")


def test_intervals_stay_within_fractions():
    found = over_seeds(accuracy_table([0.99, 1.0]), "accuracy", ["model"], interval="t").iloc[0]
    assert interval_over_seeds(np.array([0.99, 1.0]), "t")[1] > 1
    assert found["high"] == 1
    assert over_seeds(accuracy_table([0.0, 0.1]), "accuracy", ["model"], interval="t")["low"].item() == 0


def test_accuracy_summary_keeps_every_condition_apart():
    parts = [
        accuracy_table(VALUES),
        accuracy_table(VALUES / 2, reflected=True),
        accuracy_table(VALUES / 3).assign(mask=True),
        accuracy_table(VALUES / 4).assign(fill=1.0),
        accuracy_table(VALUES / 5, data="mnist"),
        accuracy_table(VALUES / 6, regime="uniform"),
        accuracy_table(VALUES / 7, epoch=1),
        accuracy_table(VALUES / 8, input_size="8x9"),
    ]
    found = accuracy_summary(pd.concat(parts))
    assert tuple(found.columns) == SCHEMAS["accuracy_summary"]
    assert found["mean"].tolist() == pytest.approx([VALUES.mean() / n for n in range(1, 9)])
    assert found["n_seeds"].tolist() == [4] * 8


def test_overview_never_mixes_exact_and_interpolated_angles():
    angles = {0.0: 0.99, 90.0: 0.5, 180.0: 0.4, 270.0: 0.7, 45.0: 0.2, 10.0: 0.8}
    parts = [accuracy_table([value, value - 0.1], angle) for angle, value in angles.items()]
    mirrored = [accuracy_table([0.01, 0.02], angle, reflected=True) for angle in (0.0, 90.0)]
    found = accuracy_overview(pd.concat(parts + mirrored)).set_index("metric")
    exact, between = np.mean([0.99, 0.5, 0.4, 0.7]), np.mean([0.2, 0.8])
    expected = {
        "0°": 0.99, "90°": 0.5, "180°": 0.4, "270°": 0.7, "mean of quarter turns": exact,
        "mean of interpolated angles": between,
    }  # fmt: skip
    assert found["mean"].to_dict() == pytest.approx({name: value - 0.05 for name, value in expected.items()})
    assert found["n_seeds"].tolist() == [2] * 6


def test_overview_of_few_angles_has_only_these():
    found = accuracy_overview(accuracy_table(VALUES, 45.0))
    assert found["metric"].tolist() == ["mean of interpolated angles"]


LAYERS = ("conv1", "pool", "fc")


def layer_rows(fractions, seed=0, layers=LAYERS, **changes):
    """Equivariance rows of one run; `fractions` one a layer, of which the last and all `(output)...` are outputs."""
    kinds = ["output" if layer == layers[-1] or "(output)" in layer else "convolution" for layer in layers]
    return pd.DataFrame(
        [
            {**keys(seed, **changes), "layer": layer, "call": 0, "depth": depth, "kind": kinds[depth],
             "subsamples": layer == "pool", "grid": True, "breaking_fraction": fraction, "floor": 1e-14 * (seed + 1)}
            for depth, (layer, fraction) in enumerate(zip(layers, fractions, strict=True))
        ]
    )  # fmt: skip


def subgroup_rows(surviving, seed=0, layers=LAYERS, **changes):
    """Subgroup rows of one run; `surviving` one set of names a layer, or None for a layer where all is undecided."""
    base = keys(seed, **changes)
    rows = []
    for depth, (layer, names) in enumerate(zip(layers, surviving, strict=True)):
        for H in group(base["group"]).subgroups:
            answer = pd.NA if names is None else H.name in names
            residual = 0.0 if names is not None and H.name in names else 0.1 * (seed + 1)
            rows.append({**base, "layer": layer, "call": 0, "depth": depth, "subgroup": H.name,
                         "residual": residual, "survives": answer})  # fmt: skip
    return pd.DataFrame(rows).astype({"survives": "boolean"})


ALL, TRIVIAL = {"C1", "C2", "C4"}, {"C1"}


def network(runs, accuracy=None):
    """The networks table of runs given as (fractions, surviving, seed, changes)."""
    equivariance = pd.concat([layer_rows(f, seed, **changes) for f, _, seed, changes in runs], ignore_index=True)
    subgroups = pd.concat([subgroup_rows(s, seed, **changes) for _, s, seed, changes in runs], ignore_index=True)
    if accuracy is None:
        accuracy = pd.concat([accuracy_table([0.9], **changes) for *_, changes in runs], ignore_index=True)
    return networks_summary(equivariance, subgroups, accuracy)


EXACT = [1e-14] * 3
BROKEN = [1e-14, 0.1, 0.2]


def test_an_exact_network():
    found = network([(EXACT, [ALL] * 3, 0, {}), (EXACT, [ALL] * 3, 1, {})]).iloc[0]
    assert found[["exact", "surviving", "first_broken", "n_seeds"]].tolist() == ["yes", "C4", "", 2]
    assert found["floor"] == 2e-14
    assert found["breaking_fraction"] == 1e-14
    assert found["accuracy_0"] == pytest.approx(0.9)
    assert np.isnan(found["accuracy_90"])


def test_a_broken_network_is_broken_in_every_seed_that_is():
    runs = [(EXACT, [ALL] * 3, 0, {}), (BROKEN, [ALL, TRIVIAL, {"C1", "C2"}], 1, {})]
    found = network(runs).iloc[0]
    assert found[["exact", "surviving", "first_broken", "n_seeds"]].tolist() == ["no", "C2", "pool", 2]
    assert found["breaking_fraction"] == pytest.approx(0.1)


def test_undecided_is_not_yes_and_not_no():
    found = network([(EXACT, [ALL, ALL, None], 0, {}), (EXACT, [ALL] * 3, 1, {})]).iloc[0]
    assert found[["exact", "surviving", "first_broken"]].tolist() == ["undecided", "", ""]


def test_a_break_in_one_seed_decides_where_another_is_undecided():
    found = network([(EXACT, [ALL, ALL, None], 0, {}), (BROKEN, [ALL, ALL, TRIVIAL], 1, {})]).iloc[0]
    assert found[["exact", "first_broken"]].tolist() == ["no", "fc"]


def test_a_dead_layer_is_not_the_first_broken_one():
    found = network([([np.nan, 0.1, 0.2], [None, TRIVIAL, TRIVIAL], 0, {})]).iloc[0]
    assert found[["exact", "first_broken"]].tolist() == ["no", "pool"]
    found = network([([1e-14, np.nan, np.nan], [ALL, None, None], 0, {})]).iloc[0]
    assert found[["exact", "surviving", "first_broken"]].tolist() == ["undecided", "", ""]
    assert np.isnan(found["breaking_fraction"])


def test_several_largest_subgroups_are_all_named():
    output = {"C1", "C2", "D1(transpose)", "D1(left-right)"}
    found = network([(BROKEN, [output] * 3, 0, {"group": "D4"})]).iloc[0]
    assert set(found["surviving"].split(" and ")) == {"C2", "D1(transpose)", "D1(left-right)"}
    output |= {"D1(up-down)", "D2(axes)"}
    found = network([(BROKEN, [output] * 3, 0, {"group": "D4"})]).iloc[0]
    assert set(found["surviving"].split(" and ")) == {"D2(axes)", "D1(transpose)"}


def test_networks_are_merged_over_seeds_only():
    variants = [
        {}, {"regime": "uniform"}, {"data": "mnist"}, {"epoch": 1}, {"model": "p4mcnn", "group": "D4"},
        {"group": "C2"}, {"input_size": "8x9"},
    ]  # fmt: skip
    runs = []
    for place, changes in enumerate(variants):
        names = {H.name for H in group(changes.get("group", "C4")).subgroups}
        runs += [([place / 100] * 3, [names] * 3, seed, changes) for seed in range(2)]
    found = network(runs)
    assert tuple(found.columns) == SCHEMAS["networks"]
    assert len(found) == len(variants)
    assert found["n_seeds"].tolist() == [2] * len(variants)
    assert found["breaking_fraction"].tolist() == pytest.approx([place / 100 for place in range(len(variants))])
    assert found["input_size"].tolist() == ["16"] * 6 + ["8x9"]
    assert found["exact"].eq("yes").all()
    assert not found.duplicated(list(MODEL_KEYS)).any()


def test_the_first_broken_layer_is_the_first_executed_whatever_the_order_of_rows():
    equivariance, subgroups = layer_rows(BROKEN), subgroup_rows([ALL, TRIVIAL, TRIVIAL])
    shuffled = subgroups.iloc[::-1]
    assert shuffled.loc[shuffled["subgroup"] == "C4", "layer"].tolist() != list(LAYERS)
    found = networks_summary(equivariance, shuffled, accuracy_table([0.9]))
    assert found["first_broken"].item() == "pool"


def test_networks_of_different_depth_have_their_own_output():
    short = ("conv1", "pool")
    equivariance = pd.concat([layer_rows(EXACT), layer_rows([0.0, 0.3], layers=short, model="small")])
    subgroups = pd.concat([subgroup_rows([ALL] * 3), subgroup_rows([ALL, TRIVIAL], layers=short, model="small")])
    accuracy = pd.concat([accuracy_table([0.9]), accuracy_table([0.8], model="small")])
    found = networks_summary(equivariance, subgroups, accuracy).set_index("model")
    assert found["exact"].to_dict() == {"p4cnn": "yes", "small": "no"}
    assert found.loc["small", "first_broken"] == "pool"
    assert found["accuracy_0"].to_dict() == pytest.approx({"p4cnn": 0.9, "small": 0.8})


PAIR = ("conv1", "(output)[0]", "(output)[1]")


@pytest.mark.parametrize(
    ("surviving", "exact", "largest"),
    [
        ((ALL, ALL), "yes", "C4"),
        ((ALL, {"C1", "C2"}), "no", "C2"),
        (({"C1", "C2"}, ALL), "no", "C2"),
        ((ALL, None), "undecided", ""),
        (({"C1"}, None), "no", ""),
    ],
)
def test_of_several_outputs_all_count(surviving, exact, largest):
    rows = layer_rows([1e-14, 0.4, 0.2], layers=PAIR), subgroup_rows([ALL, *surviving], layers=PAIR)
    found = networks_summary(*rows, accuracy_table([0.9])).iloc[0]
    assert (found["exact"], found["surviving"], found["breaking_fraction"]) == (exact, largest, 0.4)


def test_a_network_whose_output_could_not_be_measured_is_undecided():
    hidden = layer_rows([1e-14, 1e-14, 0.2])
    hidden["kind"] = "convolution"
    found = networks_summary(hidden, subgroup_rows([ALL, ALL, TRIVIAL]), accuracy_table([0.9])).iloc[0]
    assert (found["exact"], found["surviving"], found["first_broken"]) == ("undecided", "", "fc")
    assert np.isnan(found["breaking_fraction"])


def test_a_network_without_an_accuracy_has_all_the_rest():
    rows = layer_rows(EXACT), subgroup_rows([ALL] * 3)
    found = networks_summary(*rows, accuracy_table([]))
    assert found["accuracy_0"].isna().all()
    with_others = networks_summary(*rows, accuracy_table([0.9], model="other"))
    pd.testing.assert_frame_equal(found, with_others)
    known = networks_summary(*rows, accuracy_table([0.9]))
    same = [name for name in known if not name.startswith("accuracy")]
    pd.testing.assert_frame_equal(found[same], known[same])


def test_under_an_interpolated_group_the_output_is_that_of_the_whole_group():
    grid, between = layer_rows(EXACT, group="C8"), layer_rows(BROKEN, group="C8").assign(grid=False)
    subgroups = subgroup_rows([{"C1", "C2", "C4"}] * 3, group="C8")
    found = networks_summary(pd.concat([grid, between]), subgroups, accuracy_table([0.9], group="C8")).iloc[0]
    assert found[["exact", "surviving"]].tolist() == ["no", "C4"]
    assert found["breaking_fraction"] == 0.2
    found = subgroups_summary(subgroups, pd.concat([grid, between]))
    assert len(found) == 3 * 4


def test_layer_summaries_over_seeds():
    equivariance = pd.concat([layer_rows([0.0, 0.1, 0.2]), layer_rows([0.0, 0.3, 0.6], seed=1)])
    found = equivariance_summary(equivariance).set_index("layer")
    assert found["breaking_fraction"].tolist() == pytest.approx([0.0, 0.2, 0.4])
    assert found["lowest"].tolist() == [0.0, 0.1, 0.2]
    assert found["highest"].tolist() == [0.0, 0.3, 0.6]
    assert found["floor"].tolist() == [2e-14] * 3
    assert found["n_seeds"].tolist() == [2] * 3
    assert found["subsamples"].tolist() == [False, True, False]
    subgroups = pd.concat([subgroup_rows([ALL] * 3), subgroup_rows([ALL, TRIVIAL, None], seed=1)])
    answers = subgroups_summary(subgroups, equivariance).query("subgroup == 'C4'").set_index("layer")
    assert answers["survives"].tolist() == [True, False, pd.NA]
    assert answers["residual"].tolist() == pytest.approx([0.0, 0.2, 0.2])


def test_spectrum_summary_is_the_mean_over_seeds():
    rows = []
    for seed, energy in enumerate([0.1, 0.3]):
        for irrep, value in (("A", 1 - energy), ("E", energy)):
            rows.append({**keys(seed), "layer": "pool", "call": 0, "depth": 1, "irrep": irrep, "energy": value})
    equivariance = pd.concat([layer_rows(EXACT), layer_rows(EXACT, seed=1)])
    found = spectrum_summary(pd.DataFrame(rows), equivariance).set_index("irrep")
    assert found["energy"].to_dict() == pytest.approx({"A": 0.8, "E": 0.2})
    assert found["subsamples"].all()
    assert found["n_seeds"].tolist() == [2, 2]


def test_two_runs_of_one_seed_count_as_two_everywhere():
    twice = [layer_rows(EXACT), layer_rows(EXACT).assign(run="again")]
    assert equivariance_summary(pd.concat(twice))["n_seeds"].eq(2).all()
    accuracy = pd.concat([accuracy_table([0.9]), accuracy_table([0.8]).assign(run="again")])
    assert accuracy_summary(accuracy)["n_seeds"].item() == 2


def test_a_seed_whose_layer_is_dead_does_not_count():
    layer = {"layer": "relu", "call": 0, "depth": 0, "kind": "activation", "subsamples": False, "grid": True}
    alive = keys(0) | layer | {"breaking_fraction": 0.2, "floor": 1e-14}
    dead = keys(1) | layer | {"breaking_fraction": np.nan, "floor": np.nan}
    row = equivariance_summary(pd.DataFrame([alive, dead])).iloc[0]
    assert (row["breaking_fraction"], row["n_seeds"]) == (0.2, 1)
