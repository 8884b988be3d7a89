import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.projections.polar import PolarAxes

from eqviz.errors import EqvizError
from eqviz.plots.labels import networks
from eqviz.plots.rotation import accuracy_over_rotation, accuracy_polar
from eqviz.plots.theme import figure
from eqviz.plots.training_angles import density, wrapped_normal


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


def hills(ax):
    return [one for one in [*ax.collections, *ax.lines] if "training" in str(one.get_label())]


def test_training_angles_are_drawn_as_they_were(accuracy_table):
    drawn = {
        shape: hills(accuracy_over_rotation(accuracy_table, density=shape))
        for shape in ((45.0, 20.0), "uniform", "upright", None)
    }
    (hill,), (flat,), (spike,) = drawn[45.0, 20.0], drawn["uniform"], drawn["upright"]
    vertices = hill.get_paths()[0].vertices
    assert vertices[vertices[:, 1].argmax(), 0] == pytest.approx(45, abs=1)
    assert len(set(flat.get_paths()[0].vertices[:, 1].round(9))) == 2  # its foot and its top
    assert list(spike.get_xdata()) == [0, 0]
    assert drawn[None] == []


def test_polar_training_angles_point_where_they_were(accuracy_table):
    (lobe,) = hills(accuracy_polar(accuracy_table, density=(45.0, 20.0)))
    vertices = lobe.get_paths()[0].vertices
    assert np.rad2deg(vertices[vertices[:, 1].argmax(), 0]) == pytest.approx(45, abs=1)
    (ring,) = hills(accuracy_polar(accuracy_table, density="uniform"))
    assert len(set(ring.get_paths()[0].vertices[:, 1].round(9))) == 2


@pytest.mark.parametrize(
    ("regime", "shape"),
    [
        ("N(45, 20)", (45.0, 20.0)), ("N(-22.5, 5), quarter turns", (-22.5, 5.0)), ("upright", "upright"),
        ("upright, 500 images", "upright"), ("uniform", "uniform"), ("upright, quarter turns", None), ("N(x", None),
        ("N(, )", None), ("", None),
    ],
)  # fmt: skip
def test_the_density_of_a_training_regime(regime, shape):
    assert density(regime) == shape


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


def published(table, **changes):
    """Published numbers of the networks of `table`, a row a metric; 0.9 at 0 and at 90 degrees but for `changes`."""
    keys = ["model", "input_size", "group", "epoch", "data", "regime"]
    ours = {"mean": 0.5, "std": 0.1, "low": 0.4, "high": 0.6, "n_seeds": 3, "difference": -0.4, "within": False}
    theirs = {"mean": 0.9, "std": 0.03, "low": 0.88, "high": 0.92, "n_seeds": 10} | changes
    named = {f"published_{name}": value for name, value in theirs.items()} | {"source": "A paper"}
    networks = table[keys].drop_duplicates().to_dict("records")
    metrics = ("0°", "90°", "mean of 36 angles")
    return pd.DataFrame([row | {"metric": metric} | ours | named for row in networks for metric in metrics])


@pytest.mark.parametrize("plot", [accuracy_over_rotation, accuracy_polar])
def test_published_means_stand_behind_ours_with_their_intervals(accuracy_table, plot):
    more = published(accuracy_table, mean=0.7, n_seeds=100)
    known = pd.concat([published(accuracy_table), more[more["metric"] == "0°"]])  # at 0 degrees alone: not drawn
    ax = plot(accuracy_table, published=known)
    assert "published (10 seeds)" in legend(ax)
    for network, found in zip(networks(accuracy_table), ax.containers, strict=True):
        assert found.get_label() == f"{network.label}: published"
        points, _, (bars,) = found
        angles = points.get_xdata() if plot is accuracy_over_rotation else np.rad2deg(points.get_xdata())
        assert angles.tolist() == pytest.approx([0, 90])
        assert points.get_ydata().tolist() == [90, 90]
        assert points.get_markerfacecolor() == "none"
        assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [pytest.approx([88, 92])] * 2
        assert points.get_zorder() < line(ax, network.label).get_zorder()


def test_without_published_numbers_nothing_of_them_is_drawn(accuracy_table):
    for nothing in (None, published(accuracy_table).iloc[:0], published(accuracy_table).iloc[[2]]):
        ax = accuracy_over_rotation(accuracy_table, published=nothing)
        assert ax.containers == []
        assert not any("published" in text for text in legend(ax))


def test_published_numbers_of_two_regimes_are_refused(accuracy_table):
    known = published(accuracy_table)
    with pytest.raises(EqvizError, match="one value of regime"):
        accuracy_over_rotation(accuracy_table, published=pd.concat([known, known.assign(regime="uniform")]))
