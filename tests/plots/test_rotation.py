import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.projections.polar import PolarAxes

from eqviz.errors import EqvizError
from eqviz.plots.labels import networks
from eqviz.plots.rotation import accuracy_over_rotation, accuracy_polar, wrapped_normal
from eqviz.plots.theme import figure


def line(ax, label):
    (found,) = [one for one in ax.lines if one.get_label() == label]
    return found


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def rows(table, network):
    return network.rows(table[~table["reflected"]]).sort_values("angle")


def test_lines_are_the_means_in_percent_by_angle(accuracy_table):
    shuffled = accuracy_table.sample(frac=1, random_state=0)
    ax = accuracy_over_rotation(shuffled)
    for network in networks(accuracy_table):
        own = rows(accuracy_table, network)
        drawn = line(ax, network.label)
        np.testing.assert_allclose(drawn.get_xdata(), own["angle"])
        np.testing.assert_allclose(drawn.get_ydata(), 100 * own["mean"])
        assert to_hex(drawn.get_color(), keep_alpha=False).upper() == network.colour.upper()
        exact = line(ax, f"{network.label}: exact rotations")
        assert list(exact.get_xdata()) == [0, 90, 180, 270]
        assert exact.get_marker() == network.marker


def test_bands_reach_from_low_to_high(accuracy_table):
    ax = accuracy_over_rotation(accuracy_table)
    bands = [band for band in ax.collections if str(band.get_label()).endswith("interval")]
    assert len(bands) == 4
    for network, band in zip(networks(accuracy_table), bands, strict=True):
        own, box = rows(accuracy_table, network), band.get_datalim(ax.transData)
        assert box.y0 == pytest.approx(100 * own["low"].min())
        assert box.y1 == pytest.approx(100 * own["high"].max())


def test_axes_say_what_they_show(accuracy_table):
    ax = accuracy_over_rotation(accuracy_table, chance=0.1)
    assert ax.get_xlabel() == "input rotation (degrees)"
    assert ax.get_ylabel() == "accuracy (%)"
    assert list(ax.get_xticks()) == [0, 90, 180, 270]
    assert {"P4 CNN, 15 px", "chance (10%)", "95% t interval, 4 seeds"} <= set(legend(ax))
    assert list(line(ax, "chance (10%)").get_ydata()) == [10, 10]


def test_one_seed_has_no_band(synthetic):
    ax = accuracy_over_rotation(synthetic.accuracy(seeds=1))
    assert len(ax.collections) == 0
    assert not any("interval" in text for text in legend(ax))


def test_names_stand_at_the_lines_where_they_have_room(synthetic):
    table = synthetic.accuracy(seeds=1, step=90)
    ax = accuracy_over_rotation(table[table["input_size"] == 16])
    assert ax.get_legend() is None
    assert [text.get_text() for text in ax.texts] == ["P4 CNN, 16 px", "Z2 CNN, 16 px"]


def test_training_angles_are_drawn_only_when_biased(accuracy_table):
    def hills(density):
        ax = accuracy_over_rotation(accuracy_table, density=density)
        return [one for one in ax.collections if "training" in str(one.get_label())]

    (hill,) = hills((45.0, 20.0))
    vertices = hill.get_paths()[0].vertices
    assert vertices[vertices[:, 1].argmax(), 0] == pytest.approx(45, abs=1)
    assert hills("uniform") == hills(None) == []


def test_wrapped_normal_is_periodic_and_adds_to_one():
    angles = np.arange(0.0, 360.0)
    np.testing.assert_allclose(wrapped_normal(angles, 10, 60), wrapped_normal(angles + 360, 10, 60), rtol=1e-6)
    assert wrapped_normal(angles, 350, 40).sum() == pytest.approx(1)


def test_polar_starts_at_the_top_runs_counter_clockwise_and_closes(accuracy_table):
    ax = accuracy_polar(accuracy_table)
    assert isinstance(ax, PolarAxes)
    assert ax.get_theta_offset() == pytest.approx(np.pi / 2)
    assert ax.get_theta_direction() == 1
    for network in networks(accuracy_table):
        drawn, own = line(ax, network.label), rows(accuracy_table, network)
        np.testing.assert_allclose(drawn.get_ydata()[:-1], 100 * own["mean"])
        np.testing.assert_allclose(np.rad2deg(drawn.get_xdata()[:-1]), own["angle"])
        assert drawn.get_ydata()[-1] == drawn.get_ydata()[0]


def test_polar_wants_polar_axes(accuracy_table):
    _, (ax,) = figure()
    with pytest.raises(EqvizError, match="polar"):
        accuracy_polar(accuracy_table, ax)


def test_given_axes_are_used_and_the_legend_may_be_left_out(accuracy_table):
    _, (first, second) = figure(178, 60, columns=2)
    assert accuracy_over_rotation(accuracy_table, first, legend=False) is first
    assert first.get_legend() is None
    assert not second.lines


def test_two_masks_or_only_reflected_rows_are_refused(accuracy_table):
    with pytest.raises(EqvizError, match="one value of mask"):
        accuracy_over_rotation(pd.concat([accuracy_table, accuracy_table.assign(mask="none")]))
    with pytest.raises(EqvizError, match="not reflected"):
        accuracy_over_rotation(accuracy_table[accuracy_table["reflected"]])
