"""Feature maps over training: which panels, which epochs, and on which scales."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from eqviz.errors import EqvizError
from eqviz.plots.labels import networks
from eqviz.plots.training_features import features_over_training, spread


def maps(sizes=(32, 33), epochs=(0, 1, 2), with_filter=True, broken=(32,)):
    """Maps of 3 x 3 pixels that differ in every network, epoch and panel; networks in `broken` have a difference."""
    rows = []
    for size in sizes:
        for epoch in epochs:
            base = np.arange(9.0).reshape(3, 3) * (1 + epoch) + size
            moved = base + (np.eye(3) * (epoch - 3) if size in broken else 0)
            shown = {"features": base, "aligned": moved, "difference": moved - base}
            shown |= {"filter": np.eye(3) * size} if with_filter else {}
            shown |= {"image": np.eye(4), "moved image": np.eye(4)[::-1]} if epoch == epochs[0] else {}
            for panel, values in shown.items():
                for (row, column), value in np.ndenumerate(values):
                    rows.append(
                        {"run": f"p4conv-{size}", "model": "p4conv", "input_size": size, "group": "C4", "seed": 0}
                        | {"epoch": epoch, "data": "pair", "regime": "upright", "layer": "conv", "call": 0, "depth": 0}
                        | {"panel": panel, "row": row, "column": column, "value": value, "channel": 0}
                        | {"element": "rotation 90"}
                    )
    return pd.DataFrame(rows)


def shown(made):
    """The drawn maps of the figure but for colour bars, in the order in which they were drawn."""
    return [(np.asarray(ax.images[0].get_array()), ax.images[0].get_clim(), ax) for ax in made.axes if ax.images]


def test_maps_are_drawn_pixel_by_pixel_under_their_titles():
    table = maps()
    made = features_over_training(table.sample(frac=1, random_state=0))
    FigureCanvasAgg(made).draw()
    drawn = shown(made)
    assert len(drawn) == 2 * (2 + 3 * 4)
    titles = [ax.get_title() for _, _, ax in drawn if ax.get_title()]
    one = ["$x$", "$T x$", "filter", "$f(x)$", "$T^{-1} f(T x)$", "difference"]
    assert titles == 2 * one
    np.testing.assert_array_equal(drawn[1][0], np.eye(4)[::-1])
    feature = next(values for values, _, ax in drawn if ax.get_title() == "$f(x)$")
    np.testing.assert_array_equal(feature, np.arange(9.0).reshape(3, 3) + 32)
    assert [ax.get_ylabel() for _, _, ax in drawn if ax.get_ylabel()] == ["untrained", "epoch 1", "epoch 2"]
    said = [text.get_text() for _, _, ax in drawn for text in ax.texts]
    assert said == [f"{network.label}\nlayer conv\n$T$: rotation 90" for network in networks(table)]


def test_features_share_a_scale_in_a_row_and_differences_in_the_figure():
    drawn = shown(features_over_training(maps()))
    by_colours = {}
    for values, limits, ax in drawn:
        by_colours.setdefault(ax.images[0].get_cmap().name, []).append((values, limits))
    assert {limits for _, limits in by_colours["RdBu_r"]} == {(-3.0, 3.0)}  # of epoch 0 at 32 px
    features = by_colours["viridis"]
    for row in range(3):
        own = [pair for place, pair in enumerate(features) if (place // 2) % 3 == row]
        lowest = min(values.min() for values, _ in own)
        highest = max(values.max() for values, _ in own)
        assert {limits for _, limits in own} == {(lowest, highest)}


def test_rounding_alone_is_not_blown_up_to_full_colour():
    table = maps(broken=())
    rounding = table["value"].where(table["panel"] != "difference", 1e-6)
    drawn = shown(features_over_training(table.assign(value=rounding)))
    (limits,) = {limits for _, limits, ax in drawn if ax.images[0].get_cmap().name == "RdBu_r"}
    assert limits[1] > 100 * 1e-6


def test_the_first_and_the_last_epoch_are_shown_and_at_most_so_many():
    assert spread(list(range(0, 801, 100)), 6) == [0, 200, 300, 500, 600, 800]
    assert spread([0, 5], 6) == [0, 5]
    assert spread([3], 6) == [3]
    drawn = shown(features_over_training(maps(epochs=tuple(range(9))), most=4))
    said = [ax.get_ylabel() for _, _, ax in drawn if ax.get_ylabel()]
    assert said == ["untrained", "epoch 3", "epoch 5", "epoch 8"]


def test_a_pool_has_no_filter_and_one_network_stands_alone():
    drawn = shown(features_over_training(maps(sizes=(32,), with_filter=False)))
    assert len(drawn) == 2 + 3 * 3
    assert "filter" not in [ax.get_title() for _, _, ax in drawn]


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (maps(sizes=(30, 31, 32, 33)), "at most 3 networks"),
        (pd.concat([maps(), maps().assign(data="other")]), "one value of data"),
        (pd.concat([maps(), maps().assign(run="again")]), "one row for each"),
        (maps().iloc[:0], "at least one row"),
    ],
)
def test_tables_that_do_not_fit_are_refused(table, match):
    with pytest.raises(EqvizError, match=match):
        features_over_training(table)
