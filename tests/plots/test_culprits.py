from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from eqviz.errors import EqvizError
from eqviz.plots.culprits import local_defect
from eqviz.plots.labels import networks

LAYERS = (
    ("conv1", "convolution", 1e-7, 1e-7, "yes", 0, 0),
    ("bn1", "normalisation", 0.0, 1e-7, "yes", 0, 0),
    ("pool", "pooling", 0.4, 0.4, "no", 2, 2),
    ("block.conv", "convolution", 0.2, 0.5, "no", 2, 0),
    ("block", "block", 0.1, 0.45, "no", 0, 0),
    ("odd", "convolution", 1e-5, 0.45, "undecided", 0, 0),
    ("lost", "linear", np.nan, 0.5, "undecided", 0, 0),
    ("fc", "linear", 0.0, 0.5, "yes", 0, 0),
    ("(output)", "output", 0.5, 0.5, "no", 0, 0),
)


def summary(model="p4cnn", size=29, layers=LAYERS, seeds=2):
    rows = [
        {
            "model": model, "input_size": size, "group": "C4", "epoch": 5, "data": "mnist", "regime": "upright",
            "layer": layer, "call": 0, "depth": depth, "kind": kind, "subsamples": layer == "pool",
            "local_error": local, "local_lowest": 0.9 * local, "local_highest": 1.1 * local,
            "cumulative_error": cumulative, "cumulative_lowest": 0.9 * cumulative,
            "cumulative_highest": 1.1 * cumulative, "exact": exact, "n_ranked": ranked, "n_culprit": first,
            "n_seeds": seeds,
        }
        for depth, (layer, kind, local, cumulative, exact, ranked, first) in enumerate(layers)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def exact_layers():
    return [(*row[:4], "yes", 0, 0) for row in LAYERS[:3] if row[0] != "pool"]


def bars(ax, label):
    (found,) = [container for container in ax.containers if container.get_label() == label]
    return {round(bar.get_x() + bar.get_width() / 2): bar for bar in found}


def texts(made):
    return [text.get_text() for text in made.legends[0].get_texts()]


def test_bars_are_local_errors_and_the_line_is_the_cumulative_one():
    (ax,) = local_defect(summary()).axes
    names = [label.get_text() for label in ax.get_xticklabels()]
    assert names == [row[0] for row in LAYERS if row[0] != "bn1"]
    tops = {label: {x: bar.get_y() + bar.get_height() for x, bar in bars(ax, label).items()} for label in
            ("culprit", "contains", "undecided", "exact")}  # fmt: skip
    assert tops["culprit"] == pytest.approx({1: 0.4, 2: 0.2})
    assert tops["contains"] == pytest.approx({3: 0.1})
    assert tops["undecided"] == pytest.approx({4: 1e-5})
    assert tops["exact"] == pytest.approx({0: 1e-7})
    (line,) = [one for one in ax.lines if one.get_label() == "cumulative"]
    assert line.get_ydata().tolist() == pytest.approx([row[3] for row in LAYERS if row[0] != "bn1"])
    assert ax.get_yscale() == "log"


def test_looks_tell_the_kinds_of_bars_apart():
    table = summary()
    (ax,) = local_defect(table).axes
    (network,) = networks(table)
    assert to_hex(bars(ax, "culprit")[1].get_facecolor()) == network.colour.lower()
    assert to_hex(bars(ax, "contains")[3].get_facecolor()) == "#ffffff"
    assert bars(ax, "undecided")[4].get_hatch()
    assert len({to_hex(bars(ax, name)[x].get_facecolor()) for name, x in (("culprit", 1), ("exact", 0))}) == 2


def test_zeros_and_layers_that_were_not_measured_stand_at_the_edge():
    made = local_defect(summary())
    (ax,) = made.axes
    marks = {one.get_label(): one for one in ax.lines}
    assert marks["exactly 0"].get_xdata().tolist() == [6]
    assert marks["not measured"].get_xdata().tolist() == [5]
    assert marks["exactly 0"].get_ydata().tolist() == [ax.get_ylim()[0]]
    assert {"local, exactly 0", "local, not measured"} <= set(texts(made))


def test_the_culprit_that_is_most_often_first_is_named_in_the_title_and_at_the_top():
    layers = [row if row[0] != "block.conv" else (*row[:2], 0.9, *row[3:]) for row in LAYERS]
    (ax,) = local_defect(summary(layers=layers)).axes
    assert ax.get_title(loc="left") == "P4 CNN, 29 px: pool and 1 other break it"
    assert [text.get_text() for text in ax.texts if text.get_gid() == "culprit"] == ["pool"]
    last = [(*row[:6], int(row[0] == "block.conv") * 2) for row in layers]
    (ax,) = local_defect(summary(layers=last)).axes
    assert "block.conv" in ax.get_title(loc="left")


def test_titles_without_a_culprit():
    (ax,) = local_defect(summary(layers=exact_layers())).axes
    assert ax.get_title(loc="left") == "P4 CNN, 29 px: every layer is exact"
    assert not ax.texts
    hidden = [row for row in LAYERS if row[5] == 0]
    (ax,) = local_defect(summary(layers=hidden)).axes
    assert ax.get_title(loc="left") == "P4 CNN, 29 px: no layer by itself breaks it"


def test_a_norm_is_shown_only_as_a_culprit():
    layers = [row if row[0] != "bn1" else ("bn1", "normalisation", 0.3, 0.3, "no", 1, 1) for row in LAYERS]
    (ax,) = local_defect(summary(layers=layers)).axes
    assert "bn1" in [label.get_text() for label in ax.get_xticklabels()]


def test_one_panel_a_network_on_one_scale_and_stripes():
    table = pd.concat([summary(), summary(size=28, layers=exact_layers()), summary("z2cnn", 28)])
    made = local_defect(table, subsampling=("conv1",))
    shown = [ax for ax in made.axes if ax.axison]
    assert len(shown) == 3
    assert len({ax.get_ylim() for ax in shown}) == 1
    stripes = [patch for patch in shown[1].patches if patch.get_gid() == "subsamples"]
    assert [round(patch.get_x() + patch.get_width() / 2, 1) for patch in stripes] == [0.5]  # conv1 and the pool
    assert "subsamples" in texts(made)
    assert "range over 2 seeds" in texts(made)
    assert not any("range" in text for text in texts(local_defect(summary(seeds=1))))


def test_four_deep_networks_have_labels_that_do_not_overlap():
    deep = [(f"stage{n // 14}.{n % 14}.conv", "convolution", 1e-7, 1e-6, "yes", 0, 0) for n in range(40)]
    deep[20] = ("stage1.6.conv", "convolution", 0.5, 0.5, "no", 2, 2)
    table = pd.concat([summary("p4resnet44", size, deep) for size in (30, 31, 32, 34)])
    made = local_defect(table)
    FigureCanvasAgg(made).draw()
    assert len(made.axes) == 4
    for ax in made.axes:
        boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
        (named,) = [text for text in ax.texts if text.get_gid() == "culprit"]
        title = ax._left_title.get_window_extent()
        assert named.get_window_extent().y1 < title.y0
        assert title.x1 < made.bbox.x1


def test_all_zero_still_draws():
    (ax,) = local_defect(summary(layers=[("conv1", "convolution", 0.0, 0.0, "yes", 0, 0)])).axes
    assert ax.get_ylim()[0] == 1e-8


def test_what_cannot_be_drawn_is_refused():
    for table, words in (
        (summary().drop(columns="exact"), "without exact"),
        (summary().iloc[:0], "at least one row"),
        (pd.concat([summary(), summary()]), "one row for each"),
        (summary(layers=[LAYERS[1]]), "or a culprit"),
        (summary().assign(local_error=np.nan, cumulative_error=np.nan), "local or cumulative error"),
    ):
        with pytest.raises(EqvizError, match=words):
            local_defect(table)


def test_ranges_over_seeds_stand_for_what_breaks_and_not_for_rounding():
    (ax,) = local_defect(summary()).axes
    (ranges,) = [one for one in ax.collections if one.get_label() == "local range"]
    ends = np.array([path.vertices[:, 1] for path in ranges.get_paths()])
    assert ends.ravel().tolist() == pytest.approx(
        [
            factor * row[2]
            for row in LAYERS
            if row[4] != "yes" and row[2] > 0 and row[0] != "(output)"
            for factor in (0.9, 1.1)
        ]
    )
