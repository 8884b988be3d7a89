"""Over seeds: what patching and the split of the output say of each network, and whether breaking gains accuracy."""

from collections.abc import Sequence
from math import prod
from typing import Any

import pandas as pd

from eqviz.tables import LAYER_KEYS, MODEL_KEYS, RUN_KEYS, columns, concatenate, conform

PATCHING_MEASURES = (
    "accuracy_upright", "accuracy_rotated", "accuracy_orbit", "consistency", "output_breaking", "gain_upright",
    "gain_rotated",
)  # fmt: skip

_LAYER = (*MODEL_KEYS, *LAYER_KEYS, "kind", "subsamples")


def patching_summary(patching: pd.DataFrame) -> pd.DataFrame:
    """The table `patching_summary`: mean, lowest and highest of every measure over seeds, by network, layer and scale.

    `measure` is one of the accuracies (0..1), `consistency`, `output_breaking` or a gain; a layer is a `cut` if it is
    one in every seed. `n_seeds` counts the runs that have a value. Raises EqvizError for a table that lacks columns.
    """
    table = conform(patching, "patching").astype({"layer": str})
    cuts = _grouped(table, _LAYER)["cut"].all().reset_index()
    summary = _over_seeds(table, (*_LAYER, "scale"), PATCHING_MEASURES)
    return concatenate([summary.merge(cuts, on=list(_LAYER))], "patching_summary")


def function_split_summary(function_split: pd.DataFrame) -> pd.DataFrame:
    """The table `function_split_summary`: mean, lowest and highest of every measure over seeds.

    A row a network, function, distribution and `measure`, which is a column of `function_split`. `n_seeds` counts the
    runs that have a value. Raises EqvizError for a table that lacks columns.
    """
    by = (*MODEL_KEYS, "function", "distribution")
    measures = [name for name in columns("function_split") if name not in {*RUN_KEYS, *by, "n"}]
    return concatenate([_over_seeds(conform(function_split, "function_split"), by, measures)], "function_split_summary")


def upright_gain(patching: pd.DataFrame, networks: pd.DataFrame) -> pd.DataFrame:
    """The table `upright_gain`: is what a network gains on upright images over an exact one carried by what is broken?

    A row a network and layer, means over seeds of accuracies (0..1) on images as they are:

    accuracy_upright     of the network as it is (s = 1)
    accuracy_symmetric   with the symmetric component of that layer alone (s = 0); NaN where that was not measured
    exact_size, accuracy_exact   input size and accuracy of its exact twin: the same model, data, regime and epoch at
                         the nearest size that is exact by its verdict (`networks`); of equally near ones that which
                         breaks less
    n                    images of the run that has fewest: a gain of less than a few times 1 / n is chance
    gain                 accuracy_upright - accuracy_exact
    gain_left            accuracy_symmetric - accuracy_exact: equal to `gain` if the layer's breaking component does
                         nothing for upright images, 0 or less if all of the gain rests on it

    Both gains are differences; their quotient would be one of two noisy numbers. A network that is exact itself, or
    has no exact twin, has neither: NaN, and an empty size. Raises EqvizError for a table that lacks columns.
    """
    table = conform(patching, "patching").astype({"layer": str})
    as_is = _grouped(table[table["scale"] == 1], _LAYER).agg(
        cut=("cut", "all"),
        accuracy_upright=("accuracy_upright", "mean"),
        n_seeds=("accuracy_upright", "count"),
        n=("n", "min"),
    )
    symmetric = _grouped(table[table["scale"] == 0], _LAYER).agg(accuracy_symmetric=("accuracy_upright", "mean"))
    known = _networks(table, networks)
    twins = pd.DataFrame([{**network, **_twin(known, network)} for network in known])
    joined = as_is.join(symmetric, how="left").reset_index()
    if len(joined) == 0:
        return concatenate([], "upright_gain")
    joined = joined.merge(twins, on=list(MODEL_KEYS), how="left")
    joined["gain"] = joined["accuracy_upright"] - joined["accuracy_exact"]
    joined["gain_left"] = joined["accuracy_symmetric"] - joined["accuracy_exact"]
    return concatenate([joined], "upright_gain")


def _networks(table: pd.DataFrame, verdicts: pd.DataFrame) -> list[dict[str, Any]]:
    """The networks as they are: exact or not, largest breaking over seeds, mean upright accuracy, number of seeds."""
    by = [key for key in MODEL_KEYS if key != "group"]  # patching acts by the exact part of the group of the verdict
    exact = set(verdicts.loc[verdicts["exact"] == "yes", by].astype(str).itertuples(index=False, name=None))
    as_is = table[table["scale"] == 1].drop_duplicates([*MODEL_KEYS, "run"])
    found = _grouped(as_is, MODEL_KEYS).agg(
        breaking=("output_breaking", "max"), accuracy=("accuracy_upright", "mean"), seeds=("run", "count")
    )
    records = [{str(key): value for key, value in row.items()} for row in found.reset_index().to_dict("records")]
    return [{**record, "verdict": tuple(str(record[key]) for key in by) in exact} for record in records]


def _twin(networks: Sequence[dict[str, Any]], network: dict[str, Any]) -> dict[str, object]:
    """The columns of `upright_gain` that name the exact twin of one of the networks; empty where there is none."""
    shared = [key for key in MODEL_KEYS if key != "input_size"]
    exact = [
        other for other in networks
        if other["verdict"] and all(other[key] == network[key] for key in shared)
    ]  # fmt: skip
    if not exact or network["verdict"]:
        return {"exact_size": "", "accuracy_exact": float("nan"), "n_seeds_exact": 0}

    def far(other: dict[str, Any]) -> tuple[int, float]:
        return abs(_pixels(other["input_size"]) - _pixels(network["input_size"])), float(other["breaking"])

    twin = min(exact, key=far)
    return {
        "exact_size": str(twin["input_size"]), "accuracy_exact": twin["accuracy"], "n_seeds_exact": twin["seeds"]
    }  # fmt: skip


def _pixels(size: object) -> int:
    """Pixels of an input size as tables show it, such as 28 or 28x32."""
    sides = [int(side) for side in str(size).split("x")]
    return prod(sides) if len(sides) > 1 else sides[0] ** 2


def _over_seeds(table: pd.DataFrame, by: Sequence[str], measures: Sequence[str]) -> pd.DataFrame:
    """Mean, lowest, highest and number of values of each measure, a row a measure."""
    tall = table.melt(id_vars=list(by), value_vars=list(measures), var_name="measure", value_name="value")
    grouped = _grouped(tall.astype({"value": float}), (*by, "measure"))
    values: pd.DataFrame = grouped.agg(
        mean=("value", "mean"), lowest=("value", "min"), highest=("value", "max"), n_seeds=("value", "count")
    )
    return values.reset_index()


def _grouped(table: pd.DataFrame, by: Sequence[str]) -> Any:  # pandas names the type, but not what it takes
    return table.groupby(list(by), sort=False, observed=True, dropna=False)
