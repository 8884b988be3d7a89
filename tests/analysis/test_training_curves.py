"""Breaking and accuracy over epochs, on tables made by hand."""

import numpy as np
import pandas as pd
import pytest

from eqviz.analysis.training_curves import MAP_BREAKING, MEASURES, OUTPUT_BREAKING, ROTATED, UPRIGHT, training_summary
from eqviz.tables import columns

EPOCHS = (0, 2, 10)


def keys(seed, epoch, size=15):
    named = {"run": f"p4cnn-{size}-{seed}", "model": "p4cnn", "input_size": size, "group": "C4", "seed": seed}
    return named | {"epoch": epoch, "data": "digits", "regime": "upright"}


def output_breaking(seed, epoch):
    return 1e-4 * (1 + epoch) * (1 + seed)


def equivariance(size=15, seeds=(0, 1), kind="convolution"):
    rows = []
    for seed in seeds:
        for epoch in EPOCHS:
            out = output_breaking(seed, epoch)
            for name, depth, what, value, floor in (
                ("conv1", 0, kind, 1e-14, 1e-14), ("conv2", 1, kind, 3 * out, 2e-14 * (1 + seed)),
                ("pool", 2, "pooling", 2 * out, 1e-14), ("(output)", 3, "output", out, 1e-13 * (1 + seed)),
            ):  # fmt: skip
                rows.append(
                    keys(seed, epoch, size)
                    | {"layer": name, "call": 0, "depth": depth, "kind": what, "grid": True}
                    | {"breaking_fraction": value, "floor": floor}
                )
    return pd.DataFrame(rows)


def accuracy(size=15, seeds=(0, 1), angles=(0, 90, 180, 270)):
    rows = []
    for seed in seeds:
        for epoch in EPOCHS:
            for angle in angles:
                score = (0.1 + 0.08 * epoch) / (1 + angle / 90) + 0.01 * seed
                case = {"angle": float(angle), "reflected": False, "grid": angle % 90 == 0, "accuracy": score}
                rows.append(keys(seed, epoch, size) | case)
    return pd.DataFrame(rows)


def test_means_and_ranges_over_seeds_at_every_epoch():
    found = training_summary(equivariance(), accuracy())
    assert tuple(found.columns) == columns("training_summary")
    assert len(found) == len(EPOCHS) * len(MEASURES)
    assert found["epoch"].is_monotonic_increasing
    by = found.set_index(["measure", "epoch"])
    for epoch in EPOCHS:
        ends = output_breaking(0, epoch), output_breaking(1, epoch)
        row = by.loc[(OUTPUT_BREAKING, epoch)]
        assert (row["lowest"], row["mean"], row["highest"]) == pytest.approx((ends[0], sum(ends) / 2, ends[1]))
        assert (row["floor"], row["n_seeds"]) == (2e-13, 2)
        # the last convolution, not the pool behind it
        assert by.loc[(MAP_BREAKING, epoch), "mean"] == pytest.approx(3 * sum(ends) / 2)
        assert by.loc[(MAP_BREAKING, epoch), "floor"] == 4e-14
        upright = 0.1 + 0.08 * epoch
        assert by.loc[(UPRIGHT, epoch), "mean"] == pytest.approx(upright + 0.005)
        assert by.loc[(ROTATED, epoch), "mean"] == pytest.approx(upright * (1 / 2 + 1 / 3 + 1 / 4) / 3 + 0.005)
        assert np.isnan(by.loc[(UPRIGHT, epoch), "floor"])


def test_networks_of_blocks_have_a_last_map_too():
    found = training_summary(equivariance(kind="block"), accuracy())
    assert (found["measure"] == MAP_BREAKING).sum() == len(EPOCHS)


def test_what_is_not_there_has_no_row():
    dead = equivariance()
    dead.loc[(dead["layer"] == "(output)") & (dead["seed"] == 1), "breaking_fraction"] = np.nan
    found = training_summary(dead, accuracy(angles=(0,)))
    assert set(found["measure"]) == {OUTPUT_BREAKING, MAP_BREAKING, UPRIGHT}
    assert (found.loc[found["measure"] == OUTPUT_BREAKING, "n_seeds"] == 1).all()
    only_output = equivariance().query("kind == 'output'")
    assert MAP_BREAKING not in set(training_summary(only_output, accuracy())["measure"])


def test_interpolated_elements_are_another_matter():
    off_grid = equivariance().assign(grid=False, breaking_fraction=0.9)
    found = training_summary(pd.concat([equivariance(), off_grid]), accuracy())
    pd.testing.assert_frame_equal(found, training_summary(equivariance(), accuracy()))


def test_nothing_gives_an_empty_table():
    found = training_summary(equivariance().iloc[:0], accuracy().iloc[:0])
    assert tuple(found.columns) == columns("training_summary")
    assert len(found) == 0
