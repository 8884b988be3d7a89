"""The few numbers that stand for a network: accuracy upright and rotated, breaking at its output and in its maps."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from eqviz.tables import RUN_KEYS

QUARTER_TURNS = (0.0, 90.0, 180.0, 270.0)
BREAKING_COLUMNS = ("layer", "breaking_fraction", "floor")
OUTPUT_KIND = "output"
MAP_KINDS = ("convolution", "block")
"""Kinds of layers that give out maps, most telling first: a network's last map is that of the first kind it has."""


def named_accuracies(accuracy: pd.DataFrame) -> pd.DataFrame:
    """Accuracies that say in their name what they are: RUN_KEYS, `metric`, `value` (a fraction), one row a run each.

    `accuracy at 0 degrees` and so on for quarter turns, `accuracy, mean over the quarter turns` where all four were
    measured, and `accuracy, mean over interpolated angles`; exact and interpolated angles never share a mean. Rows of
    reflected images are left out.

    >>> run = dict(run="a", model="p4cnn", input_size=16, group="C4", seed=0, epoch=9, data="digits", regime="upright")
    >>> row = dict(run, angle=90.0, reflected=False, grid=True, mask=False, fill=0.0, accuracy=0.75)
    >>> named_accuracies(pd.DataFrame([row]))[["metric", "value"]].to_numpy().tolist()
    [['accuracy at 90 degrees', 0.75]]
    """
    rows = []
    for run, part in runs_of(_unreflected(accuracy)):
        rows += [{**run, "metric": metric, "value": value} for metric, value in _named(part)]
    return pd.DataFrame(rows, columns=[*RUN_KEYS, "metric", "value"])


def upright_and_rotated(accuracy: pd.DataFrame) -> pd.DataFrame:
    """RUN_KEYS, `accuracy_upright` and `accuracy_rotated`, the mean over the other quarter turns that were measured."""
    rows = []
    for run, part in runs_of(_unreflected(accuracy)):
        at = _by_quarter(part)
        turned = [at[angle] for angle in QUARTER_TURNS[1:] if angle in at]
        upright = at.get(0.0, float("nan"))
        rotated = float(np.mean(turned)) if turned else float("nan")
        rows.append({**run, "accuracy_upright": upright, "accuracy_rotated": rotated})
    return pd.DataFrame(rows, columns=[*RUN_KEYS, "accuracy_upright", "accuracy_rotated"])


def output_and_last_map(equivariance: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """RUN_KEYS, `layer`, `breaking_fraction`, `floor` of the output, and of the last layer that gives out a map.

    Of several outputs it is the one that breaks most.
    That is the last convolution (the last block of a network without one); pools and what comes after them average
    much of the breaking away. Rows of exact elements are taken (`grid`). A run without such a layer has no row.
    """
    exact = equivariance[equivariance["grid"].astype(bool)]
    outputs, maps = [], []
    for run, part in runs_of(exact):
        layers = part.sort_values(["depth", "call"], kind="stable")
        own = layers[layers["kind"] == OUTPUT_KIND]
        outputs += _last({**run}, own.sort_values("breaking_fraction", kind="stable", na_position="first"))
        kind = next((kind for kind in MAP_KINDS if (layers["kind"] == kind).any()), None)
        maps += _last({**run}, layers[layers["kind"] == kind])
    columns = [*RUN_KEYS, *BREAKING_COLUMNS]
    return pd.DataFrame(outputs, columns=columns), pd.DataFrame(maps, columns=columns)


def runs_of(table: pd.DataFrame) -> Iterator[tuple[dict[str, object], pd.DataFrame]]:
    """The keys and the rows of every run and epoch of a table, in the table's order."""
    for keys, part in table.groupby(list(RUN_KEYS), sort=False, observed=True, dropna=False):
        yield dict(zip(RUN_KEYS, keys, strict=True)), part


def _unreflected(accuracy: pd.DataFrame) -> pd.DataFrame:
    return accuracy[~accuracy["reflected"].astype(bool)]


def _by_quarter(part: pd.DataFrame) -> dict[float, float]:
    exact = part[part["grid"].astype(bool)]
    found = zip(exact["angle"].astype(float), exact["accuracy"].astype(float), strict=True)
    return {angle: accuracy for angle, accuracy in found if angle in QUARTER_TURNS}


def _named(part: pd.DataFrame) -> Iterator[tuple[str, float]]:
    at = _by_quarter(part)
    for angle in QUARTER_TURNS:
        if angle in at:
            yield f"accuracy at {angle:g} degrees", at[angle]
    if len(at) == len(QUARTER_TURNS):
        yield "accuracy, mean over the quarter turns", float(np.mean(list(at.values())))
    between = part.loc[~part["grid"].astype(bool), "accuracy"]
    if len(between):
        yield "accuracy, mean over interpolated angles", float(between.mean())


def _last(run: dict[str, object], layers: pd.DataFrame) -> list[dict[str, object]]:
    if len(layers) == 0:
        return []
    row = layers.iloc[-1]
    return [{**run, "layer": str(row["layer"]), **{name: float(row[name]) for name in BREAKING_COLUMNS[1:]}}]
