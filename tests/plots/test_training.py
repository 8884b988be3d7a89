from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from eqviz import tables
from eqviz.errors import EqvizError
from eqviz.plots.labels import networks
from eqviz.plots.training import breaking_over_training

EPOCHS = (0, 1, 2, 5, 10, 15, 20)
MEASURES = (
    "accuracy at 0 degrees", "accuracy, mean over the other quarter turns", "breaking fraction at the output",
    "breaking fraction at the last convolution",
)  # fmt: skip
MODELS = (("p4cnn", 15, 0.1), ("p4cnn", 16, 1e-15), ("z2cnn", 16, 0.4))


def summary(models=MODELS, epochs=EPOCHS, measures=MEASURES, seeds=2, **changes):
    rows = []
    for model, size, breaking in models:
        for epoch in epochs:
            for measure in measures:
                part = min(1.0, (epoch + 1) / 21)
                value = breaking * part if measure.startswith("breaking") else 0.1 + 0.8 * part
                floor = 1e-14 if measure.startswith("breaking") else np.nan
                rows.append(
                    {"model": model, "input_size": size, "group": "C4", "epoch": epoch, "data": "digits"}
                    | {"regime": "upright", "measure": measure, "mean": value, "lowest": 0.8 * value}
                    | {"highest": 1.1 * value, "floor": floor, "n_seeds": seeds}
                    | changes
                )
    return pd.DataFrame(rows)


def drawn(made):
    FigureCanvasAgg(made).draw()
    return made


def panel(made, title):
    (found,) = [ax for ax in made.axes if ax.get_title(loc="left") == title]
    return found


def line(ax, label):
    (found,) = [one for one in ax.lines if one.get_label() == label]
    return found


def test_breaking_comes_first_and_every_measure_has_a_panel():
    made = drawn(breaking_over_training(summary()))
    assert [ax.get_title(loc="left") for ax in made.axes] == [
        "breaking fraction at the output", "breaking fraction at the last convolution", "accuracy at 0 degrees (%)",
        "accuracy, mean over the other quarter turns (%)",
    ]  # fmt: skip
    assert [ax.get_yscale() for ax in made.axes] == ["log", "log", "linear", "linear"]
    assert [ax.get_xlabel() for ax in made.axes] == ["", "", "epoch", "epoch"]


def test_lines_are_the_means_whatever_the_order_of_rows():
    table = summary().sample(frac=1, random_state=0)
    made = breaking_over_training(table)
    for title, measure, scale in (
        ("accuracy at 0 degrees (%)", MEASURES[0], 100), ("breaking fraction at the output", MEASURES[2], 1),
    ):  # fmt: skip
        for network in networks(table):
            own = network.rows(table[table["measure"] == measure]).sort_values("epoch")
            found = line(panel(made, title), network.label)
            assert found.get_xdata().tolist() == list(EPOCHS)
            np.testing.assert_allclose(found.get_ydata(), scale * own["mean"].to_numpy())


def test_the_untrained_network_is_marked():
    made = breaking_over_training(summary())
    ax = made.axes[0]
    for network in networks(summary()):
        mark = line(ax, f"{network.label}: untrained")
        assert mark.get_xdata().tolist() == [0]
        assert (mark.get_markerfacecolor(), mark.get_markeredgecolor()) == ("white", network.colour)
        assert mark.get_marker() not in "x+1"
        assert 0 not in line(ax, f"{network.label}: epochs").get_xdata()
    assert "untrained" in [text.get_text() for text in made.legends[0].get_texts()]
    trained = breaking_over_training(summary(epochs=EPOCHS[1:]))
    assert "untrained" not in [text.get_text() for text in trained.legends[0].get_texts()]


@pytest.mark.parametrize("epochs", [EPOCHS, tuple(range(0, 301, 5)), (20,), (0,)])
def test_epochs_are_named_without_overlap(epochs):
    made = drawn(breaking_over_training(summary(epochs=epochs)))
    for ax in made.axes:
        ticks = [int(label.get_text()) for label in ax.get_xticklabels()]
        assert {epochs[0], epochs[-1]} <= set(ticks) <= set(epochs)
        boxes = sorted((label.get_window_extent() for label in ax.get_xticklabels()), key=lambda box: box.x0)
        assert all(a.x1 < b.x0 for a, b in pairwise(boxes))
    if epochs == EPOCHS:
        assert sorted(ticks) == list(EPOCHS)


def test_ranges_and_rounding_are_areas():
    table = summary()
    ax = breaking_over_training(table).axes[0]
    (rounding,) = [one for one in ax.collections if one.get_label() == "float32 rounding"]
    assert rounding.get_paths()[0].vertices[:, 1].max() == pytest.approx(1e-14)
    bands = [one for one in ax.collections if one is not rounding]
    assert len(bands) == len(MODELS)
    assert bands[0].get_paths()[0].vertices[:, 1].max() == pytest.approx(1.1 * 0.1)


def test_exact_zeros_stand_at_the_lower_edge():
    models = (("p4cnn", 15, 0.1), ("p4cnn", 16, 0.0))
    ax = drawn(breaking_over_training(summary(models=models))).axes[0]
    assert set(line(ax, "P4 CNN, 16 px").get_ydata()) == {ax.get_ylim()[0]}


def test_legends_name_what_is_there_and_lie_within_the_figure():
    many = tuple(("p4cnn", size, 0.1) for size in range(12, 18))
    for models, seeds in ((MODELS, 2), (MODELS[:1], 1), (many, 5)):
        made = drawn(breaking_over_training(summary(models=models, seeds=seeds)))
        assert made.legends[0].get_window_extent().x1 <= made.bbox.x1
        words = [text.get_text() for text in made.legends[0].get_texts()]
        assert ("range over 5 seeds" in words) == (seeds == 5)
        assert any("range" in word for word in words) == (seeds > 1)


def test_one_measure_is_one_panel_and_three_leave_none_empty():
    assert len(breaking_over_training(summary(measures=MEASURES[:1])).axes) == 1
    three = drawn(breaking_over_training(summary(measures=MEASURES[:3])))
    assert [ax.axison for ax in three.axes] == [True, True, True, False]
    assert [ax.get_xlabel() for ax in three.axes[:3]] == ["", "epoch", "epoch"]


def test_what_cannot_be_drawn_is_said():
    for wrong in (tables.empty("training_summary"), summary().drop(columns="regime")):
        with pytest.raises(EqvizError, match=r"^table training_summary: [^\n]*$"):
            breaking_over_training(wrong)
    with pytest.raises(EqvizError, match="one row for each"):
        breaking_over_training(pd.concat([summary(), summary(regime="uniform")]))
    with pytest.raises(EqvizError, match="a measure with a value"):
        breaking_over_training(summary(mean=np.nan))


def test_styles_given_are_used_and_the_table_stays_as_it_was():
    table = summary()
    before = table.copy(deep=True)
    styled = networks(table)
    plain = breaking_over_training(table[table["model"] == "z2cnn"], networks=styled)
    assert line(plain.axes[0], "Z2 CNN, 16 px").get_color() == styled[-1].colour
    pd.testing.assert_frame_equal(table, before)
