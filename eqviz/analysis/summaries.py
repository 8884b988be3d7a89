"""Over seeds: mean, spread and interval, and one row a network."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from eqviz.analysis.network_values import OUTPUT_KIND
from eqviz.groups.group import group
from eqviz.tables import LAYER_KEYS, MODEL_KEYS, RUN_KEYS, concatenate, conform, empty

Interval = Literal["auto", "t", "bootstrap", "range"]
FEWEST_FOR_T = 3
"""With two seeds the 95% t interval is 18 standard errors wide and says nothing; `auto` then gives their range."""

CONFIDENCE = 0.95
RESAMPLES = 2000

ROTATION = ("angle", "reflected", "grid", "mask", "fill")
LAYER_TRAITS = ("kind", "subsamples")


def interval_over_seeds(values: npt.NDArray[np.float64], method: Interval = "auto") -> tuple[float, float, str]:
    """Lower and upper bound around the mean over seeds, and what they are; (NaN, NaN, 'none') for a single value.

    `t`: the 95% confidence interval mean +- t s / sqrt(n), with Student's t on n - 1 degrees of freedom. `bootstrap`:
    the 95% percentile interval of the means of 2,000 resamples (fixed seed); with few seeds it is too narrow. `range`:
    lowest and highest value, no confidence interval. `auto`: `t` from three values on, else `range`.

    >>> interval_over_seeds(np.array([0.25, 0.75]))
    (0.25, 0.75, 'range over seeds')
    """
    n = len(values)
    if n < 2:
        return float("nan"), float("nan"), "none"
    if method == "range" or (method == "auto" and n < FEWEST_FOR_T):
        return float(values.min()), float(values.max()), "range over seeds"
    if method == "bootstrap":
        means = np.random.default_rng(0).choice(values, size=(RESAMPLES, n)).mean(1)
        low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        return float(low), float(high), f"{CONFIDENCE:.0%} bootstrap interval over seeds"
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(n))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * error
    return mean - half, mean + half, f"{CONFIDENCE:.0%} t interval over seeds"


def over_seeds(table: pd.DataFrame, value: str, by: Sequence[str], *, interval: Interval = "auto") -> pd.DataFrame:
    """Mean, standard deviation (ddof 1), interval and number of seeds of a column, for every group of rows `by`.

    The column is a fraction, and the interval is cut to 0..1.
    """
    rows = []
    for keys, part in table.groupby(list(by), sort=False, observed=True, dropna=False):
        values = part[value].to_numpy(dtype=np.float64)
        low, high, name = interval_over_seeds(values, interval)
        spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
        bounds = {"low": float(np.clip(low, 0, 1)), "high": float(np.clip(high, 0, 1))}
        keyed = dict(zip(by, keys, strict=True))
        measured = {"mean": float(values.mean()), "std": spread, **bounds, "n_seeds": len(values), "interval": name}
        rows.append({**keyed, **measured})
    return pd.DataFrame(rows)


def accuracy_summary(accuracy: pd.DataFrame, *, interval: Interval = "auto") -> pd.DataFrame:
    """The table `accuracy_summary`: accuracy for every angle, over seeds."""
    return conform(over_seeds(accuracy, "accuracy", (*MODEL_KEYS, *ROTATION), interval=interval), "accuracy_summary")


def accuracy_overview(accuracy: pd.DataFrame, *, interval: Interval = "auto") -> pd.DataFrame:
    """The table `accuracy_overview`: upright and rotated accuracy of every network, over seeds.

    Exact and interpolated angles never share a mean: `mean of quarter turns` is over 0, 90, 180 and 270 degrees,
    `mean of interpolated angles` over the others.
    """
    upright = accuracy[~accuracy["reflected"].astype(bool)]
    run = [*MODEL_KEYS, "run", "seed"]
    grid = upright["grid"].astype(bool)
    parts = [
        upright[upright["angle"] == angle].assign(metric=f"{angle:g}°")[[*run, "metric", "accuracy"]]
        for angle in (0, 90, 180, 270)
    ]
    for name, rows in (("mean of quarter turns", upright[grid]), ("mean of interpolated angles", upright[~grid])):
        means = rows.groupby(run, sort=False, observed=True)["accuracy"].mean().reset_index()
        parts.append(means.assign(metric=name))
    joined = pd.concat([part for part in parts if len(part)], ignore_index=True)
    return conform(over_seeds(joined, "accuracy", (*MODEL_KEYS, "metric"), interval=interval), "accuracy_overview")


def _over_layers(
    table: pd.DataFrame, extra: Sequence[str], columns: dict[str, tuple[str, str | Callable[[pd.Series], object]]]
) -> pd.DataFrame:
    """Summaries over seeds. `n_seeds` counts the runs that have a value: a dead layer has none."""
    by = [*MODEL_KEYS, *LAYER_KEYS, *extra]
    value = next(iter(columns.values()))[0]
    grouped = table.groupby(by, sort=False, observed=True, dropna=False)
    return grouped.agg(**columns, n_seeds=(value, "count")).reset_index()


def with_traits(table: pd.DataFrame, equivariance: pd.DataFrame) -> pd.DataFrame:
    """A table by layer with the columns `kind` and `subsamples` of the equivariance table joined on."""
    keys = [*RUN_KEYS, "layer", "call"]
    traits = equivariance[[*keys, *LAYER_TRAITS]].drop_duplicates(keys).astype({"layer": str})
    return table.astype({"layer": str}).merge(traits, on=keys, how="left")


def equivariance_summary(equivariance: pd.DataFrame) -> pd.DataFrame:
    """The table `equivariance_summary`: mean, lowest, highest breaking fraction over seeds, and the largest floor."""
    summary = _over_layers(
        equivariance,
        (*LAYER_TRAITS, "grid"),
        {
            "breaking_fraction": ("breaking_fraction", "mean"),
            "lowest": ("breaking_fraction", "min"),
            "highest": ("breaking_fraction", "max"),
            "floor": ("floor", "max"),
        },
    )
    return conform(summary, "equivariance_summary")


def spectrum_summary(spectrum: pd.DataFrame, equivariance: pd.DataFrame) -> pd.DataFrame:
    """The table `spectrum_summary`: mean energy of every irrep over seeds."""
    table = with_traits(spectrum, equivariance)
    summary = _over_layers(table, (*LAYER_TRAITS, "irrep"), {"energy": ("energy", "mean")})
    return conform(summary, "spectrum_summary")


def subgroups_summary(subgroups: pd.DataFrame, equivariance: pd.DataFrame) -> pd.DataFrame:
    """The table `subgroups_summary`: largest residual over seeds, and whether the subgroup survives in every seed."""
    table = with_traits(subgroups, equivariance).astype({"survives": "boolean"})
    summary = _over_layers(
        table,
        (*LAYER_TRAITS, "subgroup"),
        {
            "residual": ("residual", lambda values: values.max(skipna=False)),
            "survives": ("survives", lambda answers: answers.all(skipna=False)),
        },
    )
    return conform(summary.astype({"survives": "boolean"}), "subgroups_summary")


def networks_summary(equivariance: pd.DataFrame, subgroups: pd.DataFrame, accuracy: pd.DataFrame) -> pd.DataFrame:
    """The table `networks`: one row a network with its verdict, first broken layer, breaking and accuracy over seeds.

    `surviving` is the largest subgroup that survives at the output in every seed (several are joined by `and`), `exact`
    whether that is the whole group, `first_broken` the first layer that is not exact in some seed. Layers that are
    dead or undecided do not count as broken. `breaking_fraction` and `floor` are those of the output under the whole
    group, which for C8 and the like includes its interpolated elements. Of a network with several outputs, such as a
    tuple, `surviving` is what survives in all of them, and the breaking that of the one that breaks most. Where no
    output could be measured it is undecided.
    """
    layers = subgroups_summary(subgroups, equivariance)
    breaking = equivariance_summary(equivariance)
    scores = accuracy_overview(accuracy) if len(accuracy) else empty("accuracy_overview")
    rows = []
    for keys, part in layers.groupby(list(MODEL_KEYS), sort=False, observed=True):
        chosen = dict(zip(MODEL_KEYS, keys, strict=True))
        mine = breaking[(breaking[list(MODEL_KEYS)] == pd.Series(chosen)).all(axis=1)]
        angles = scores[(scores[list(MODEL_KEYS)] == pd.Series(chosen)).all(axis=1)].set_index("metric")["mean"]
        rows.append({**chosen, **_verdict(part, str(chosen["group"])), **_at_output(mine), **_by_angle(angles)})
    return concatenate([pd.DataFrame(rows)], "networks")


def _verdict(layers: pd.DataFrame, group: str) -> dict[str, object]:
    whole = layers[layers["subgroup"] == group]
    broken = whole.loc[~whole["survives"].fillna(True).astype(bool)].sort_values("depth")["layer"]
    in_all: dict[str, Any] = {
        str(name): rows["survives"].all(skipna=False) for name, rows in _outputs(layers).groupby("subgroup", sort=False)
    }
    answer = in_all.get(group, pd.NA)
    return {
        "exact": "undecided" if pd.isna(answer) else ("yes" if answer else "no"),
        "surviving": " and ".join(_largest([name for name, kept in in_all.items() if not pd.isna(kept) and kept])),
        "first_broken": str(broken.iloc[0]) if len(broken) else "",
        "n_seeds": int(layers["n_seeds"].max()),
    }


def _outputs(layers: pd.DataFrame) -> pd.DataFrame:
    return layers[layers["kind"] == OUTPUT_KIND]


def _largest(names: list[str]) -> list[str]:
    groups = [group(name) for name in names]
    return [H.name for H in groups if not any(other is not H and other.contains_group(H) for other in groups)]


def _at_output(breaking: pd.DataFrame) -> dict[str, float]:
    outputs = _outputs(breaking)
    whole = outputs[outputs["grid"] == outputs["grid"].min()]  # the whole group's rows are those that interpolate
    if whole.empty:
        return {"breaking_fraction": float("nan"), "floor": float("nan")}
    most = whole.sort_values("breaking_fraction", ascending=False, kind="stable").iloc[0]  # a dead one comes last
    return {"breaking_fraction": float(most["breaking_fraction"]), "floor": float(most["floor"])}


def _by_angle(means: pd.Series) -> dict[str, float]:
    return {f"accuracy_{angle}": float(means.get(f"{angle}°", np.nan)) for angle in (0, 90, 180, 270)}
