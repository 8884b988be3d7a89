"""The error after every stage of a network, over seeds: the published L1 beside measures that know no scale."""

import pandas as pd

from eqviz.tables import LAYER_KEYS, MODEL_KEYS, conform

STAGE_MEASURES = ("l1", "relative_error", "breaking_fraction", "cosine", "relative_l1")
"""What is measured after every stage, by the names of the columns of `stage_errors`."""


def stage_errors_summary(stage_errors: pd.DataFrame) -> pd.DataFrame:
    """The table `stage_errors_summary`: a row a network, epoch, mask, layer and measure, over seeds.

    `measure` is one of `STAGE_MEASURES`, defined at :func:`eqviz.fields.orbit_tables.equivariance_rows`: `l1` is the
    mean absolute difference summed over the elements other than the identity (Edixhoven et al. 2023), on the scale of
    the layer's activations; the others are ratios. `mean`, `lowest` and `highest` are over the seeds that have a value,
    `n_seeds` counts these; `floor` is the largest breaking fraction that rounding alone gives, missing for other
    measures.

    >>> row = dict(run="a", model="p4cnn", input_size=8, group="C4", seed=0, epoch=1, data="digits", regime="upright")
    >>> row |= dict(mask=False, layer="pool", call=0, depth=0, kind="pooling", subsamples=True, floor=1e-14, n=2)
    >>> row |= dict(l1=0.5, relative_error=0.3, breaking_fraction=0.1, cosine=0.9, relative_l1=0.2)
    >>> stage_errors_summary(pd.DataFrame([row]))[["measure", "mean"]].head(2).to_numpy().tolist()
    [['l1', 0.5], ['relative_error', 0.3]]
    """
    keys = [*MODEL_KEYS, "mask", *LAYER_KEYS, "kind", "subsamples"]
    parts = [
        stage_errors[keys].assign(
            measure=measure, value=stage_errors[measure].astype(float),
            floor=stage_errors["floor"].astype(float) if measure == "breaking_fraction" else float("nan"),
        )
        for measure in STAGE_MEASURES
    ]  # fmt: skip
    values = pd.concat(parts, ignore_index=True).dropna(subset="value")
    grouped = values.groupby([*keys, "measure"], sort=False, observed=True, dropna=False)
    summary = grouped.agg(
        mean=("value", "mean"), lowest=("value", "min"), highest=("value", "max"), floor=("floor", "max"),
        n_seeds=("value", "count"),
    )  # fmt: skip
    return conform(summary.reset_index(), "stage_errors_summary")
