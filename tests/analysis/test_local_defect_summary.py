import numpy as np
import pandas as pd
import pytest

from eqviz.analysis.local_defect_summary import local_defect_summary
from eqviz.errors import EqvizError
from eqviz.tables import columns, empty


def seeds(*values):
    """One layer, and for every seed (local error, exact, rank)."""
    keys = {
        "model": "p4cnn", "input_size": 29, "group": "C4", "epoch": 5, "data": "mnist", "regime": "upright",
        "layer": "pool", "call": 0, "depth": 2, "kind": "pooling", "subsamples": True, "field": "regular(C4)",
        "field_source": "declared", "note": "", "n": 64, "share": np.nan, "local_error_float64": np.nan,
    }  # fmt: skip
    return pd.DataFrame(
        [
            keys | {"run": f"seed{seed}", "seed": seed, "local_error": error, "cumulative_error": 2 * seed + 1.0}
            | {"exact": exact, "rank": rank}
            for seed, (error, exact, rank) in enumerate(values)
        ]
    )  # fmt: skip


def test_means_ranges_and_counts_over_seeds():
    (row,) = local_defect_summary(seeds((0.1, "no", 1), (0.2, "no", 2), (0.6, "no", None))).to_dict("records")
    assert row["local_error"] == pytest.approx(0.3)
    assert (row["local_lowest"], row["local_highest"]) == (0.1, 0.6)
    assert (row["cumulative_error"], row["cumulative_lowest"], row["cumulative_highest"]) == (3.0, 1.0, 5.0)
    assert (row["exact"], row["n_ranked"], row["n_culprit"], row["n_seeds"]) == ("no", 2, 1, 3)


@pytest.mark.parametrize(
    ("answers", "together"),
    [("yes yes", "yes"), ("no no", "no"), ("yes no", "undecided"), ("yes undecided", "undecided")],
)
def test_exact_is_what_all_seeds_say(answers, together):
    summary = local_defect_summary(seeds(*((0.1, answer, None) for answer in answers.split())))
    assert summary["exact"].tolist() == [together]


def test_seeds_without_a_value_do_not_count():
    (row,) = local_defect_summary(seeds((np.nan, "undecided", None), (0.2, "no", 1))).to_dict("records")
    assert (row["local_error"], row["n_seeds"], row["n_culprit"]) == (0.2, 1, 1)


def test_layers_and_networks_stay_apart_and_columns_are_those_of_the_schema():
    table = pd.concat([seeds((0.1, "no", 1)), seeds((0.3, "yes", None)).assign(layer="conv", depth=0, input_size=28)])
    summary = local_defect_summary(table)
    assert list(summary.columns) == list(columns("local_defect_summary"))
    assert summary["local_error"].tolist() == [0.1, 0.3]
    assert summary["layer"].cat.categories.tolist() == ["conv", "pool"]


def test_a_table_without_columns_or_rows():
    with pytest.raises(EqvizError, match="without local_error"):
        local_defect_summary(seeds((0.1, "no", 1)).drop(columns="local_error"))
    assert len(local_defect_summary(empty("local_defect"))) == 0
