"""Exactness over input sizes: every cell is that of the table, and what survives has a sign."""

import numpy as np
import pandas as pd
import pytest

from eqviz.errors import EqvizError
from eqviz.plots.exactness import exactness_by_size
from eqviz.plots.labels import networks

STATE = {"yes": 0, "no": 1, "unknown": 2}


def cells(ax):
    return np.asarray(ax.images[0].get_array())


def texts(labels):
    return [label.get_text() for label in labels]


def test_cells_are_the_predictions(exactness_table, synthetic):
    made = exactness_by_size(exactness_table.sample(frac=1, random_state=0))
    assert [ax.get_title(loc="left") for ax in made.axes] == ["P4 CNN", "Z2 CNN"]
    for ax, model in zip(made.axes, ("p4cnn", "z2cnn"), strict=True):
        own = exactness_table[exactness_table["model"] == model]
        wanted = own.assign(state=own["exact"].map(STATE)).pivot_table("state", "depth", "input_size")
        np.testing.assert_array_equal(cells(ax), wanted.to_numpy())
        assert texts(ax.get_xticklabels()) == [str(size) for size in range(11, 26)]
        assert texts(ax.get_yticklabels()) == list(synthetic.LAYERS)
    assert len([patch for patch in made.axes[1].patches if patch.get_gid() == "unknown"]) == 15


def test_what_survives_a_break_has_a_sign_once_a_column(synthetic):
    table = synthetic.exactness(models=("p4mcnn",), sizes=range(8, 14), kept="D1(transpose)")
    (ax,) = exactness_by_size(table).axes
    signs = [line for line in ax.lines if line.get_label() == "D1(transpose)"]
    assert [line.get_xdata()[0] for line in signs] == [1, 3, 5]
    assert {line.get_ydata()[0] for line in signs} == {(3 + 10) / 2}
    assert "D1 transpose survives" in texts(ax.figure.legends[0].get_texts())


def test_nothing_left_has_no_sign(exactness_table):
    made = exactness_by_size(exactness_table)
    assert not [line for ax in made.axes for line in ax.lines if "D1" in line.get_label()]
    assert texts(made.legends[0].get_texts()) == ["exact", "approximate", "unknown"]


def test_sizes_of_trained_networks_and_subsampling_layers_are_marked(exactness_table, synthetic):
    styles = networks(synthetic.equivariance())
    made = exactness_by_size(exactness_table, networks=styles, subsampling=["pool"])
    ax = made.axes[0]
    marks = {line.get_label(): line for line in ax.lines if line.get_label().startswith("P4")}
    assert {label: line.get_xdata()[0] for label, line in marks.items()} == {
        "P4 CNN, 15 px": 4, "P4 CNN, 16 px": 5, "P4 CNN, 17 px": 6,
    }  # fmt: skip
    assert [marks[style.label].get_color() for style in styles[:3]] == [style.colour for style in styles[:3]]
    assert [t.get_text() for t in ax.get_yticklabels() if t.get_bbox_patch() is not None] == ["pool"]
    assert texts(made.legends[0].get_texts())[-2:] == ["trained at this size", "subsamples"]


def test_sizes_that_are_not_square_and_cells_without_a_prediction(synthetic):
    table = synthetic.exactness(models=("mine",), sizes=(8, 9, 10))
    table["input_size"] = table["input_size"].map({8: "8x10", 9: "9x11", 10: "10x12"})
    table = table[~((table["input_size"] == "9x11") & (table["layer"] == "fc"))]
    (ax,) = exactness_by_size(table).axes
    assert texts(ax.get_xticklabels()) == ["8x10", "9x11", "10x12"]
    assert (cells(ax) == 3).sum() == 1


def test_two_groups_are_refused(exactness_table):
    with pytest.raises(EqvizError, match="one group"):
        exactness_by_size(pd.concat([exactness_table, exactness_table.assign(group="D4")]))
