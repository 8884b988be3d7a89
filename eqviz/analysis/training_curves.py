"""How breaking and accuracy develop while a network learns: the same measures at every saved epoch, over seeds."""

import pandas as pd

from eqviz.analysis.network_values import output_and_last_map, upright_and_rotated
from eqviz.tables import MODEL_KEYS, RUN_KEYS, conform

OUTPUT_BREAKING = "breaking fraction at the output"
MAP_BREAKING = "breaking fraction at the last convolution"
UPRIGHT = "accuracy at 0 degrees"
ROTATED = "accuracy, mean over the other quarter turns"
MEASURES = (OUTPUT_BREAKING, MAP_BREAKING, UPRIGHT, ROTATED)


def training_summary(equivariance: pd.DataFrame, accuracy: pd.DataFrame) -> pd.DataFrame:
    """The table `training_summary`: a row a network, epoch and measure, over seeds.

    Takes the tables `equivariance` and `accuracy` of runs opened with `epochs="all"`; epoch 0 is the untrained
    network. `measure` is one of `MEASURES`, fractions all of them: the breaking fraction at the output and, where
    pools have not yet averaged it away, at the last convolution; the accuracy on upright images and its mean over the
    other quarter turns. `mean`, `lowest` and `highest` are over the seeds that have a value, `n_seeds` counts these;
    `floor` is the largest breaking fraction that rounding alone gives, missing for accuracies.
    """
    output, maps = output_and_last_map(equivariance)
    scores = upright_and_rotated(accuracy)
    parts = [
        _measure(output, OUTPUT_BREAKING, "breaking_fraction"),
        _measure(maps, MAP_BREAKING, "breaking_fraction"),
        _measure(scores, UPRIGHT, "accuracy_upright"),
        _measure(scores, ROTATED, "accuracy_rotated"),
    ]
    values = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True).dropna(subset="value")
    grouped = values.groupby([*MODEL_KEYS, "measure"], sort=False, observed=True, dropna=False)
    summary = grouped.agg(
        mean=("value", "mean"), lowest=("value", "min"), highest=("value", "max"), floor=("floor", "max"),
        n_seeds=("value", "count"),
    )  # fmt: skip
    return conform(summary.reset_index().sort_values("epoch", kind="stable"), "training_summary")


def _measure(table: pd.DataFrame, name: str, column: str) -> pd.DataFrame:
    floor = table["floor"].astype(float) if "floor" in table else float("nan")
    return table[list(RUN_KEYS)].assign(measure=name, value=table[column].astype(float), floor=floor)
