"""Lines, ranges and floors are those of the table; a panel a transformation."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from eqviz.errors import EqvizError
from eqviz.plots.labels import networks
from eqviz.plots.lie_derivative import lie_derivative_by_layer

UNITS = {"rotation": "radian", "translation x": "pixel", "translation y": "pixel", "scale": "log scale"}


def summary(synthetic, transformations=tuple(UNITS), **chosen):
    rows = []
    for keys, value in synthetic.layer_rows(**chosen):
        keys = {key: item for key, item in keys.items() if key != "grid"}
        for place, name in enumerate(transformations):
            error = (1 + place) * (0.2 + value)
            known = keys["layer"] != "(output)"
            rows.append(
                keys
                | {"transformation": name, "unit": UNITS[name], "change": 1.0, "expected": 1.0}
                | {"lie_error": error, "lowest": 0.9 * error, "highest": 1.2 * error, "floor": 0.1 * (1 + place)}
                | {"local_error": 0.5 * error if known else np.nan, "local_lowest": 0.4 * error if known else np.nan}
                | {"local_highest": 0.6 * error if known else np.nan, "local_floor": 0.05 * (1 + place)}
                | {"edge_share": 0.5, "edge_pixels": 0.2}
            )
    return pd.DataFrame(rows)


def line(ax, label):
    (found,) = [one for one in ax.lines if one.get_label() == label]
    return found


def legend(made):
    return [text.get_text() for text in made.legends[0].get_texts()]


@pytest.mark.parametrize(
    ("local", "value", "highest"), [(False, "lie_error", "highest"), (True, "local_error", "local_highest")]
)
def test_lines_ranges_and_floors_are_those_of_the_table(synthetic, local, value, highest):
    table = summary(synthetic)
    made = lie_derivative_by_layer(table.sample(frac=1, random_state=1).sort_values("transformation"), local=local)
    assert [ax.get_title(loc="left") for ax in made.axes] == sorted(UNITS)
    for ax in made.axes:
        name = ax.get_title(loc="left")
        for network in networks(table):
            own = network.rows(table[table["transformation"] == name].dropna(subset=[value]))
            np.testing.assert_allclose(line(ax, network.label).get_ydata(), own[value])
            assert line(ax, network.label).get_color() == network.colour
        (floor,) = [one for one in ax.collections if one.get_label() == "floor"]
        expected = table.loc[table["transformation"] == name, "local_floor" if local else "floor"].max()
        assert floor.get_paths()[0].vertices[:, 1].max() == pytest.approx(expected)
        assert ax.get_ylim()[0] == 0
        bars = [one for one in ax.collections if one is not floor]
        ends = max(path.vertices[:, 1].max() for one in bars for path in one.get_paths())
        assert ends == pytest.approx(table.loc[table["transformation"] == name, highest].max())
        assert ax.get_ylim()[1] > ends
    assert ("local" in made.axes[0].get_ylabel()) == local


def test_axes_say_their_units_and_only_the_lowest_name_layers(synthetic):
    made = lie_derivative_by_layer(summary(synthetic))
    assert [ax.get_ylabel() for ax in made.axes] == [
        "error per radian", "error per pixel", "error per pixel", "error per unit of log scale",
    ]  # fmt: skip
    assert [bool(ax.get_xlabel()) for ax in made.axes] == [False, False, True, True]
    assert [text.get_text() for text in made.axes[2].get_xticklabels()] == list(synthetic.LAYERS)
    assert "floor: derivatives of order 2 for 4" in legend(made)
    assert "range over 4 seeds" in legend(made)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_panel_a_transformation_and_none_overlap(synthetic, count):
    names = tuple(UNITS)[:count]
    made = lie_derivative_by_layer(summary(synthetic, names, models=(("p4cnn", 16),), seeds=1))
    FigureCanvasAgg(made).draw()
    shown = [ax for ax in made.axes if ax.axison]
    assert [ax.get_title(loc="left") for ax in shown] == list(names)
    boxes = [ax.get_tightbbox() for ax in shown]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])
    assert not any("range" in text for text in legend(made))


def test_deep_networks_keep_their_labels_apart(synthetic):
    layers = tuple(f"layers.{n // 14}.{n % 14 // 2}.conv{n % 2 + 1}" for n in range(42))
    made = lie_derivative_by_layer(summary(synthetic, layers=layers, subsampling=("layers.1.0.conv1",)))
    FigureCanvasAgg(made).draw()
    boxes = [label.get_window_extent() for label in made.axes[2].get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_dead_layers_are_left_out_and_zeros_are_drawn(synthetic):
    table = summary(synthetic)
    dead = table.assign(lie_error=table["lie_error"].where(table["layer"] != "fc"))
    made = lie_derivative_by_layer(dead)
    assert "fc" not in [text.get_text() for text in made.axes[-1].get_xticklabels()]
    still = table.assign(lie_error=0.0, lowest=0.0, highest=0.0, floor=np.nan)
    made = lie_derivative_by_layer(still)
    assert made.axes[0].get_ylim() == (0, 1)
    assert not any("floor" in text for text in legend(made))


def test_what_it_does_not_draw(synthetic):
    table = summary(synthetic)
    with pytest.raises(EqvizError, match="at least one row"):
        lie_derivative_by_layer(table.iloc[:0])
    with pytest.raises(EqvizError, match="a layer with a local error"):
        lie_derivative_by_layer(table.assign(local_error=np.nan), local=True)
    with pytest.raises(EqvizError, match="one row for each"):
        lie_derivative_by_layer(pd.concat([table, table.assign(epoch=1)]))
    with pytest.raises(EqvizError, match="without floor"):
        lie_derivative_by_layer(table.drop(columns="floor"))
