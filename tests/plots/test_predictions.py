"""Predicted against measured: both are those of the table, and a contradiction cannot be overlooked."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from eqviz.errors import EqvizError
from eqviz.plots.labels import networks
from eqviz.plots.predictions import predicted_and_measured

LABELS = ["P4 CNN, 15 px", "P4 CNN, 16 px", "P4 CNN, 17 px", "Z2 CNN, 16 px"]


def lines(ax, label):
    return [line for line in ax.lines if line.get_label() == label]


def titles(made):
    return [ax.get_title(loc="left") for ax in made.axes]


def bands(ax, weights):
    return [to_hex(patch.get_facecolor()) for patch in ax.patches if patch.get_gid() == f"predicted {weights}"]


def test_points_are_the_measurements(verdict_table):
    made = predicted_and_measured(verdict_table)
    for ax, network in zip(made.axes, networks(verdict_table), strict=True):
        own = network.rows(verdict_table)
        for weights in ("trained", "untrained"):
            for name in ("float32", "float64"):
                values = own.loc[own["weights"] == weights, f"breaking_{name}"].to_numpy()
                (line,) = lines(ax, f"{weights}: {name}")
                np.testing.assert_array_equal(np.sort(line.get_ydata()), np.sort(values[values > 0]))
                zeros = lines(ax, f"{weights}: {name} exactly 0")
                assert sum(len(one.get_ydata()) for one in zeros) == (values == 0).sum()
                assert all((one.get_ydata() == ax.get_ylim()[0]).all() for one in zeros)
        assert ax.get_yscale() == "log"
        (mine,) = lines(ax, "trained: float64")
        assert mine.get_color() == mine.get_markeredgecolor() or mine.get_markeredgecolor() == network.colour


def test_bands_are_the_predictions_of_both_kinds_of_weights(verdict_table, synthetic):
    made = predicted_and_measured(verdict_table)
    pale, dark, grey = "#dceaf4", "#0b5a8f", "#b9b9b9"
    for weights in ("trained", "untrained"):
        assert bands(made.axes[0], weights) == [pale] * 2 + [dark] * (len(synthetic.LAYERS) - 2)
        assert set(bands(made.axes[1], weights)) == {pale}
        assert set(bands(made.axes[3], weights)) == {grey}


def test_titles_count_the_layers_that_came_out_as_predicted(verdict_table):
    assert titles(predicted_and_measured(verdict_table)) == [
        *(f"{label}: 11 of 11 layers as predicted" for label in LABELS[:3]), f"{LABELS[3]}: no prediction",
    ]  # fmt: skip


def test_a_contradiction_is_shouted(synthetic):
    made = predicted_and_measured(synthetic.verdict(wrong=[("p4cnn", 16, "conv4"), ("p4cnn", 16, "fc")]))
    ax = made.axes[1]
    assert titles(made)[1] == "P4 CNN, 16 px:\nDISAGREES in 2 of 11 layers, first conv4"
    title = next(text for text in ax.get_children() if getattr(text, "get_text", str)() == titles(made)[1])
    assert (title.get_fontweight(), title.get_color()) == ("bold", "#C00000")
    (crosses,) = lines(ax, "disagrees")
    assert crosses.get_xdata().tolist() == [synthetic.LAYERS.index("conv4"), synthetic.LAYERS.index("fc")]
    assert len([patch for patch in ax.patches if patch.get_gid() == "disagrees"]) == 2
    assert "prediction and measurement disagree" in [text.get_text() for text in made.legends[0].get_texts()]
    assert not any(lines(other, "disagrees") for other in (made.axes[0], *made.axes[2:]))


def test_a_network_without_a_twin_and_without_float32(verdict_table):
    alone = verdict_table[(verdict_table["weights"] == "trained") & (verdict_table["input_size"] == 15)]
    made = predicted_and_measured(alone.assign(breaking_float32=np.nan), subsampling=["pool"])
    said = [text.get_text() for text in made.legends[0].get_texts()]
    assert "untrained, float64" not in said
    assert "subsamples" in said
    with pytest.raises(EqvizError, match="breaking fraction"):
        predicted_and_measured(alone.assign(breaking_float32=np.nan, breaking_float64=np.nan))


def test_deep_networks_have_a_row_each(synthetic):
    layers = ("conv1", *(f"stage{s}.{b}.conv{c}" for s in (1, 2, 3) for b in range(7) for c in (1, 2)), "(output)")
    made = predicted_and_measured(synthetic.verdict(models=(("p4resnet44", 32), ("p4resnet44", 33)), layers=layers))
    assert len({ax.get_position().x0 for ax in made.axes}) == 1
