"""Panels of patching: lines are the numbers of the table, hollow markers are no cuts, nothing is clipped."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from eqviz.errors import EqvizError
from eqviz.plots.labels import networks
from eqviz.plots.patched import patching
from eqviz.tables import empty

SCALES = (0.0, 0.5, 1.0, 2.0)
RESNET = ("conv1", *(f"stage{s}.{b}.conv{c}" for s in (1, 2, 3) for b in range(7) for c in (1, 2)), "fc", "(output)")


def value(size, depth, scale, measure):
    """As it is, s = 1, the same whatever the layer; exact at 16 px."""
    if size == 16:
        return 0.98
    rotated = measure == "accuracy_rotated"
    s = scale if depth > 1 else 1
    return 0.9 + 0.01 * (depth % 3) * (s != 1) - 0.1 * s * rotated + 0.05 * min(s, 1) * (not rotated)


def table(synthetic, scales=SCALES, **chosen):
    rows = []
    for keys, _ in synthetic.layer_rows(**chosen):
        for scale in scales:
            for measure in ("accuracy_rotated", "accuracy_upright", "consistency"):
                mean = value(keys["input_size"], keys["depth"], scale, measure)
                spread = 0.01 * (keys["n_seeds"] > 1)
                values = {"mean": mean, "lowest": mean - spread, "highest": mean + spread}
                rows.append(keys | values | {"scale": scale, "measure": measure, "cut": keys["layer"] != "conv4"})
    return pd.DataFrame(rows).drop(columns="grid")


def line(ax, label):
    (found,) = [one for one in ax.lines if one.get_label() == label]
    return found


def legend(made):
    return [text.get_text() for text in made.legends[0].get_texts()]


def test_lines_by_layer_are_scale_0_and_level_lines_scale_1(synthetic):
    summary = table(synthetic)
    made = patching(summary)
    for ax, measure in zip(made.axes[:2], ("accuracy_rotated", "accuracy_upright"), strict=True):
        for network in networks(summary):
            own = network.rows(summary[summary["measure"] == measure])
            drawn = line(ax, network.label)
            np.testing.assert_allclose(drawn.get_ydata(), 100 * own.loc[own["scale"] == 0, "mean"])
            assert drawn.get_color() == network.colour
            as_is = 100 * own.loc[own["scale"] == 1, "mean"].iloc[0]
            assert list(line(ax, f"{network.label}: as it is").get_ydata()) == pytest.approx([as_is, as_is])


def test_layers_that_are_no_cut_are_hollow(synthetic):
    made = patching(table(synthetic))
    hollow = line(made.axes[0], "P4 CNN, 15 px: no cuts")
    assert hollow.get_markerfacecolor() == "white"
    assert [round(x) for x in hollow.get_xdata()] == [list(synthetic.LAYERS).index("conv4")]
    assert len(line(made.axes[0], "P4 CNN, 15 px: cuts").get_xdata()) == len(synthetic.LAYERS) - 1
    assert "hollow: no cut" in legend(made)
    whole = patching(table(synthetic).assign(cut=True))
    assert "hollow: no cut" not in legend(whole)
    assert not [one for one in whole.axes[0].lines if "no cuts" in str(one.get_label())]


def test_the_scale_is_swept_where_asked(synthetic):
    summary = table(synthetic)
    made = patching(summary)
    assert [ax.get_title() for ax in made.axes[2:]] == ["pool", "conv6", "(output)"]
    chosen = patching(summary, layers=["fc", "pool"])
    assert [ax.get_title() for ax in chosen.axes[2:]] == ["pool", "fc"]
    own = summary.query("model == 'p4cnn' and input_size == 15 and layer == 'pool' and measure == 'accuracy_rotated'")
    drawn = line(chosen.axes[2], "P4 CNN, 15 px: rotated")
    assert drawn.get_xdata().tolist() == list(SCALES)
    np.testing.assert_allclose(drawn.get_ydata(), 100 * own["mean"])


def test_rows_in_any_order_give_the_same_figure(synthetic):
    summary = table(synthetic)
    first, second = patching(summary), patching(summary.sample(frac=1, random_state=1))
    for one, other in zip(first.axes, second.axes, strict=True):
        for drawn in one.lines:
            np.testing.assert_array_equal(drawn.get_ydata(), line(other, drawn.get_label()).get_ydata())


def test_all_panels_share_limits_that_hold_every_value(synthetic):
    summary = table(synthetic)
    limits = {ax.get_ylim() for ax in patching(summary).axes}
    assert len(limits) == 1
    ((low, high),) = limits
    assert low < 100 * summary.loc[summary["measure"] != "consistency", "lowest"].min()
    assert high > 100


@pytest.mark.parametrize(
    ("chosen", "scales"),
    [
        ({"models": (("p4cnn", 15),), "seeds": 1, "layers": ("pool",)}, (0.0, 1.0)),
        ({"models": (("p4resnet44", 32), ("p4resnet44", 33)), "layers": RESNET, "subsampling": RESNET[15:16]}, SCALES),
        ({"models": tuple(("p4cnn", size) for size in range(13, 19))}, SCALES),
    ],
    ids=["one", "deep", "six"],
)
def test_nothing_is_clipped_and_no_panels_overlap(synthetic, chosen, scales):
    made = patching(table(synthetic, scales, **chosen))
    canvas = FigureCanvasAgg(made)
    canvas.draw()
    boxes = [ax.get_tightbbox(canvas.get_renderer()) for ax in made.axes]
    for box in (*boxes, made.legends[0].get_window_extent()):
        assert box.x0 >= -1
        assert box.y0 >= -1
        assert box.x1 <= made.bbox.x1 + 1
        assert box.y1 <= made.bbox.y1 + 1
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])


def test_one_seed_explains_no_range(synthetic):
    assert any("range over 4 seeds" in text for text in legend(patching(table(synthetic))))
    assert not any("range" in text for text in legend(patching(table(synthetic, seeds=1))))


def test_errors(synthetic):
    summary = table(synthetic)
    with pytest.raises(EqvizError, match="table patching_summary: expected at least one row"):
        patching(empty("patching_summary"))
    with pytest.raises(EqvizError, match="table patching_summary: expected columns"):
        patching(summary.drop(columns="cut"))
    with pytest.raises(EqvizError, match="expected rows of scale 0"):
        patching(summary[summary["scale"] > 0])
    with pytest.raises(EqvizError, match="expected an accuracy"):
        patching(summary[summary["measure"] == "consistency"])
    with pytest.raises(EqvizError, match="one epoch"):
        patching(pd.concat([summary, summary.assign(epoch=0)]))
    with pytest.raises(EqvizError, match=r"layers: expected layers of the table, such as conv1, .*found nothing"):
        patching(summary, layers=["pool", "nothing"])
    with pytest.raises(EqvizError, match="found none"):
        patching(summary, layers=[])


def test_the_table_stays_as_it_was(synthetic):
    summary = table(synthetic)
    before = summary.copy(deep=True)
    patching(summary)
    pd.testing.assert_frame_equal(summary, before)
