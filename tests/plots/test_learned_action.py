import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from eqviz.errors import EqvizError
from eqviz.plots.labels import networks
from eqviz.plots.learned_action import learned_action_by_layer

ERRORS = {"identity": 1.2, "declared": 1.0, "permutation": 0.9, "orthogonal": 0.7, "ridge": 0.5}


def summary(synthetic, **chosen):
    rows = []
    for keys, value in synthetic.layer_rows(**chosen):
        for name, size in ERRORS.items():
            error = size if name == "identity" else size * np.sqrt(value)
            rows.append(
                keys
                | {"map": name, "error": error, "lowest": 0.9 * error, "highest": 1.1 * error, "training_error": error}
                | {"dimension": 8}
            )
    return pd.DataFrame(rows).drop(columns="grid")


@pytest.fixture
def table(synthetic):
    return summary(synthetic)


def said(made):
    (legend,) = made.legends
    return [text.get_text() for text in legend.get_texts()]


def test_one_panel_a_network_and_one_line_a_map(table):
    made = learned_action_by_layer(table)
    styled = networks(table)
    assert [ax.get_title(loc="left") for ax in made.axes] == [network.label for network in styled]
    for ax, network in zip(made.axes, styled, strict=True):
        own = network.rows(table)
        for name in ERRORS:
            (drawn,) = [one for one in ax.lines if one.get_label() == name]
            rows = own[own["map"] == name].sort_values("depth")
            np.testing.assert_allclose(drawn.get_ydata(), rows["error"])
            assert np.abs(drawn.get_xdata() - np.arange(len(rows))).max() < 0.5
    assert made.axes[0].get_ylim() == pytest.approx((0, 1.04 * 1.1 * 1.2))


def test_maps_differ_in_colour_marker_and_dash(table):
    ax = learned_action_by_layer(table).axes[0]
    drawn = [one for one in ax.lines if one.get_label() in ERRORS]
    assert len({one.get_color() for one in drawn}) == len({one.get_marker() for one in drawn}) == 5
    assert len({str(one._unscaled_dash_pattern) for one in drawn}) == 5


def test_the_legend_names_what_is_there(synthetic, table):
    assert said(learned_action_by_layer(table)) == [
        "nothing but pixels moves", "declared field type", "best permutation", "best orthogonal map",
        "best linear map (ridge)", "as bad as predicting 0", "range over 4 seeds", "subsamples",
    ]  # fmt: skip
    plain = summary(synthetic, models=(("z2cnn", 16),), seeds=1, subsampling=())
    assert said(learned_action_by_layer(plain[plain["map"] != "declared"])) == [
        "nothing but pixels moves", "best permutation", "best orthogonal map", "best linear map (ridge)",
        "as bad as predicting 0",
    ]  # fmt: skip


def test_layers_without_an_error_are_left_out(table):
    gone = table["layer"] == "conv3"
    made = learned_action_by_layer(table.assign(error=table["error"].mask(gone)))
    assert "conv3" not in [label.get_text() for label in made.axes[0].get_xticklabels()]
    with pytest.raises(EqvizError, match="a layer with an error"):
        learned_action_by_layer(table.assign(error=np.nan))


@pytest.mark.parametrize("models", [(("p4resnet44", 33),), (("p4resnet44", 32), ("p4resnet44", 33), ("p4cnn", 15))])
def test_no_text_is_clipped_in_deep_networks(synthetic, models):
    layers = ("conv1", *(f"stage{s}.{b}.conv{c}" for s in (1, 2, 3) for b in range(7) for c in (1, 2)), "(output)")
    made = learned_action_by_layer(summary(synthetic, models=models, layers=layers))
    canvas = FigureCanvasAgg(made)
    canvas.draw()
    width, height = canvas.get_width_height()
    for ax in made.axes:
        texts = [ax._left_title, ax.yaxis.label, *ax.get_xticklabels()]
        boxes = [text.get_window_extent() for text in texts if text.get_text() and text.get_visible()]
        assert all(0 <= box.x0 <= box.x1 <= width and 0 <= box.y0 <= box.y1 <= height for box in boxes)


def test_tables_that_cannot_be_drawn(table):
    with pytest.raises(EqvizError, match="at least one row"):
        learned_action_by_layer(table.iloc[:0])
    with pytest.raises(EqvizError, match="without dimension"):
        learned_action_by_layer(table.drop(columns="dimension"))
    with pytest.raises(EqvizError, match="one row for each"):
        learned_action_by_layer(pd.concat([table, table.assign(epoch=1)]))
