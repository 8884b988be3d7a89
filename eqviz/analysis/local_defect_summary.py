"""The local defect over seeds: which layer is to blame in every training run."""

from typing import Any

import pandas as pd

from eqviz.analysis.summaries import LAYER_TRAITS
from eqviz.tables import LAYER_KEYS, MODEL_KEYS, conform


def local_defect_summary(table: pd.DataFrame) -> pd.DataFrame:
    """The table `local_defect_summary` from the table `local_defect` of several runs.

    Mean, lowest and highest of `local_error` and `cumulative_error` over the seeds that have a value. `exact` is yes or
    no where all seeds say so, else undecided; `n_ranked` in how many seeds the layer is a culprit, `n_culprit` in how
    many the first one; `n_seeds` counts the seeds with a local error.

    Raises EqvizError if columns are missing.

    >>> row = dict(run="a", model="p4cnn", input_size=29, group="C4", epoch=5, data="mnist", regime="upright")
    >>> row |= dict(layer="pool", call=0, depth=2, kind="pooling", subsamples=True, field="regular(C4)", n=64)
    >>> row |= dict(field_source="declared", local_error_float64=0.1, cumulative_error=0.1, share=1.0, note="")
    >>> seeds = [dict(seed=0, local_error=0.1, exact="no", rank=1), dict(seed=1, local_error=0.3, exact="no", rank=1)]
    >>> summary = local_defect_summary(pd.DataFrame([row | seed for seed in seeds]))
    >>> summary[["local_error", "local_lowest", "exact", "n_culprit"]].values.tolist()
    [[0.2, 0.1, 'no', 2]]
    """
    rows = conform(table, "local_defect").astype({"layer": str, "rank": "Int64"})
    marked = rows.assign(ranked=rows["rank"].notna(), first=(rows["rank"] == 1).fillna(False).astype(bool))
    grouped = marked.groupby([*MODEL_KEYS, *LAYER_KEYS, *LAYER_TRAITS], sort=False, observed=True, dropna=False)
    summary = grouped.agg(
        local_error=("local_error", "mean"),
        local_lowest=("local_error", "min"),
        local_highest=("local_error", "max"),
        cumulative_error=("cumulative_error", "mean"),
        cumulative_lowest=("cumulative_error", "min"),
        cumulative_highest=("cumulative_error", "max"),
        exact=("exact", _together),
        n_ranked=("ranked", "sum"),
        n_culprit=("first", "sum"),
        n_seeds=("local_error", "count"),
    )
    return conform(summary.reset_index(), "local_defect_summary")


def _together(answers: pd.Series) -> str:
    """What all seeds say, or undecided."""
    found = set(answers.astype(str))
    return found.pop() if len(found) == 1 else "undecided"


def top_culprit(summary: pd.DataFrame) -> "pd.Series[Any] | None":
    """The row of `local_defect_summary`, of one network, that is to blame; None where no layer is.

    It ranks first in most seeds; of several such layers the one with the largest local error.
    """
    ranked = summary[summary["n_ranked"] > 0].sort_values(["n_culprit", "local_error"], ascending=False)
    return ranked.iloc[0] if len(ranked) else None
