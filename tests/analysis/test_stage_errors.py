"""The error after every stage over seeds, against plain pandas on tables made by hand."""

import numpy as np
import pandas as pd
import pytest

from eqviz.analysis.stage_errors import STAGE_MEASURES, stage_errors_summary
from eqviz.tables import columns


def stage_errors(seeds=(0, 1, 2)):
    rng = np.random.default_rng(0)
    rows = []
    for seed in seeds:
        for epoch in (0, 5):
            for mask in (False, True):
                for depth, layer in enumerate(("conv1", "layers.1", "(output)")):
                    keys = {"run": f"a-{seed}", "model": "a", "input_size": 32, "group": "C4", "seed": seed}
                    keys |= {"epoch": epoch, "data": "cells", "regime": "upright", "mask": mask, "layer": layer}
                    keys |= {"call": 0, "depth": depth, "kind": "block", "subsamples": depth == 1, "n": 32}
                    values = dict(zip((*STAGE_MEASURES, "floor"), rng.random(len(STAGE_MEASURES) + 1), strict=True))
                    rows.append(keys | values)
    return pd.DataFrame(rows)


def test_means_and_ranges_are_those_of_pandas():
    table = stage_errors()
    found = stage_errors_summary(table)
    assert tuple(found.columns) == columns("stage_errors_summary")
    assert len(found) == 2 * 2 * 3 * len(STAGE_MEASURES)
    for row in found.to_dict("records"):
        own = table[
            (table["epoch"] == row["epoch"]) & (table["mask"] == row["mask"]) & (table["layer"] == row["layer"])
        ]
        values = own[row["measure"]]
        assert (row["mean"], row["lowest"], row["highest"]) == pytest.approx(
            (values.mean(), values.min(), values.max())
        )
        assert row["n_seeds"] == 3
        if row["measure"] == "breaking_fraction":
            assert row["floor"] == own["floor"].max()
        else:
            assert np.isnan(row["floor"])


def test_a_dead_layer_has_no_row_and_a_seed_without_a_value_does_not_count():
    table = stage_errors()
    table.loc[table["layer"] == "conv1", "relative_error"] = np.nan
    table.loc[(table["layer"] == "(output)") & (table["seed"] == 2), "relative_error"] = np.nan
    found = stage_errors_summary(table).query("measure == 'relative_error'")
    assert set(found["layer"]) == {"layers.1", "(output)"}
    assert found.set_index("layer").loc["(output)", "n_seeds"].unique().tolist() == [2]


def test_nothing_gives_an_empty_table():
    found = stage_errors_summary(stage_errors().iloc[:0])
    assert tuple(found.columns) == columns("stage_errors_summary")
    assert len(found) == 0
