"""The split of the function: bars add up to 100 %, markers are the numbers of the table."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from eqviz.errors import EqvizError
from eqviz.plots.labels import networks
from eqviz.plots.split import function_split
from eqviz.tables import empty

FRACTIONS = {("p4cnn", 15): 0.1, ("p4cnn", 16): 0.0, ("p4cnn", 17): 0.07, ("z2cnn", 16): 0.45}


def table(synthetic, seeds=2):
    rows = []
    for model, size in synthetic.MODELS:
        fraction = FRACTIONS[model, size]
        for function in ("scores", "probabilities"):
            for distribution in ("upright", "orbit"):
                measures = {
                    "antisymmetric_fraction": fraction if function == "scores" else 0.5 * fraction,
                    "accuracy": 0.98 if distribution == "upright" else 0.98 - fraction,
                    "accuracy_symmetric": 0.95 - fraction,
                    "accuracy_antisymmetric": 0.5 if fraction else np.nan,
                    "squared_loss": 12.0,
                }
                for measure, mean in measures.items():
                    spread = 0.01 * (seeds > 1)
                    values = {"mean": mean, "lowest": mean - spread, "highest": mean + spread, "n_seeds": seeds}
                    keys = {"function": function, "distribution": distribution, "measure": measure}
                    rows.append(synthetic.run(model, size) | keys | values)
    return pd.DataFrame(rows)


def test_bars_are_the_fractions_and_add_up(synthetic):
    made = function_split(table(synthetic))
    bars = made.axes[0].patches
    by_row = {}
    for bar in bars:
        by_row.setdefault(round(bar.get_y() + bar.get_height() / 2), []).append(bar.get_width())
    wanted = [100 * FRACTIONS[network.model, network.input_size] for network in networks(table(synthetic))]
    assert [round(sum(widths), 9) for widths in by_row.values()] == [100] * 4
    np.testing.assert_allclose([widths[1] for widths in by_row.values()], wanted)
    halved = function_split(table(synthetic), function="probabilities").axes[0].patches
    assert halved[1].get_width() == pytest.approx(wanted[0] / 2)


def test_markers_are_the_accuracies(synthetic):
    made = function_split(table(synthetic))
    for ax, whole in zip(made.axes[1:], (98.0, 88.0), strict=True):
        drawn = {
            one.get_label(): one.get_xdata().tolist() for one in ax.lines if "P4 CNN, 15 px" in str(one.get_label())
        }
        assert [pytest.approx(values) for values in drawn.values()] == [[whole], [85.0], [50.0]]


def test_what_is_rounding_has_no_marker(synthetic):
    made = function_split(table(synthetic))
    exact = [one for one in made.axes[1].lines if "P4 CNN, 16 px: A f" in str(one.get_label())]
    assert [len(one.get_xdata()) for one in exact] == [0]


def test_names_carry_the_colours_of_their_networks(synthetic):
    summary = table(synthetic)
    labels = function_split(summary).axes[0].get_yticklabels()
    for label, network in zip(labels, networks(summary), strict=True):
        assert (label.get_text(), to_rgb(label.get_color())) == (network.label, to_rgb(network.colour))


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("count", [1, 4])
def test_nothing_is_clipped(synthetic, seeds, count):
    summary = table(synthetic, seeds)
    made = function_split(pd.concat([network.rows(summary) for network in networks(summary)[:count]]))
    canvas = FigureCanvasAgg(made)
    canvas.draw()
    for box in (*(ax.get_tightbbox(canvas.get_renderer()) for ax in made.axes), made.legends[0].get_window_extent()):
        assert box.x0 >= -1
        assert box.y0 >= -1
        assert box.x1 <= made.bbox.x1 + 1
        assert box.y1 <= made.bbox.y1 + 1
    assert any("range" in text.get_text() for text in made.legends[0].get_texts()) == (seeds > 1)


def test_errors(synthetic):
    summary = table(synthetic)
    with pytest.raises(EqvizError, match="table function_split_summary: expected at least one row"):
        function_split(empty("function_split_summary"))
    with pytest.raises(EqvizError, match="table function_split_summary: expected columns"):
        function_split(summary.drop(columns="measure"))
    with pytest.raises(EqvizError, match="function: expected one of probabilities, scores; found 'logits'"):
        function_split(summary, function="logits")
    with pytest.raises(EqvizError, match="one epoch"):
        function_split(pd.concat([summary, summary.assign(epoch=0)]))
    with pytest.raises(EqvizError, match="expected a measured part"):
        function_split(summary[summary["measure"] == "squared_loss"])
    with pytest.raises(EqvizError, match="Z2 CNN, 16 px"):
        function_split(summary, networks=networks(summary)[:3])
