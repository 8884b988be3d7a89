import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from eqviz.errors import EqvizError
from eqviz.plots.labels import networks
from eqviz.plots.probes import probe_accuracy
from eqviz.plots.theme import PALE

TARGETS = {"element": 0.25, "class": 0.1}
COMPONENTS = ("full", "symmetric", "breaking")


def summary(synthetic, **chosen):
    """Exact layers (breaking fraction below 1e-9) hold no element; the class is read with 0.8 from everything else."""
    rows = []
    for keys, value in synthetic.layer_rows(**chosen):
        for target, chance in TARGETS.items():
            for component in COMPONENTS:
                for frame in ("aligned", "moved"):
                    empty = value < 1e-9 and component == "breaking"
                    knows = target == "class" or (value >= 1e-9 and component != "symmetric") or frame == "moved"
                    accuracy = 0.7 + 0.01 * keys["depth"] if knows and not empty else chance
                    rows.append(
                        keys
                        | {"target": target, "component": component, "frame": frame, "chance": chance}
                        | {"accuracy": accuracy, "lowest": accuracy - 0.02, "highest": accuracy + 0.02}
                        | {"baseline": chance, "baseline_high": chance + 0.05, "at_floor": empty, "n_above": 4}
                    )
    return pd.DataFrame(rows).drop(columns="grid")


@pytest.fixture
def table(synthetic):
    return summary(synthetic)


def line(ax, label):
    return [one for one in ax.lines if one.get_label() == label]


def test_four_panels_of_target_and_component(table):
    panels = probe_accuracy(table).axes
    asked = [("element", "full"), ("element", "breaking"), ("class", "full"), ("class", "symmetric")]
    for ax, (target, component) in zip(panels, asked, strict=True):
        source = "all features" if component == "full" else f"the {component} component"
        assert ax.get_title(loc="left") == f"reading the {target} from {source}"
        for network in networks(table):
            rows = network.rows(table)
            own = rows[(rows["target"] == target) & (rows["component"] == component) & (rows["frame"] == "aligned")]
            (drawn,) = line(ax, network.label)
            np.testing.assert_allclose(drawn.get_ydata(), own.sort_values("depth")["accuracy"])
            assert drawn.get_color() == network.colour


def test_without_a_class_to_read_there_are_two_panels(table):
    made = probe_accuracy(table[table["target"] == "element"])
    titles = [ax.get_title(loc="left") for ax in made.axes]
    assert titles == [f"reading the element from {source}" for source in ("all features", "the breaking component")]
    assert all(ax.get_xlabel() for ax in made.axes)
    assert made.get_figheight() < probe_accuracy(table).get_figheight()


def test_chance_is_dashed_and_permuted_labels_are_grey(table):
    lowered = table.assign(baseline_high=table["baseline_high"].where(table["model"] == "z2cnn", 0.0))
    for ax, chance in zip(probe_accuracy(lowered).axes, (0.25, 0.25, 0.1, 0.1), strict=True):
        (dashed,) = [one for one in ax.lines if list(one.get_xdata()) == [0, 1]]  # across the whole Axes
        assert dashed.get_ydata() == pytest.approx([chance, chance])
        assert dashed.get_linestyle() == "--"
        (area,) = [one for one in ax.collections if one.get_label() == "permuted"]
        assert area.get_paths()[0].vertices[:, 1].max() == pytest.approx(chance + 0.05)
        assert to_hex(area.get_facecolor()[0]).upper() == PALE


def test_layers_with_nothing_to_read_have_hollow_marks(table):
    left, right = probe_accuracy(table).axes[:2]
    (hollow,) = line(right, "P4 CNN, 16 px: nothing to read")
    assert hollow.get_markerfacecolor() == "white"
    assert len(hollow.get_xdata()) == table.query("model == 'p4cnn'")["layer"].nunique()
    assert not line(left, "P4 CNN, 16 px: nothing to read")
    (filled,) = line(right, "P4 CNN, 15 px: layers")
    (few,) = line(right, "P4 CNN, 15 px: nothing to read")
    assert len(filled.get_xdata()) + len(few.get_xdata()) == len(hollow.get_xdata())


def test_the_legend_explains_what_is_there(synthetic):
    def said(made):
        (legend,) = made.legends
        return [text.get_text() for text in legend.get_texts()]

    everything = said(probe_accuracy(summary(synthetic)))
    assert everything[4:] == [
        "chance", "reached by permuted labels (95%)", "nothing to read", "range over 4 seeds", "subsamples",
    ]  # fmt: skip
    plain = summary(synthetic, models=(("z2cnn", 16),), subsampling=(), seeds=1)
    assert said(probe_accuracy(plain)) == ["Z2 CNN, 16 px", "chance", "reached by permuted labels (95%)"]


def test_the_frame_is_chosen(table):
    moved = probe_accuracy(table, frame="moved").axes[0]
    (drawn,) = line(moved, "P4 CNN, 16 px")
    assert min(drawn.get_ydata()) >= 0.7


def test_no_text_is_clipped_in_deep_networks(synthetic):
    models = tuple(("p4cnn", size) for size in (15, 16, 17, 35, 36, 37))
    layers = ("conv1", *(f"stage{s}.{b}.conv{c}" for s in (1, 2, 3) for b in range(7) for c in (1, 2)), "(output)")
    made = probe_accuracy(summary(synthetic, models=models, layers=layers, subsampling=("stage2.0.conv1",)))
    canvas = FigureCanvasAgg(made)
    canvas.draw()
    width, height = canvas.get_width_height()
    for ax in made.axes:
        texts = [ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label, *ax.get_xticklabels()]
        boxes = [text.get_window_extent() for text in texts if text.get_text() and text.get_visible()]
        assert all(0 <= box.x0 <= box.x1 <= width and 0 <= box.y0 <= box.y1 <= height for box in boxes)
    legend = made.legends[0].get_window_extent()
    assert 0 <= legend.x0 <= legend.x1 <= width
    upper, lower = (ax.yaxis.label.get_window_extent() for ax in made.axes[::2])
    assert lower.y1 < upper.y0


def test_tables_that_cannot_be_drawn(table):
    with pytest.raises(EqvizError, match="at least one row"):
        probe_accuracy(table.iloc[:0])
    with pytest.raises(EqvizError, match="without at_floor"):
        probe_accuracy(table.drop(columns="at_floor"))
    with pytest.raises(EqvizError, match="rows of the turned frame"):
        probe_accuracy(table, frame="turned")
    with pytest.raises(EqvizError, match="one row for each"):
        probe_accuracy(pd.concat([table, table.assign(epoch=1)]))
