from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from eqviz.errors import EqvizError
from eqviz.plots.labels import networks
from eqviz.plots.layeraxis import LayerAxis, short_names
from eqviz.plots.layers import breaking_by_layer
from eqviz.plots.rotation import accuracy_over_rotation
from eqviz.plots.theme import SMALL_PT, figure

RESNET = ("conv1", *(f"stage{s}.{b}.conv{c}" for s in (1, 2, 3) for b in range(7) for c in (1, 2)), "fc", "(output)")


def line(ax, label):
    (found,) = [one for one in ax.lines if one.get_label() == label]
    return found


def resnet(synthetic):
    return synthetic.equivariance(
        models=(("p4resnet44", 32), ("p4resnet44", 33)), layers=RESNET, subsampling=("stage2.0.conv1", "stage3.0.conv1")
    )


def test_lines_are_the_breaking_fractions_on_a_log_scale(equivariance_table):
    ax = breaking_by_layer(equivariance_table)
    assert ax.get_yscale() == "log"
    for network in networks(equivariance_table):
        own = network.rows(equivariance_table)
        positive = own["breaking_fraction"].to_numpy() > 0
        np.testing.assert_allclose(
            line(ax, network.label).get_ydata()[positive], own["breaking_fraction"][positive].to_numpy()
        )
        assert line(ax, network.label).get_color() == network.colour


def test_layers_stand_in_execution_order(equivariance_table, synthetic):
    ax = breaking_by_layer(equivariance_table.sample(frac=1, random_state=1))
    assert [label.get_text() for label in ax.get_xticklabels()] == list(synthetic.LAYERS)


def test_zeros_do_not_vanish(equivariance_table):
    ax = breaking_by_layer(equivariance_table)
    mark = line(ax, "P4 CNN, 16 px: exactly 0")
    assert mark.get_ydata().tolist() == [ax.get_ylim()[0]]
    assert (mark.get_marker(), mark.get_markerfacecolor()) == ("v", "white")
    assert "exactly 0" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_ranges_and_rounding_floor_are_those_of_the_table(equivariance_table, synthetic):
    ax = breaking_by_layer(equivariance_table)
    bars = [one for one in ax.collections if len(one.get_paths()) == len(synthetic.LAYERS)]
    ends = np.array([path.vertices[:, 1] for path in bars[0].get_paths()])
    own = networks(equivariance_table)[0].rows(equivariance_table)
    np.testing.assert_allclose(ends[1:, 0], own["lowest"].to_numpy()[1:])
    np.testing.assert_allclose(ends[1:, 1], own["highest"].to_numpy()[1:])
    (floor,) = [one for one in ax.collections if one.get_label() == "float32 rounding"]
    assert floor.get_paths()[0].vertices[:, 1].max() == pytest.approx(equivariance_table["floor"].max())


def test_subsampling_layers_are_striped_and_named(synthetic):
    ax = breaking_by_layer(resnet(synthetic))
    centres = [patch.get_x() + patch.get_width() / 2 for patch in ax.patches if patch.get_gid() == "subsamples"]
    assert centres == pytest.approx([RESNET.index("stage2.0.conv1"), RESNET.index("stage3.0.conv1")])
    assert [text.get_text() for text in ax.texts] == ["subsamples"] * 2


@pytest.mark.parametrize("width", [85, 178])
def test_tick_labels_of_deep_networks_do_not_overlap(width, synthetic):
    made, (ax,) = figure(width, 75)
    breaking_by_layer(resnet(synthetic), ax)
    FigureCanvasAgg(made).draw()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert {"conv1", "stage2.0.conv1", "stage3.0.conv1", "(output)"} <= {t.get_text() for t in ax.get_xticklabels()}
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert {label.get_fontsize() for label in ax.get_xticklabels()} == {SMALL_PT}


def test_dead_layers_are_left_out_and_all_dead_is_refused(equivariance_table):
    dead = equivariance_table.assign(
        breaking_fraction=equivariance_table["breaking_fraction"].where(equivariance_table["layer"] != "fc")
    )
    assert "fc" not in [label.get_text() for label in breaking_by_layer(dead).get_xticklabels()]
    with pytest.raises(EqvizError, match="breaking fraction"):
        breaking_by_layer(dead.assign(breaking_fraction=np.nan))


def test_all_zero_and_missing_floors_still_draw(equivariance_table):
    ax = breaking_by_layer(equivariance_table.assign(breaking_fraction=0.0, lowest=0.0, highest=0.0, floor=np.nan))
    assert ax.get_ylim()[0] == 1e-16
    assert "float32 rounding" not in [text.get_text() for text in ax.get_legend().get_texts()]


def test_one_seed_explains_no_range(synthetic):
    ax = breaking_by_layer(synthetic.equivariance(seeds=1))
    assert not any("range" in text.get_text() for text in ax.get_legend().get_texts())


def test_colours_agree_between_figures(accuracy_table, equivariance_table):
    styles = networks(accuracy_table)
    rotation = accuracy_over_rotation(accuracy_table, networks=styles)
    layers = breaking_by_layer(equivariance_table[equivariance_table["input_size"] == 16], networks=styles)
    for label in ("P4 CNN, 16 px", "Z2 CNN, 16 px"):
        assert line(rotation, label).get_color() == line(layers, label).get_color()
        assert line(rotation, label).get_linestyle() == line(layers, label).get_linestyle()


def test_a_second_call_has_its_own_place():
    table = pd.DataFrame({"layer": ["act", "act"], "call": [0, 1], "depth": [0, 3], "subsamples": [False, pd.NA]})
    axis = LayerAxis.of(table)
    assert axis.labels() == ("act", "act (call 2)")
    assert axis.positions(table).tolist() == [0, 1]
    assert axis.stripes() == ()


def test_neighbouring_stripes_are_one():
    places = tuple((f"conv{n}", 0) for n in range(5))
    assert LayerAxis(places, frozenset({places[1], places[2], places[4]})).stripes() == ((1, 2), (4, 4))


DEEP = tuple(f"vision_model.encoder_of_patches.layers.{n}.self_attention.{part}" for n in (1, 11) for part in "qk")


def test_long_names_leave_room_for_the_picture(synthetic):
    ax = breaking_by_layer(synthetic.equivariance(layers=(*DEEP, "(output)"), subsampling=()))
    FigureCanvasAgg(ax.figure).draw()  # a picture that collapses is a warning, and so an error
    assert ax.get_window_extent().height > 0.3 * ax.figure.bbox.height
    shown = [label.get_text() for label in ax.get_xticklabels()]
    ends = [f"…{n}.self_attention.{part}" for n in (1, 11) for part in "qk"]
    assert shown == [*ends, "(output)"]


def test_short_names_are_ends_of_paths_and_tell_layers_apart():
    found = short_names([*DEEP, "head", "a" * 60, "b" * 60 + ".conv"])
    assert all(name.endswith(short.removeprefix("…")) for name, short in found.items())
    assert found["head"] == "head"
    assert found["a" * 60] == "…" + "a" * (len(found["a" * 60]) - 1)  # else there is no room for the drawing
    alike = [f"{tower}.encoder_of_patches.layers.self_attention" for tower in ("vision", "text")]
    assert len(set(short_names(alike).values())) == 2
