"""Figures of explanations: marks are the numbers of the table, maps the arrays; nothing is clipped or scaled up."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from eqviz.errors import EqvizError
from eqviz.plots.attribution import explanation_equivariance
from eqviz.plots.attribution_maps import AttributionPanel, BreakingPanel, attribution_examples, breaking_attribution
from eqviz.plots.labels import networks

NETWORKS = (("p4cnn", 15), ("p4cnn", 16), ("p4cnn", 17), ("z2cnn", 16))
METHODS = ("integrated_gradients", "saliency", "occlusion")


def summary(models=NETWORKS, layers=("conv1", "pool", "conv2"), methods=METHODS, seeds=2):
    rows = []
    for place, (model, size) in enumerate(models):
        keys = {"model": model, "input_size": size, "group": "C4", "epoch": 20, "data": "digits", "regime": "upright"}
        places = [(method, "(input)", -1) for method in methods]
        places += [("grad_cam", layer, depth) for depth, layer in enumerate(layers)]
        for column, (method, layer, depth) in enumerate(places):
            distance = 10.0 ** (-13 if size == 16 and place < 3 else -0.5) * (1 + column + place)
            spread = 1 if seeds == 1 else 1.5
            values = {"cosine_distance": distance, "lowest": distance / spread, "highest": distance * spread}
            rows.append(
                keys
                | values
                | {"method": method, "layer": layer, "call": 0, "depth": depth, "kind": "convolution"}
                | {"subsamples": layer == "pool", "cosine": 1 - distance, "cosine_lowest": -0.1, "n_seeds": seeds}
                | {"tied_windows": 0.3, "tied_windows_with_gradient": 0.1}
            )
    return pd.DataFrame(rows)


def drawn(ax, label):
    (line,) = [one for one in ax.lines if one.get_label() == label]
    return line


def test_marks_are_the_distances_of_the_table():
    table = summary()
    left, right = explanation_equivariance(table.sample(frac=1, random_state=0)).axes
    assert left.get_yscale() == right.get_yscale() == "log"
    for network in networks(table):
        own = network.rows(table)
        for ax, chosen in ((left, own["method"] != "grad_cam"), (right, own["method"] == "grad_cam")):
            marks = drawn(ax, f"{network.label}: means")
            np.testing.assert_allclose(np.sort(marks.get_ydata()), np.sort(own[chosen]["cosine_distance"]))
            assert marks.get_color() == network.colour
    assert [tick.get_text() for tick in right.get_xticklabels()] == ["conv1", "pool", "conv2"]


def test_bars_reach_from_the_lowest_to_the_highest_seed():
    table = summary(models=NETWORKS[:1], layers=())
    (ax,) = explanation_equivariance(table).axes
    (bars,) = ax.collections
    ends = np.array([path.vertices[:, 1] for path in bars.get_paths()])
    np.testing.assert_allclose(np.sort(ends[:, 0]), np.sort(table["lowest"]))
    np.testing.assert_allclose(np.sort(ends[:, 1]), np.sort(table["highest"]))


@pytest.mark.parametrize("column", [{"layers": ()}, {"methods": ()}])
def test_a_panel_without_rows_is_left_out(column):
    assert len(explanation_equivariance(summary(**column)).axes) == 1


def test_zeros_and_rows_without_a_cosine():
    table = summary(layers=())
    table.loc[0, ["cosine_distance", "lowest", "highest"]] = 0.0
    table.loc[1, "cosine_distance"] = np.nan
    made = explanation_equivariance(table)
    (ax,) = made.axes
    mark = drawn(ax, "P4 CNN, 15 px: exactly 0")
    assert mark.get_ydata().tolist() == [ax.get_ylim()[0]]
    assert len(drawn(ax, "P4 CNN, 15 px: means").get_ydata()) == 1
    assert "exactly 0" in [text.get_text() for text in made.legends[0].get_texts()]
    table["cosine_distance"] = np.nan
    with pytest.raises(EqvizError, match="a method with a cosine"):
        explanation_equivariance(table)


def test_two_epochs_are_not_one_figure():
    with pytest.raises(EqvizError, match="one row for each"):
        explanation_equivariance(pd.concat([summary(), summary()]))


@pytest.mark.parametrize(
    "chosen",
    [
        {"models": NETWORKS[:1], "seeds": 1},
        {"models": (*NETWORKS, ("z2cnn", 15), ("p4mcnn", 16)), "layers": [f"stage.{n}.conv1" for n in range(40)]},
    ],
)
def test_legend_and_labels_lie_within_the_figure(chosen):
    made = explanation_equivariance(summary(**chosen))
    FigureCanvasAgg(made).draw()
    boxes = [made.legends[0].get_window_extent(), *(ax.get_tightbbox() for ax in made.axes)]
    for box in boxes:
        assert 0 <= box.x0 < box.x1 <= made.bbox.x1
        assert 0 <= box.y0 < box.y1 <= made.bbox.y1
    said = {text.get_text() for text in made.legends[0].get_texts()}
    assert ("range over 2 seeds" in said) == (chosen.get("seeds") != 1)


def panel(**chosen):
    maps = np.random.default_rng(0).normal(size=(2, 5, 6))
    given = {"title": "exact", "image": np.ones((1, 5, 6)), "upright": maps[0], "moved_back": maps[1], "cosine": 0.4}
    return AttributionPanel(**given | chosen)


def test_maps_of_a_row_share_one_symmetric_scale():
    one = panel(element="rotation 90")
    axes = attribution_examples([one, panel()]).axes
    limits = {ax.images[0].get_clim() for ax in axes[1:4]}
    largest = max(np.abs(values).max() for values in (one.upright, one.moved_back, one.moved_back - one.upright))
    assert limits == {(-largest, largest)}
    np.testing.assert_array_equal(axes[3].images[0].get_array(), one.moved_back - one.upright)
    assert "rotation 90" in axes[2].get_title()
    assert axes[2].get_xlabel() == "cosine 0.40"


@pytest.mark.parametrize(
    ("cosine", "said"),
    [(-0.08, "cosine −0.08"), (1 - 1e-9, "1 − cosine: 1e-09"), (np.nan, "no cosine: an attribution is 0")],
)
def test_cosines_are_said_so_that_they_can_be_told_from_1(cosine, said):
    assert attribution_examples([panel(cosine=cosine)]).axes[2].get_xlabel() == said


def breaking(scale, *, rounding=False, n=3):
    maps = scale * np.random.default_rng(1).normal(size=(n, 5, 6))
    return BreakingPanel("net\npool", np.ones((n, 5, 6)), maps, [scale] * n, rounding)


def test_rounding_is_not_scaled_up_to_a_picture():
    made = breaking_attribution([breaking(0.1), breaking(1e-15, rounding=True)])
    broken = next(ax for ax in made.axes if ax.get_xlabel().startswith("b = 0.1"))
    exact = next(ax for ax in made.axes if "rounding" in ax.get_xlabel())
    assert broken.images[0].get_clim() == exact.images[0].get_clim()
    assert broken.images[0].get_clim()[1] == pytest.approx(np.abs(breaking(0.1).maps).max())
    (alone,) = [ax for ax in breaking_attribution([breaking(1e-15, rounding=True, n=1)]).axes if ax.get_xlabel()]
    assert alone.images[0].get_clim() == (-1, 1)


def test_networks_have_scales_of_their_own_and_at_most_four_images():
    made = breaking_attribution([breaking(0.1, n=6), breaking(0.5, n=2)])
    maps = [ax for ax in made.axes if ax.get_xlabel().startswith("b = ")]
    assert len(maps) == 4 + 2
    limits = [ax.images[0].get_clim()[1] for ax in maps]
    assert len(set(limits[:4])) == len(set(limits[4:])) == 1
    assert limits[0] != limits[-1]
    assert [label for label in (ax.get_ylabel() for ax in made.axes) if label].count("net\npool") == 2


def test_figures_of_maps_keep_their_texts_inside():
    for made in (attribution_examples([panel(), panel()]), breaking_attribution([breaking(0.1, n=4)] * 6)):
        FigureCanvasAgg(made).draw()
        for ax in made.axes:
            box = ax.get_tightbbox()
            assert -1 <= box.x0 <= box.x1 <= made.bbox.x1 + 1  # a pixel for rounding
            assert -1 <= box.y0 <= box.y1 <= made.bbox.y1 + 1


@pytest.mark.parametrize("draw", [attribution_examples, breaking_attribution])
def test_a_figure_needs_panels(draw):
    with pytest.raises(EqvizError, match="panels: expected at least one"):
        draw([])


def test_arrays_that_do_not_belong_together():
    for wrong in ({"upright": np.ones((6, 5))}, {"image": np.ones((2, 5, 6))}, {"image": np.ones(5)}):
        with pytest.raises(EqvizError, match="maps of its height and width"):
            panel(**wrong)
    with pytest.raises(EqvizError, match="found 3, 2 and 3"):
        BreakingPanel("net", np.ones((3, 5, 6)), np.ones((2, 5, 6)), [0, 0, 0])
    with pytest.raises(EqvizError, match="maps of its height and width"):
        BreakingPanel("net", np.ones((3, 5, 6)), np.ones((3, 5, 5)), [0, 0, 0])
