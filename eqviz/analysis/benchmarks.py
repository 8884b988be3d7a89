"""Benchmarks: accuracy upright and rotated of every network, over seeds, with what the network is."""

from collections.abc import Iterator, Sequence

import pandas as pd

from eqviz.analysis.network_values import QUARTER_TURNS, runs_of
from eqviz.analysis.summaries import Interval, over_seeds
from eqviz.tables import MODEL_KEYS, RUN_KEYS, conform, empty

UPRIGHT, ROTATED, REFLECTED = "upright", "rotated", "reflected"
METRICS = (UPRIGHT, ROTATED, REFLECTED)
_WITH_REFLECTIONS = "D4"


def benchmark_accuracies(accuracy: pd.DataFrame) -> pd.DataFrame:
    """RUN_KEYS, `metric`, `value` (a fraction), one row a run each, from the table `accuracy`.

    `upright` is the accuracy on the images as they are, `rotated` its mean over all four quarter turns, that of 0
    degrees among them, `reflected` the same for mirrored images and only for networks measured under D4. A mean is
    left out where one of its angles was not measured.

    >>> run = dict(run="a", model="p4cnn", input_size=16, group="C4", seed=0, epoch=9, data="digits", regime="upright")
    >>> rows = [dict(run, angle=a, reflected=False, grid=True, accuracy=a / 360) for a in (0.0, 90.0, 180.0, 270.0)]
    >>> benchmark_accuracies(pd.DataFrame(rows))[["metric", "value"]].to_numpy().tolist()
    [['upright', 0.0], ['rotated', 0.375]]
    """
    rows = []
    for run, part in runs_of(accuracy[accuracy["angle"].isin(QUARTER_TURNS)]):
        rows += [{**run, "metric": metric, "value": value} for metric, value in _named(part, str(run["group"]))]
    return pd.DataFrame(rows, columns=[*RUN_KEYS, "metric", "value"])


def _named(part: pd.DataFrame, group: str) -> Iterator[tuple[str, float]]:
    mirrored = part["reflected"].astype(bool)
    upright = part[~mirrored & (part["angle"] == 0)]
    if len(upright):
        yield UPRIGHT, float(upright["accuracy"].iloc[0])
    for metric, rows in ((ROTATED, part[~mirrored]), (REFLECTED, part[mirrored])):
        wanted = metric == ROTATED or group == _WITH_REFLECTIONS
        if wanted and set(rows["angle"]) == set(QUARTER_TURNS):
            yield metric, float(rows.drop_duplicates("angle")["accuracy"].mean())


def benchmarks(
    accuracy: pd.DataFrame, networks: pd.DataFrame, runs: pd.DataFrame, *, interval: Interval = "auto"
) -> pd.DataFrame:
    """The table `benchmarks`: one row a network, data set and regime, from the tables of these names.

    `accuracy_upright`, `accuracy_rotated` and `accuracy_reflected` are means over seeds of what
    :func:`benchmark_accuracies` names, with the bounds of their intervals (see
    :func:`eqviz.analysis.summaries.interval_over_seeds`); what was not measured is missing. `exact` is the verdict of
    the table `networks`, `parameters` how many weights the network has.
    """
    values = benchmark_accuracies(accuracy)
    if values.empty:
        return empty("benchmarks")
    summary = over_seeds(values, "value", (*MODEL_KEYS, "metric"), interval=interval)
    table = _with(values, networks, runs)
    for metric in METRICS:
        named = {"mean": f"accuracy_{metric}", "low": f"{metric}_low", "high": f"{metric}_high"}
        own = summary[summary["metric"] == metric].rename(columns=named)
        table = table.merge(own[[*MODEL_KEYS, *named.values()]], on=list(MODEL_KEYS), how="left")
    counted = summary.drop_duplicates(list(MODEL_KEYS))[[*MODEL_KEYS, "n_seeds", "interval"]]
    return conform(table.merge(counted, on=list(MODEL_KEYS)), "benchmarks")


def _with(values: pd.DataFrame, networks: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """One row a network of `values`, with its verdict and its number of parameters."""
    counts = runs.drop_duplicates("run").set_index("run")["parameters"]
    listed = values.drop_duplicates(list(RUN_KEYS)).assign(parameters=lambda rows: rows["run"].map(counts))
    table = listed.groupby(list(MODEL_KEYS), sort=False, observed=True)["parameters"].max().reset_index()
    return table.merge(networks[[*MODEL_KEYS, "exact"]], on=list(MODEL_KEYS), how="left")


def accuracy_by_images(accuracy: pd.DataFrame, runs: pd.DataFrame, *, interval: Interval = "auto") -> pd.DataFrame:
    """The table `accuracy_by_images`: accuracy upright and rotated by the number of training images, over seeds.

    From the tables `accuracy` and `runs`; metrics are those of :func:`benchmark_accuracies`. `regime` is without the
    number of images, which has a column of its own, so that one network has one regime at all numbers.
    """
    values = benchmark_accuracies(accuracy)
    if values.empty:
        return empty("accuracy_by_images")
    counts = runs.drop_duplicates("run").set_index("run")["train_images"]
    values = values.assign(train_images=values["run"].map(counts).astype("Int64"))
    values["regime"] = [
        without_images(str(regime), images)
        for regime, images in zip(values["regime"], values["train_images"], strict=True)
    ]
    by: Sequence[str] = (*MODEL_KEYS, "train_images", "metric")
    found = over_seeds(values, "value", by, interval=interval).astype({"train_images": "Int64"})
    return conform(found, "accuracy_by_images")


def without_images(regime: str, images: object) -> str:
    """A regime without the number of training images that may end it.

    >>> without_images("upright, 500 images", 500), without_images("N(45, 20)", 500)
    ('upright', 'N(45, 20)')
    """
    return regime.removesuffix(f", {images} images")
