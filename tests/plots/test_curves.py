"""Learning curves: lines and bands, the line of chance, and panels by data."""

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from eqviz.errors import EqvizError
from eqviz.plots.curves import learning_curves
from eqviz.plots.labels import networks

MEASURES = ("train_loss", "train_accuracy", "test_accuracy")


def curves(models=(("p4conv", 32), ("p4conv", 33)), data=("pair",), measures=MEASURES, seeds=3):
    rows = []
    for model, size in models:
        for source in data:
            for measure in measures:
                for epoch in range(0 if measure == "test_accuracy" else 1, 9):
                    value = (size - 31) / (1 + epoch)
                    rows.append(
                        {"model": model, "input_size": size, "group": "C4", "epoch": epoch, "data": source}
                        | {"regime": "upright", "measure": measure, "mean": value, "lowest": 0.9 * value}
                        | {"highest": 1.2 * value, "n_seeds": seeds}
                    )
    return pd.DataFrame(rows)


def test_lines_are_means_and_bands_reach_from_lowest_to_highest():
    table = curves()
    made = learning_curves(table.sample(frac=1, random_state=0))
    assert [ax.get_ylabel() for ax in made.axes] == [
        "training loss (nats)", "training accuracy (%)", "test accuracy, upright (%)",
    ]  # fmt: skip
    for ax, measure in zip(made.axes, MEASURES, strict=True):
        scale = 1 if measure == "train_loss" else 100
        for network, band in zip(networks(table), ax.collections, strict=True):
            own = network.rows(table[table["measure"] == measure]).sort_values("epoch")
            (line,) = [one for one in ax.lines if one.get_label() == network.label]
            np.testing.assert_allclose(line.get_xdata(), own["epoch"])
            np.testing.assert_allclose(line.get_ydata(), scale * own["mean"])
            box = band.get_datalim(ax.transData)
            assert (box.y0, box.y1) == pytest.approx((scale * own["lowest"].min(), scale * own["highest"].max()))
    (legend,) = made.legends
    assert [text.get_text() for text in legend.get_texts()][-1] == "range over 3 seeds"


def test_the_loss_of_guessing_is_a_line_with_its_value_on_it():
    made = learning_curves(curves(), chance_loss=math.log(2))
    loss, *others = made.axes
    (chance,) = [line for line in loss.lines if line.get_label() == "chance"]
    assert list(chance.get_ydata()) == [math.log(2)] * 2
    assert [text.get_text() for text in loss.texts] == ["chance, ln 2 = 0.693"]
    assert not any(line.get_label() == "chance" for ax in others for line in ax.lines)
    assert [text.get_text() for text in learning_curves(curves(), chance_loss=0.5).axes[0].texts] == ["chance 0.500"]


def test_the_line_of_chance_is_in_view_even_where_all_losses_are_below_it():
    low = curves(models=[("p4conv", 32)])
    made = learning_curves(
        low.assign(**{name: low[name] / 100 for name in ("mean", "lowest", "highest")}), chance_loss=3
    )
    assert made.axes[0].get_ylim()[1] > 3


def test_losses_over_more_than_a_decade_are_on_a_log_scale():
    def scale(largest):
        table = curves(models=[("p4conv", 32)], measures=["train_loss"])  # its values are from 1/9 to 1/2
        return learning_curves(table.assign(highest=largest)).axes[0].get_yscale()

    assert (scale(0.9), scale(1.1)) == ("linear", "log")


def test_every_data_set_has_a_lettered_column_of_panels():
    made = learning_curves(curves(data=("rotated-pair", "mirrored-pair")), measures=["test_accuracy", "train_loss"])
    FigureCanvasAgg(made).draw()
    assert [ax.get_title(loc="left") for ax in made.axes] == [
        rf"$\mathbf{{{letter}}}$  {name}"
        for letter, name in zip("abcd", 2 * ("rotated-pair", "mirrored-pair"), strict=True)
    ]  # fmt: skip
    assert [ax.get_ylabel() for ax in made.axes] == ["training loss (nats)", "", "test accuracy, upright (%)", ""]
    assert [ax.get_xlabel() for ax in made.axes] == ["", "", "epoch", "epoch"]


def test_one_measure_on_one_data_set_is_one_panel_without_a_letter():
    made = learning_curves(curves(seeds=1), measures=["train_loss"])
    (ax,) = made.axes
    assert ax.get_title(loc="left") == ""
    assert not any("range" in text.get_text() for text in made.legends[0].get_texts())


def test_a_measure_that_is_not_there_and_two_groups_are_refused():
    with pytest.raises(EqvizError, match="train_loss"):
        learning_curves(curves(measures=["test_accuracy"]), measures=["train_loss"])
    with pytest.raises(EqvizError, match="one row for each"):
        learning_curves(pd.concat([curves(), curves().assign(group="D4")]))
