"""Which part of the symmetry is left: a residual for every layer and subgroup, marked where the subgroup survives."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from eqviz.plots.inputs import accepted, kept, one_row_each
from eqviz.plots.labels import Network, chosen
from eqviz.plots.layeraxis import LayerAxis
from eqviz.plots.legend import columns_that_fit
from eqviz.plots.theme import (
    PALE,
    SMALL_PT,
    STRIPE,
    TEXT_PT,
    TWO_COLUMN_MM,
    decades,
    figure,
    points_across,
    text_width,
    theme,
)

_NAME = "subgroups_summary"
_COLOURS = "YlGnBu"
_DARK = 0.55  # of the colour map, from where on marks are white
_IN_ONE_ROW = 4
_LABEL = "residual (fraction of energy)"
_ROOM_FOR_LABEL = 45  # millimetres
_PALEST = 1e-16  # all that is below is far under any rounding floor of float32, and looks the same


@theme()
def surviving_subgroups(summary: pd.DataFrame, *, networks: Sequence[Network] | None = None) -> Figure:
    """Residual of each subgroup in each layer (colour, log scale), one panel a network, from `subgroups_summary`.

    The residual is the fraction of energy that averaging over the subgroup takes away, 0 exactly when it survives.
    A dot marks where it survives, a question mark where that could not be decided (NA). Layers run from top to
    bottom; the names of those that subsample are shaded. Residuals of 1e-16 and less have the palest colour; a layer
    without a residual (dead) is grey.

    Raises EqvizError for a table that lacks columns or rows, or mixes epochs.

    >>> row = dict(model="p4cnn", input_size=29, group="C4", epoch=50, layer="conv1", call=0, depth=0, kind="conv")
    >>> row |= dict(data="mnist", regime="upright")
    >>> residuals = {"C2": 1e-14, "C4": 0.1}
    >>> rows = [
    ...     dict(row, subsamples=False, subgroup=h, residual=r, survives=r < 1e-9, n_seeds=1)
    ...     for h, r in residuals.items()
    ... ]
    >>> [label.get_text() for label in surviving_subgroups(pd.DataFrame(rows)).axes[0].get_xticklabels()]
    ['C2', 'C4']
    """
    table = accepted(summary, _NAME)
    kept(table, table["residual"].notna(), _NAME, "a layer with residuals")
    one_row_each(table, ["model", "input_size", "layer", "call", "subgroup"], _NAME)
    styled = chosen(table, networks)
    held = [network.rows(table) for network in styled]
    columns = min(_IN_ONE_ROW, len(styled))
    rows = -(-len(styled) // columns)
    width = TWO_COLUMN_MM if columns > 1 else TWO_COLUMN_MM / 2
    tall = _height(held)
    made, panels = figure(width, rows * (tall + 30) + 8, rows, columns)
    norm = _norm(table)
    for place, (ax, own, network) in enumerate(zip(panels, held, styled, strict=False)):
        _draw(ax, own, norm, tall, named=place % columns == 0 or not _same_layers(own, held[place - 1]))
        ax.set_title(_title(ax, network), loc="left", color=network.colour)
    for ax in panels[len(styled) :]:
        ax.set_axis_off()
    _bar(made, panels[: len(styled)], norm, rows * tall)
    _legend(made, table)
    return made


def _draw(ax: Axes, rows: pd.DataFrame, norm: LogNorm, tall: float, *, named: bool) -> None:
    layers, names = LayerAxis.of(rows), [str(name) for name in rows["subgroup"].unique()]
    column = {name: place for place, name in enumerate(names)}
    cells = np.full((len(layers.places), len(names)), np.nan)
    x = np.array([column[str(name)] for name in rows["subgroup"]], dtype=int)
    y = layers.positions(rows)
    cells[y, x] = np.maximum(rows["residual"].to_numpy(dtype=float), norm.vmin or 0.0)
    ax.set_facecolor(PALE)
    ax.imshow(cells, norm=norm, cmap=_COLOURS, aspect="auto", interpolation="nearest")
    _mark(ax, x, y, rows["survives"], norm(cells[y, x]), small=len(layers.places) > 20)
    ax.set_xticks(
        range(len(names)), [short_name(name) for name in names], rotation=90 if max(map(len, names)) > 2 else 0
    )
    layers.tick_beside(ax, tall * 72 / 25.4)
    ax.tick_params(labelleft=named, length=0)
    ax.spines[:].set_visible(False)


def _title(ax: Axes, network: Network) -> str:
    """The network's label, on two lines where a narrow panel needs that."""
    room = 0.75 * points_across(ax)[0]  # layer names and the colour bar take the rest
    return network.label if text_width(network.label, TEXT_PT) < room else network.label.replace(", ", "\n")


def short_name(subgroup: str) -> str:
    """A subgroup's name for a tick.

    >>> short_name("D1(left-right)"), short_name("C4")
    ('D1 left-right', 'C4')
    """
    return subgroup.replace("(", " ").replace(")", "")


def _mark(
    ax: Axes,
    x: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
    survives: "pd.Series[bool]",
    shade: npt.NDArray[np.float64],
    *,
    small: bool,
) -> None:
    unknown = survives.isna().to_numpy(dtype=bool)
    yes = survives.fillna(False).astype(bool).to_numpy(dtype=bool)
    for mark, label, where in ((".", "survives", yes), ("$?$", "undecided", unknown)):
        for dark, colour in ((False, "black"), (True, "white")):
            chosen_cells = where & ((np.nan_to_num(shade) > _DARK) == dark)
            ax.plot(
                x[chosen_cells], y[chosen_cells], linestyle="none", marker=mark, color=colour, label=label,
                markersize=(2.5 if small else 5) if mark == "." else 4, markeredgewidth=0.3,
            )  # fmt: skip


def _norm(table: pd.DataFrame) -> LogNorm:
    """Colours from the power of ten below the smallest positive residual, or 1e-16, to 1."""
    values = table["residual"].to_numpy(dtype=float)
    positive = values[values > 0]
    lowest = 10.0 ** np.floor(np.log10(positive.min())) if len(positive) else _PALEST
    return LogNorm(vmin=min(max(float(lowest), _PALEST), 0.1), vmax=1.0)


def _height(held: Sequence[pd.DataFrame]) -> float:
    """Height of a panel in millimetres: room for its layers, within reason."""
    return float(np.clip(4.2 * max(len(LayerAxis.of(rows).places) for rows in held), 25, 110))


def _same_layers(rows: pd.DataFrame, others: pd.DataFrame) -> bool:
    return LayerAxis.of(rows).places == LayerAxis.of(others).places


def _bar(made: Figure, axes: Sequence[Axes], norm: LogNorm, long: float) -> None:
    """The colour bar, `long` millimetres; its label is on two lines where it is too short for one."""
    bar = made.colorbar(ScalarMappable(norm, colormaps[_COLOURS]), ax=axes, aspect=30, pad=0.01, extend="min")
    bar.set_label(_LABEL if long >= _ROOM_FOR_LABEL else _LABEL.replace(" (", "\n("))
    bar.set_ticks(decades(norm.vmin or _PALEST, most=9))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.tick_params(labelsize=SMALL_PT)


def _legend(made: Figure, table: pd.DataFrame) -> None:
    handles: list[Artist] = [
        Line2D([], [], linestyle="none", marker=".", color="black", markersize=6, label="survives")
    ]
    if table["survives"].isna().any():
        handles.append(
            Line2D(
                [],
                [],
                linestyle="none",
                marker="$?$",
                color="black",
                markersize=4,
                markeredgewidth=0.3,
                label="undecided",
            )
        )
    if table["subsamples"].fillna(False).astype(bool).any():
        handles.append(Patch(facecolor=STRIPE, linewidth=0, label="subsamples"))
    if table["residual"].isna().any():
        handles.append(Patch(facecolor=PALE, linewidth=0, label="no residual: all activations 0"))
    made.legend(handles=handles, loc="outside lower left", ncols=columns_that_fit(handles, 72 * made.get_figwidth()))
