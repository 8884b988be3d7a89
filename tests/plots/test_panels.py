from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from eqviz.errors import EqvizError
from eqviz.plots.attribution_maps import AttributionPanel, BreakingPanel, attribution_examples, breaking_attribution
from eqviz.plots.features import FeaturePanel, aligned_features
from eqviz.plots.overview import accuracy_overview
from eqviz.plots.spectrum import isotypic_spectrum
from eqviz.plots.subgroups import surviving_subgroups

D4 = (
    "C1", "C2", "C4", "D1(left-right)", "D1(up-down)", "D1(transpose)", "D1(anti-transpose)", "D2(axes)",
    "D2(diagonals)", "D4",
)  # fmt: skip


def titles(made):
    return [ax.get_title(loc="left") for ax in made.axes if ax.get_title(loc="left")]


LABELS = ["P4 CNN, 15 px", "P4 CNN, 16 px", "P4 CNN, 17 px", "Z2 CNN, 16 px"]


def test_spectrum_stacks_the_breaking_irreps(spectrum_table):
    made = isotypic_spectrum(spectrum_table)
    assert titles(made) == LABELS
    first = made.axes[0]
    assert [bars.get_label() for bars in first.containers] == ["B", "E"]
    own = spectrum_table[(spectrum_table["input_size"] == 15)]
    for bars, irrep in zip(first.containers, ("B", "E"), strict=True):
        np.testing.assert_allclose([bar.get_height() for bar in bars], own.loc[own["irrep"] == irrep, "energy"])
    tops = [bar.get_y() + bar.get_height() for bar in first.containers[-1]]
    np.testing.assert_allclose(tops, 1 - own.loc[own["irrep"] == "A", "energy"], atol=1e-12)


def test_spectrum_panels_share_their_scale(spectrum_table):
    assert len({ax.get_ylim() for ax in isotypic_spectrum(spectrum_table).axes}) == 1


def test_spectrum_says_where_nothing_breaks_with_the_largest_energy(spectrum_table):
    made = isotypic_spectrum(spectrum_table)
    said = [[text.get_text() for text in ax.texts if "nothing" in text.get_text()] for ax in made.axes]
    assert [len(texts) for texts in said] == [0, 1, 0, 0]
    exact = spectrum_table[(spectrum_table["model"] == "p4cnn") & (spectrum_table["input_size"] == 16)]
    largest = exact.loc[exact["irrep"] != "A", "energy"].max()
    assert f"{largest:.1e}" in said[1][0]


def test_spectrum_legend_tells_what_irreps_mean(spectrum_table, synthetic):
    def words(made):
        return [text.get_text() for text in made.legends[0].get_texts()]

    assert words(isotypic_spectrum(spectrum_table))[1] == "E: even 180° is broken"
    both = isotypic_spectrum(synthetic.spectrum(irreps=("A1", "A2", "B1", "B2", "E"), group="D4"))
    assert words(both)[2] == "B2: if alone, D2 (diagonals) survives"


def test_spectrum_without_the_symmetric_part_is_refused(spectrum_table):
    with pytest.raises(EqvizError, match="symmetric part"):
        isotypic_spectrum(spectrum_table[spectrum_table["irrep"] != "A"])


def test_odd_numbers_of_panels_leave_no_empty_frame(spectrum_table):
    made = isotypic_spectrum(spectrum_table[spectrum_table["model"] == "p4cnn"])
    assert [ax.axison for ax in made.axes] == [True, True, True, False]


def marks(ax, label):
    return sorted((x, y) for one in ax.lines if one.get_label() == label for x, y in one.get_xydata().tolist())


def test_subgroups_are_coloured_by_residual_and_marked(subgroups_table, synthetic):
    made = surviving_subgroups(subgroups_table)
    assert titles(made) == LABELS
    first = made.axes[0]
    own = subgroups_table[subgroups_table["input_size"] == 15]
    expected = own["residual"].to_numpy().reshape(len(synthetic.LAYERS), 3)
    cells = first.images[0].get_array()
    np.testing.assert_allclose(cells, np.maximum(expected, first.images[0].norm.vmin))
    survives = own["survives"].fillna(False).to_numpy(dtype=bool).reshape(expected.shape)
    assert marks(first, "survives") == sorted((float(x), float(y)) for y, x in np.argwhere(survives))
    assert marks(first, "undecided") == [(2.0, 1.0)]
    assert made.axes[-1].get_ylabel() == "residual (fraction of energy)"


def test_subgroups_of_d4_have_readable_ticks_that_do_not_overlap(synthetic):
    made = surviving_subgroups(synthetic.subgroups(names=D4, group="D4"))
    FigureCanvasAgg(made).draw()
    labels = made.axes[0].get_xticklabels()
    assert labels[5].get_text() == "D1 transpose"
    boxes = [label.get_window_extent() for label in labels]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_subsampling_layers_and_dead_layers_are_explained(subgroups_table):
    dead = subgroups_table.assign(residual=subgroups_table["residual"].where(subgroups_table["layer"] != "fc"))
    words = [text.get_text() for text in surviving_subgroups(dead).legends[0].get_texts()]
    assert words == ["survives", "undecided", "subsamples", "no residual: all activations 0"]


def test_overview_shows_numbers_dots_and_intervals(overview_table):
    made = accuracy_overview(overview_table)
    assert titles(made)[:4] == ["0°", "90°", "180°", "270°"]
    assert [label.get_text() for label in made.axes[0].get_yticklabels()] == LABELS
    quarter = overview_table[overview_table["metric"] == "90°"]
    ax = made.axes[1]
    assert [text.get_text() for text in ax.texts] == [f"{100 * mean:.1f}" for mean in quarter["mean"]]
    np.testing.assert_allclose([one.get_xdata()[0] for one in ax.lines], 100 * quarter["mean"])
    bars = [one.get_segments()[0][:, 0] for one in ax.collections if one.get_alpha() is not None]
    np.testing.assert_allclose(bars, 100 * quarter[["low", "high"]].to_numpy())
    assert "4 seeds" in made.get_supxlabel()


def test_overview_of_one_seed_and_with_a_gap(synthetic):
    table = synthetic.overview(seeds=1)
    made = accuracy_overview(table[~((table["metric"] == "90°") & (table["model"] == "z2cnn"))])
    assert not any(one.get_alpha() is not None for ax in made.axes for one in ax.collections)
    assert len(made.axes[1].texts) == 3
    assert made.get_supxlabel() == "accuracy (%), mean over 1 seed"


def panel(layer="conv1", error=0.25):
    feature = np.arange(16.0).reshape(4, 4)
    return FeaturePanel(layer, feature, feature[::-1], error)


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (3, 8, 8)])
def test_features_share_one_symmetric_scale_in_each_row(shape):
    image = np.random.default_rng(0).normal(size=shape)
    before = image.copy()
    made = aligned_features(image, [panel(), panel("pool")], title="turned by 90°")
    images = [ax.images[0] for ax in made.axes if ax.images]
    assert len(images) == 1 + 2 * 3
    assert {one.get_clim() for one in images[1:]} == {(-15.0, 15.0)}
    np.testing.assert_allclose(images[3].get_array(), panel().difference)
    assert any(ax.get_xlabel() == "relative error 0.25" for ax in made.axes)
    np.testing.assert_array_equal(image, before)


def test_features_that_are_all_zero_or_without_error_draw():
    made = aligned_features(np.zeros((4, 4)), [FeaturePanel("dead", np.zeros((2, 2)), np.zeros((2, 2)), np.nan)])
    FigureCanvasAgg(made).draw()
    assert not any("relative" in ax.get_xlabel() for ax in made.axes)


def test_features_may_be_single_precision():
    feature = np.eye(3, dtype=np.float32)
    assert FeaturePanel("conv1", feature, feature, 0.0).difference.dtype == np.float64


def test_features_of_wrong_shape_are_refused():
    with pytest.raises(EqvizError, match="layer conv1"):
        FeaturePanel("conv1", np.ones((4, 4)), np.ones((3, 4)), 0.0)
    with pytest.raises(EqvizError, match="image"):
        aligned_features(np.ones((2, 4, 4)), [panel()])
    with pytest.raises(EqvizError, match="panels"):
        aligned_features(np.ones((4, 4)), [])


def test_layers_of_a_categorical_column_stay_in_order(subgroups_table, synthetic):
    table = subgroups_table.assign(layer=pd.Categorical(subgroups_table["layer"], synthetic.LAYERS[::-1], ordered=True))
    names = [label.get_text() for label in surviving_subgroups(table).axes[0].get_yticklabels()]
    assert names == list(synthetic.LAYERS)


def test_long_names_beside_maps_are_broken_and_not_cut():
    name = "resnet (output=embedding), 9 px"
    maps = np.ones((4, 4))
    features = aligned_features(maps, [FeaturePanel(name, maps, maps, relative_error=0.0)] * 2)
    explained = attribution_examples([AttributionPanel(name, maps, maps, maps, 1.0, "rotation 90")])
    broken = breaking_attribution([BreakingPanel(name, np.ones((3, 4, 4)), np.ones((3, 4, 4)), [0.1] * 3)] * 2)
    for made in (features, explained, broken):
        FigureCanvasAgg(made).draw()
        labels = [ax.yaxis.label for ax in made.axes if "resnet" in ax.get_ylabel()]
        boxes = [label.get_window_extent() for label in labels]
        assert all(label.get_text().replace("\n", " ") == name for label in labels)
        assert all(made.bbox.y0 <= box.y0 and box.y1 <= made.bbox.y1 for box in boxes)
        assert not any(one.overlaps(other) for one, other in pairwise(boxes))
