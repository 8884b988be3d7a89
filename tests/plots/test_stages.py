"""The error by stage, and over training: what is drawn for whom, and on which scale."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from eqviz import tables
from eqviz.errors import EqvizError
from eqviz.plots.labels import networks
from eqviz.plots.stage_measures import MEASURE_LABELS
from eqviz.plots.stage_training import stage_error_over_training
from eqviz.plots.stages import error_by_stage

STAGES = ("conv1", "layers.0", "layers.1", "layers.2", "(output)")
EPOCHS = (0, 5, 30)
MEASURES = ("l1", "relative_error", "breaking_fraction")


def value(size, epoch, depth, measure, mask):
    if size == 33 or depth < 2:
        return 1e-14 if measure == "breaking_fraction" else 1e-7
    scale = {"l1": 3.0, "relative_error": 0.5, "breaking_fraction": 0.05, "cosine": 0.9}.get(measure, 0.4)
    return scale * (1 + epoch / 30) * (0.8 if mask else 1.0) * (0.5 if depth == 4 else 1.0)


def summary(masks=(False, True), epochs=EPOCHS, seeds=2, measures=(*MEASURES, "cosine"), **changes):
    rows = []
    for size in (32, 33):
        for epoch in epochs:
            for mask in masks:
                for depth, layer in enumerate(STAGES):
                    for measure in measures:
                        mean = value(size, epoch, depth, measure, mask)
                        floor = 2e-14 if measure == "breaking_fraction" else np.nan
                        row = {"model": "p4resnet44", "input_size": size, "group": "C4", "epoch": epoch}
                        row |= {"data": "cells", "regime": "upright", "mask": mask, "layer": layer, "call": 0}
                        row |= {"depth": depth, "kind": "block", "subsamples": layer in STAGES[2:4]}
                        row |= {"measure": measure, "mean": mean, "lowest": 0.8 * mean, "highest": 1.2 * mean}
                        rows.append(row | {"floor": floor, "n_seeds": seeds} | changes)
    return pd.DataFrame(rows)


def drawn(made):
    FigureCanvasAgg(made).draw()
    return made


def lines(ax, label):
    return [one for one in ax.lines if one.get_label() == label]


def titles(made):
    return [ax.get_title(loc="left") for ax in made.axes]


def test_a_column_a_measure_and_a_row_a_mask_all_lettered():
    made = drawn(error_by_stage(summary()))
    assert len(made.axes) == 6
    assert [ax.get_ylabel() for ax in made.axes] == 2 * [MEASURE_LABELS[measure] for measure in MEASURES]
    for place, title in enumerate(titles(made)):
        assert title.startswith(f"$\\mathbf{{{'abcdef'[place]}}}$")
        assert title.endswith("whole image" if place < 3 else "inside the disc")
    assert len(error_by_stage(summary(masks=(False,))).axes) == 3
    assert len(error_by_stage(summary(), measures=["relative_error"]).axes) == 2


def test_lines_are_the_means_of_trained_and_untrained_networks():
    table = summary()
    made = error_by_stage(table.sample(frac=1, random_state=0))
    for place, ax in enumerate(made.axes):
        measure, mask = MEASURES[place % 3], place >= 3
        for network in networks(table):
            found = {
                len(one.get_linestyle()) > 1 or one.get_linestyle() == "--": one for one in lines(ax, network.label)
            }
            assert set(found) == {False, True}  # solid: trained; dashed: untrained
            for untrained, line in found.items():
                epoch = 0 if untrained else 30
                expected = [value(network.input_size, epoch, depth, measure, mask) for depth in range(5)]
                np.testing.assert_allclose(line.get_ydata(), expected)
                np.testing.assert_allclose(line.get_xdata(), range(5), atol=0.2)  # beside each other
                assert line.get_color() == network.colour


def test_trained_markers_are_filled_and_untrained_ones_hollow():
    made = error_by_stage(summary())
    for network in networks(summary()):
        (trained,) = lines(made.axes[0], f"{network.label}: trained")
        (untrained,) = lines(made.axes[0], f"{network.label}: untrained")
        assert (trained.get_markerfacecolor(), untrained.get_markerfacecolor()) == (network.colour, "white")
    words = [text.get_text() for text in made.legends[0].get_texts()]
    assert words[2:] == ["untrained (epoch 0)", "range over 2 seeds", "subsamples", "float32 rounding"]
    never = error_by_stage(summary(epochs=(5, 30), seeds=1))
    words = [text.get_text() for text in never.legends[0].get_texts()]
    assert words[2:] == ["subsamples", "float32 rounding"]


def test_breaking_that_spans_decades_is_on_a_log_scale_above_the_rounding_floor():
    made = error_by_stage(summary())
    assert [ax.get_yscale() for ax in made.axes] == 2 * ["linear", "linear", "log"]
    (area,) = [one for one in made.axes[2].collections if one.get_label() == "float32 rounding"]
    assert area.get_paths()[0].vertices[:, 1].max() == pytest.approx(2e-14)
    assert not [one for one in made.axes[0].collections if one.get_label() == "float32 rounding"]
    broken = summary().query("input_size == 32 and depth > 1").assign(floor=np.nan)
    assert error_by_stage(broken).axes[2].get_yscale() == "linear"


def test_both_rows_have_the_same_scale():
    made = drawn(error_by_stage(summary()))
    for column in range(3):
        assert made.axes[column].get_ylim() == made.axes[column + 3].get_ylim()


def test_stages_are_named_in_order_and_those_that_subsample_striped():
    made = drawn(error_by_stage(summary()))
    below = made.axes[3]
    assert [label.get_text() for label in below.get_xticklabels()] == list(STAGES)
    stripes = [patch for patch in below.patches if patch.get_gid() == "subsamples"]
    assert len(stripes) == 1  # two neighbours
    assert stripes[0].get_x() == pytest.approx(2 - 0.4)
    assert stripes[0].get_width() == pytest.approx(1.8)


def test_one_panel_a_stage_over_the_epochs():
    made = drawn(stage_error_over_training(summary(), measure="breaking_fraction"))
    assert [title.split("  ")[1] for title in titles(made)] == list(STAGES)
    network = networks(summary())[0]
    for depth, ax in enumerate(made.axes):
        (line,) = lines(ax, network.label)
        assert line.get_xdata().tolist() == list(EPOCHS)
        expected = [value(network.input_size, epoch, depth, "breaking_fraction", False) for epoch in EPOCHS]
        np.testing.assert_allclose(line.get_ydata(), expected)
        (hollow,) = lines(ax, f"{network.label}: untrained")
        assert (hollow.get_xdata().tolist(), hollow.get_markerfacecolor()) == ([0], "white")
        assert ax.get_yscale() == "log"
    marked = [ax._left_title.get_bbox_patch() is not None for ax in made.axes]  # no public way to a left title
    assert marked == [False, False, True, True, False]


def test_the_mask_chooses_rows_and_l1_has_a_scale_for_each_stage():
    for mask in (False, True):
        made = stage_error_over_training(summary(), mask=mask)
        (line,) = lines(made.axes[2], networks(summary())[0].label)
        expected = [value(networks(summary())[0].input_size, epoch, 2, "relative_error", mask) for epoch in EPOCHS]
        np.testing.assert_allclose(line.get_ydata(), expected)
    shared = {ax.get_ylim() for ax in stage_error_over_training(summary()).axes}
    assert len(shared) == 1
    own = [ax.get_ylim() for ax in stage_error_over_training(summary(), measure="l1").axes]
    assert own[2] != own[4]
    assert own[0] == own[1] == own[2]  # of rounding alone, on the scale of the largest
    with pytest.raises(EqvizError, match="under the mask"):
        stage_error_over_training(summary(masks=(False,)), mask=True)


def test_many_stages_take_several_rows_and_leave_no_empty_axes():
    table = summary(masks=(False,))
    more = table[table["depth"] < 4].assign(
        layer=lambda rows: "more." + rows["layer"], depth=lambda rows: 5 + rows["depth"]
    )
    made = drawn(stage_error_over_training(pd.concat([table, more]), measure="cosine"))
    assert [ax.axison for ax in made.axes] == 9 * [True] + 3 * [False]
    assert [ax.get_xlabel() for ax in made.axes[:9]] == 5 * [""] + 4 * ["epoch"]


@pytest.mark.parametrize("plot", [error_by_stage, stage_error_over_training])
def test_what_cannot_be_drawn_is_said(plot):
    for wrong in (tables.empty("stage_errors_summary"), summary().drop(columns="mask")):
        with pytest.raises(EqvizError, match=r"^table stage_errors_summary: [^\n]*$"):
            plot(wrong)
    with pytest.raises(EqvizError, match="one row for each"):
        plot(pd.concat([summary(), summary(regime="uniform")]))
    with pytest.raises(EqvizError, match="with a value"):
        plot(summary(mean=np.nan))
    with pytest.raises(EqvizError, match="measures: expected among l1"):
        error_by_stage(summary(), measures=["l7"])
    with pytest.raises(EqvizError, match="measures: expected among l1"):
        stage_error_over_training(summary(), measure="l7")


def test_legends_lie_within_the_figure_and_the_table_stays_as_it_was():
    table = summary()
    before = table.copy(deep=True)
    for made in (error_by_stage(table), stage_error_over_training(table)):
        box = drawn(made).legends[0].get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= made.bbox.x1
    pd.testing.assert_frame_equal(table, before)
