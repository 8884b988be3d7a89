"""What the tables are checked for: whether a part of a claim holds, and a sentence with numbers computed from them.

A check takes the results of an experiment and gives a Finding; it raises NoTableError where its tables are not there.
The tests assert that every finding holds.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd
from paper import LN2
from reading import NoTableError, Results, fullest

from eqviz.plots.labels import model_label

EXACT, APPROXIMATE = 28, (27, 29)
ANGLES = 36
POINT = 0.01
ROUNDING = 1e-9
"""Of a breaking fraction: float32 leaves 1e-14 to 1e-11, a break 1e-4 and more."""


@dataclass(frozen=True)
class Finding:
    """Whether a part of a claim was shown, and the sentence that says so with numbers."""

    holds: bool
    sentence: str


def percent(*values: float) -> str:
    """Fractions as percentages: '98.61' or '98.61 and 98.39', with a percent sign."""
    return " and ".join(f"{100 * value:.2f}" for value in values) + "%"


def seeds(rows: pd.DataFrame) -> str:
    """How many seeds, at least."""
    count = int(rows["n_seeds"].min())
    return f"{count} seed{'s' if count != 1 else ''}"


# --- C1 and its twin under reflections: a single group convolution


def _losses(result: Results, model: str, size: int, data: str) -> pd.DataFrame:
    """Training loss of a network by epoch: lowest, mean and highest over seeds."""
    where = f"model == '{model}' and input_size == {size} and data == '{data}' and measure == 'train_loss'"
    return result.table("learning_curves", where, every_epoch=True).sort_values("epoch")


def _learned(result: Results, model: str, data: str, copy: str) -> Finding:
    rows = _losses(result, model, 32, data)
    first, last = rows.iloc[0], rows.iloc[-1]
    return Finding(
        bool(last["highest"] < LN2 / 2),
        f"a {model_label(model)} at 32 pixels learns to tell a picture from its {copy} copy: the loss falls from "
        f"{first['mean']:.2f} to {last['mean']:.3f} in {int(last['epoch'])} steps, to at most {last['highest']:.3f} in "
        f"every one of {seeds(rows)}; guessing costs ln 2 = {LN2:.4f}.",
    )


def _not_learned(result: Results, model: str, size: int, data: str, copy: str) -> Finding:
    rows = _losses(result, model, size, data)
    lowest = float(rows["lowest"].min())
    return Finding(
        lowest > LN2 - 1e-5,  # float32 rounds a loss of 0.7 to 6e-8, the table to six digits
        f"a {model_label(model)} at {size} pixels does not: in {int(rows['epoch'].max())} steps the loss of telling "
        f"the {copy} copy never falls below {lowest:.4f} in any of {seeds(rows)}.",
    )


def rotated_copy_is_learned(result: Results) -> Finding:
    """At 32 pixels a P4 convolution tells a picture from its rotated copy."""
    return _learned(result, "p4conv", "rotated-pair", "rotated")


def rotated_copy_is_not_learned_by_the_exact_twin(result: Results) -> Finding:
    """At 33 pixels it cannot."""
    return _not_learned(result, "p4conv", 33, "rotated-pair", "rotated")


def mirrored_copy_is_learned(result: Results) -> Finding:
    """At 32 pixels a P4M convolution tells a picture from its mirrored copy."""
    return _learned(result, "p4mconv", "mirrored-pair", "mirrored")


def mirrored_copy_is_not_learned_by_the_exact_twin(result: Results) -> Finding:
    """At 33 pixels it cannot."""
    return _not_learned(result, "p4mconv", 33, "mirrored-pair", "mirrored")


def transposed_copy_is_never_learned(result: Results) -> Finding:
    """The reflection across the main diagonal survives the stride, so that even at 32 pixels it cannot be learned."""
    return _not_learned(result, "p4mconv", 32, "transposed-pair", "transposed")


# --- C2: one pixel of input size


def _networks(result: Results, model: str) -> pd.DataFrame:
    return result.table("networks").query("model == @model").sort_values("input_size")


def one_pixel_decides_on_mnist(result: Results) -> Finding:
    """Measured: exact at 28 pixels in every regime, broken at 27 and 29."""
    rows = _networks(result, "p4cnn")
    exact, others = rows[rows["input_size"] == EXACT], rows[rows["input_size"] != EXACT]
    complete = all(set(part["input_size"]) == {EXACT, *APPROXIMATE} for _, part in rows.groupby("regime"))
    return Finding(
        complete and set(exact["exact"]) == {"yes"} and set(others["exact"]) == {"no"},
        f"the P4 CNN is exact at {EXACT} pixels (breaking fraction of the output at most "
        f"{exact['breaking_fraction'].max():.1g}, float32 rounding) and breaks at 27 and 29 (at least "
        f"{others['breaking_fraction'].min():.2g}), in all {rows['regime'].nunique()} training regimes "
        f"({seeds(rows)}).",
    )


def one_pixel_decides_in_a_deep_network(result: Results) -> Finding:
    """The breaking fraction after every stage: rounding at the exact size, far above at the misfitting one."""
    rows = result.table("stage_errors_summary", "measure == 'breaking_fraction' and mask == False")
    exact_size = max(int(size) for size in rows["input_size"].unique())
    exact = rows[rows["input_size"] == exact_size]
    other = rows[(rows["input_size"] != exact_size) & (rows["layer"] == "(output)")]
    return Finding(
        bool((exact["highest"] < ROUNDING).all() and (other["lowest"] > ROUNDING).all()),
        f"after every stage of a P4-ResNet44 the breaking fraction is at most {exact['highest'].max():.1g} at "
        f"{exact_size} pixels; at {int(other['input_size'].iloc[0])} it is {other['mean'].mean():.2g} at the output "
        f"({seeds(rows)}, {_data(rows)}).",
    )


def _data(rows: pd.DataFrame) -> str:
    return ", ".join(dict.fromkeys(rows["data"].astype(str)))


# --- C3: what is not seen in training


def _turned(result: Results, regime: str) -> pd.DataFrame:
    """Mean accuracy by network (columns) and angle of the input (rows), trained in a regime.

    Raises NoTableError unless all three sizes were measured every 10 degrees.
    """
    rows = result.table("accuracy_summary", f"regime == '{regime}' and not reflected and model == 'p4cnn'")
    table = rows.pivot_table(index="angle", columns="input_size", values="mean")
    table = table.reindex(columns=[EXACT, *APPROXIMATE])
    if len(table) < ANGLES or table.isna().to_numpy().any():
        raise NoTableError(f"accuracy_summary: not all of 27, 28 and 29 pixels at {ANGLES} angles, trained {regime}")
    return table


def _shown_on(result: Results, regime: str) -> str:
    rows = result.table("accuracy_summary", f"regime == '{regime}'")
    images = result.images("accuracy_summary")
    trained = " to ".join(f"{count:,}" for count in result.train_images(rows))
    return f"({seeds(rows)}; trained on {trained} digits, tested on {images or 0:,})"


def enough_digits_and_seeds(result: Results) -> Finding:
    """At least 3 seeds and 2,000 training images."""
    rows = result.table("accuracy_summary", "regime == 'upright'")
    counts = result.train_images(rows)
    if not counts:
        raise NoTableError("runs: no numbers of training images")
    fewest = min(counts)
    return Finding(
        bool(rows["n_seeds"].min() >= 3 and fewest >= 2000),
        f"trained upright on {fewest:,} digits, {seeds(rows)} of every network.",
    )


def exact_networks_do_not_lose(result: Results) -> Finding:
    """Accuracy of the exact network at the four quarter turns: one number, to the last digit."""
    where = f"regime == 'upright' and model == 'p4cnn' and input_size == {EXACT} and angle % 90 == 0 and not reflected"
    rows = result.table("accuracy_summary", where)
    same = all(len(set(rows[column])) == 1 for column in ("mean", "std"))
    return Finding(
        len(rows) == 4 and same,
        f"trained upright, the exact network is {percent(rows['mean'].iloc[0])} accurate at 0, 90, 180 and 270 "
        f"degrees, to the last digit {_shown_on(result, 'upright')}.",
    )


def approximate_networks_lose_what_they_did_not_see(result: Results) -> Finding:
    """Below 90% at 90 degrees and below 70% at 180."""
    table = _turned(result, "upright")[list(APPROXIMATE)]
    return Finding(
        bool((table.loc[90] < 0.9).all() and (table.loc[180] < 0.7).all()),
        f"the approximate ones (27 and 29 pixels) fall from {percent(*table.loc[0])} upright to "
        f"{percent(*table.loc[90])} at 90 degrees and {percent(*table.loc[180])} at 180.",
    )


def the_difference_is_significant(result: Results) -> Finding:
    """Welch's test at 180 degrees, corrected for the number of comparisons (Holm)."""
    rows = result.table("comparisons", "regime == 'upright' and metric == 'accuracy at 180 degrees'")
    pairs = rows[(rows["model_a"] == "p4cnn") & (rows["model_b"] == "p4cnn")]
    mine = pairs[(pairs["input_size_a"] == EXACT) | (pairs["input_size_b"] == EXACT)]
    lost = (mine["mean_a"] - mine["mean_b"]).where(mine["input_size_a"] == EXACT, mine["mean_b"] - mine["mean_a"])
    return Finding(
        len(mine) == 2 and bool(((mine["p_welch_holm"] < 0.05) & (lost > 0)).all()),
        "at 180 degrees they fall behind the exact network, by Welch's test with p = "
        + " and ".join(f"{value:.1g}" for value in mine["p_welch_holm"])
        + f" after Holm's correction over {int(mine['family_size'].max())} comparisons.",
    )


def _benchmark(result: Results, group: str) -> pd.DataFrame:
    """Rows of one group network with the usual head at both sizes, as the data come: one row a data set and size."""
    rows = fullest(result.table("benchmarks"))
    rows = rows[rows["regime"].str.fullmatch(r"upright(, \d+ images)?")]
    own = rows[rows["model"].str.startswith(f"{group}resnet") & ~rows["model"].str.contains("flatten|separable=g")]
    return own.sort_values(["data", "input_size"])


def _twins(part: pd.DataFrame) -> tuple["pd.Series[Any]", "pd.Series[Any]"]:
    """The exact network and the approximate one on one data set."""
    exact, others = part[part["exact"] == "yes"], part[part["exact"] == "no"]
    if exact.empty or others.empty:
        raise NoTableError(f"benchmarks: no pair of an exact and an approximate network on {part['data'].iloc[0]}")
    return exact.iloc[0], others.iloc[0]


def _losing(result: Results, group: str) -> Finding:
    rows = _benchmark(result, group)
    less, alike, gaps = [], [], []
    for data, part in rows.groupby("data", sort=False):
        exact, other = _twins(part)
        gaps.append(float(exact["accuracy_rotated"] - other["accuracy_rotated"]))
        told = f"{percent(other['accuracy_rotated'])} against {percent(exact['accuracy_rotated'])} on {data}"
        (less if gaps[-1] > POINT else alike).append(told)
    rest = f"; not told apart by a point, after little training: {'; '.join(alike)}" if alike else ""
    return Finding(
        bool(less) and min(gaps) >= -POINT,
        f"over the four quarter turns approximate {group.upper()} ResNets, trained as the data come, are less accurate "
        f"than exact ones: {'; '.join(less) or 'on none'}{rest} ({seeds(rows)}).",
    )


def approximate_p4_loses_on_benchmarks(result: Results) -> Finding:
    """Rotated accuracy of P4 on every benchmark."""
    return _losing(result, "p4")


def approximate_p4m_loses_on_benchmarks(result: Results) -> Finding:
    """Rotated accuracy of P4M on every benchmark."""
    return _losing(result, "p4m")


# --- C4: data with less symmetry than the network


def approximate_networks_match_upright(result: Results) -> Finding:
    """Within a point of the exact network, or above."""
    table = _turned(result, "upright")
    others = table.loc[0, list(APPROXIMATE)]
    return Finding(
        bool((others >= table.loc[0, EXACT] - POINT).all()),
        f"trained and tested upright, approximate networks are {percent(*others)} accurate, the exact one "
        f"{percent(table.loc[0, EXACT])} {_shown_on(result, 'upright')}.",
    )


def uniform_rotations_make_them_alike(result: Results) -> Finding:
    """Within two points at every angle, where training shows every rotation."""
    table = _turned(result, "uniform")
    gap = float(table[list(APPROXIMATE)].sub(table[EXACT], axis=0).abs().max().max())
    return Finding(
        gap <= 2 * POINT,
        f"trained on digits turned by any angle, approximate and exact networks are within {100 * gap:.2f} points of "
        f"each other at every angle {_shown_on(result, 'uniform')}.",
    )


def _biased(result: Results, regime: str) -> Finding:
    table = _turned(result, regime)
    near, far = table.loc[[40, 50]].mean(), table.loc[[220, 230]].mean()
    others = list(APPROXIMATE)
    return Finding(
        bool((near[others] >= near[EXACT]).all() and (far[others] < far[EXACT] - 5 * POINT).all()),
        f"trained on rotations about 45 degrees, {regime}, approximate networks are {percent(*near[others])} accurate "
        f"at 40 and 50 degrees, the exact one {percent(near[EXACT])}; at the opposite side (220, 230) they are "
        f"{percent(*far[others])}, it {percent(far[EXACT])} {_shown_on(result, regime)}.",
    )


def narrow_rotations_are_matched(result: Results) -> Finding:
    """N(45, 20): at least as good near the training angle, clearly worse at the opposite side."""
    return _biased(result, "N(45, 20)")


def wide_rotations_are_matched(result: Results) -> Finding:
    """N(45, 40): the same."""
    return _biased(result, "N(45, 40)")


def _matching(result: Results, group: str) -> Finding:
    rows = _benchmark(result, group)
    parts, holds = [], []
    for data, part in rows.groupby("data", sort=False):
        exact, other = _twins(part)
        holds.append(bool(other["accuracy_upright"] >= exact["accuracy_upright"] - POINT))
        parts.append(f"{percent(other['accuracy_upright'])} against {percent(exact['accuracy_upright'])} on {data}")
    return Finding(
        bool(holds) and all(holds),
        f"upright, approximate {group.upper()} ResNets match exact ones to a point, or beat them: {'; '.join(parts)} "
        f"({seeds(rows)}).",
    )


def approximate_p4_matches_on_benchmarks(result: Results) -> Finding:
    """Upright accuracy of P4 on every benchmark."""
    return _matching(result, "p4")


def approximate_p4m_matches_on_benchmarks(result: Results) -> Finding:
    """Upright accuracy of P4M on every benchmark."""
    return _matching(result, "p4m")
