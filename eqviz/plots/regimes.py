"""Accuracy over rotation, one panel a training regime: what networks make of the angles they were trained at."""

from collections.abc import Callable, Iterable, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eqviz.plots.inputs import accepted, single
from eqviz.plots.labels import Network, chosen
from eqviz.plots.legend import across
from eqviz.plots.panels import lettered
from eqviz.plots.published import published_handles
from eqviz.plots.rotation import accuracy_over_rotation, accuracy_polar, explanations
from eqviz.plots.theme import TWO_COLUMN_MM, Number, figure, theme
from eqviz.plots.training_angles import density, density_handles, name_density

_NAME = "accuracy_summary"
_ORDER = ("upright", "N(", "uniform")


@theme()
def accuracy_by_regime(
    summary: pd.DataFrame, *, networks: Sequence[Network] | None = None, published: pd.DataFrame | None = None
) -> Figure:
    """Accuracy in % over the rotation of the input, one lettered panel a training regime.

    Takes the table `accuracy_summary` of several regimes on one data set. Panels go from upright over N(mean, std), by
    std, to uniform, then others. In each stands, pale and in arbitrary units, the density of the angles by which its
    training images were turned. Lines, bands, markers and `published` are those of
    :func:`eqviz.plots.accuracy_over_rotation`.

    Raises EqvizError for a table that lacks columns or rows, or mixes groups, data, masks or epochs of a regime.

    >>> row = dict(model="p4cnn", input_size=28, group="C4", epoch=50, reflected=False, mask=False, fill=0.0, std=0.01)
    >>> row |= dict(data="mnist", angle=0, grid=True, mean=0.9, low=0.8, high=1.0, n_seeds=10, interval="95% t")
    >>> made = accuracy_by_regime(pd.DataFrame([dict(row, regime=name) for name in ("uniform", "N(45, 20)")]))
    >>> [ax.get_title(loc="left").split("  ")[1] for ax in made.axes]
    ['N(45, 20)', 'uniform']
    """

    def draw(ax: Axes, rows: pd.DataFrame, regime: str, known: pd.DataFrame | None) -> None:
        shape = density(regime)
        accuracy_over_rotation(rows, ax, density=shape, networks=networks, published=known, legend=False)
        name_density(ax, shape)

    return _panels(summary, draw, networks, published, polar=False)


@theme()
def accuracy_by_regime_polar(
    summary: pd.DataFrame, *, networks: Sequence[Network] | None = None, published: pd.DataFrame | None = None
) -> Figure:
    """The same in polar coordinates: angles counter-clockwise from the top, accuracy in % as radius.

    Arguments, panels and errors are those of :func:`accuracy_by_regime`, lines those of
    :func:`eqviz.plots.accuracy_polar`; the density of training angles grows from the centre.
    """

    def draw(ax: Axes, rows: pd.DataFrame, regime: str, known: pd.DataFrame | None) -> None:
        shape = density(regime)
        accuracy_polar(rows, ax, density=shape, networks=networks, published=known, legend=False)

    return _panels(summary, draw, networks, published, polar=True)


def in_order(regimes: Iterable[str]) -> list[str]:
    """Upright first, then N(mean, std) by std and mean, then uniform, then others in their order.

    >>> in_order(["uniform", "N(45, 40)", "other", "N(45, 20)", "upright"])
    ['upright', 'N(45, 20)', 'N(45, 40)', 'uniform', 'other']
    """

    def place(regime: str) -> tuple[int, Number, Number]:
        kind = next((place for place, start in enumerate(_ORDER) if regime.startswith(start)), len(_ORDER))
        shape = density(regime)
        return (kind, shape[1], shape[0]) if isinstance(shape, tuple) else (kind, 0.0, 0.0)

    return sorted(dict.fromkeys(regimes), key=place)


def _panels(
    summary: pd.DataFrame,
    draw: Callable[[Axes, pd.DataFrame, str, pd.DataFrame | None], None],
    networks: Sequence[Network] | None,
    published: pd.DataFrame | None,
    *,
    polar: bool,
) -> Figure:
    table = accepted(summary, _NAME)
    single(table, ["group", "data"], _NAME)
    regimes = in_order(table["regime"].astype(str).tolist())
    styled = chosen(table, networks)
    across_page = min(2, len(regimes))
    down = -(-len(regimes) // across_page)
    options = {"subplot_kw": {"projection": "polar"}} if polar else {"sharey": True}
    made, axes = figure(TWO_COLUMN_MM, 14 + (85 if polar else 60) * down, down, across_page, **options)
    for place, (ax, regime) in enumerate(zip(axes, regimes, strict=False)):
        known = None if published is None else published[published["regime"].astype(str) == regime]
        draw(ax, table[table["regime"].astype(str) == regime], regime, known)
        lettered(ax, place, regime)
        if not polar:
            ax.set_ylabel(ax.get_ylabel() if place % across_page == 0 else "")
            ax.set_xlabel(ax.get_xlabel() if place >= len(regimes) - across_page else "")
    for ax in axes[len(regimes) :]:
        ax.set_axis_off()
    shaded = density_handles() if polar else []  # Cartesian panels say it beside the area
    across(made, styled, [*explanations(table), *shaded, *published_handles(published)])
    return made
