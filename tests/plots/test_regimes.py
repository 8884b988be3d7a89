"""One panel a training regime: which, in which order, and what stands in each."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.projections.polar import PolarAxes

from eqviz.errors import EqvizError
from eqviz.plots.labels import networks
from eqviz.plots.regimes import accuracy_by_regime, accuracy_by_regime_polar, in_order

REGIMES = ("uniform", "N(45, 40)", "N(45, 20)", "upright")
PLOTS = (accuracy_by_regime, accuracy_by_regime_polar)


@pytest.fixture
def by_regime(accuracy_table):
    """The same networks in four regimes, each with means of its own."""
    parts = [accuracy_table.assign(regime=name, mean=accuracy_table["mean"] - n / 50) for n, name in enumerate(REGIMES)]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("plot", PLOTS)
def test_panels_are_lettered_from_upright_to_uniform(by_regime, plot):
    made = plot(by_regime)
    FigureCanvasAgg(made).draw()
    assert [ax.get_title(loc="left") for ax in made.axes] == [
        r"$\mathbf{a}$  upright", r"$\mathbf{b}$  N(45, 20)", r"$\mathbf{c}$  N(45, 40)", r"$\mathbf{d}$  uniform",
    ]  # fmt: skip
    assert {isinstance(ax, PolarAxes) for ax in made.axes} == {plot is accuracy_by_regime_polar}


@pytest.mark.parametrize("plot", PLOTS)
def test_every_panel_shows_its_own_regime_in_the_colours_of_all(by_regime, plot):
    made = plot(by_regime)
    for ax, regime in zip(made.axes, in_order(REGIMES), strict=True):
        rows = by_regime[(by_regime["regime"] == regime) & ~by_regime["reflected"]]
        for network in networks(by_regime):
            (drawn,) = [line for line in ax.lines if line.get_label() == network.label]
            own = network.rows(rows).sort_values("angle")
            np.testing.assert_allclose(drawn.get_ydata()[: len(own)], 100 * own["mean"])
            assert drawn.get_color() == network.colour
        shaded = [str(one.get_label()) for one in [*ax.collections, *ax.lines]]
        assert [label for label in shaded if label.startswith("training angles")] == [
            f"training angles, {regime.replace(',', '°,').replace(')', '°)')}"
        ]
    (legend,) = made.legends
    said = [text.get_text() for text in legend.get_texts()]
    assert said[:4] == [network.label for network in networks(by_regime)]
    assert "95% t interval, 4 seeds" in said


def test_two_regimes_have_one_row_and_three_an_empty_place(by_regime):
    two = accuracy_by_regime(by_regime[by_regime["regime"].isin(REGIMES[:2])])
    three = accuracy_by_regime(by_regime[by_regime["regime"].isin(REGIMES[:3])])
    assert [len(made.axes) for made in (two, three)] == [2, 4]
    assert [ax.axison for ax in three.axes] == [True, True, True, False]
    assert two.get_figheight() < three.get_figheight()
    assert [ax.get_xlabel() != "" for ax in three.axes[:3]] == [False, True, True]


@pytest.mark.parametrize("plot", PLOTS)
def test_two_data_sets_are_refused(by_regime, plot):
    with pytest.raises(EqvizError, match="one value of data"):
        plot(pd.concat([by_regime, by_regime.assign(data="other")]))
