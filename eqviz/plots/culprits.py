"""Who breaks the symmetry: the local error of every layer as a bar, beside the error that has piled up to it."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import NullLocator

from eqviz.plots.inputs import accepted, kept, one_row_each
from eqviz.plots.labels import Network, chosen, seeds_label
from eqviz.plots.layeraxis import LayerAxis
from eqviz.plots.legend import columns_that_fit
from eqviz.plots.theme import (
    INK,
    MUTED,
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

_NAME = "local_defect_summary"
_IN_BETWEEN = ("normalisation", "activation", "dropout")
_ROUNDING = "#CFCFCF"
_HATCH = "////"
_BAR = 0.62  # of a layer
_RANGE = 0.2  # of a layer, the range of the local error to the left of that of the cumulative one
_HALO = (Stroke(linewidth=2.4, foreground="white"), Normal())  # keeps lines apart from dark bars
_FEW_LAYERS = 16
_HEIGHT, _TALL = 54, 70  # millimetres of a row; names of layers of deep networks are long
_HEADROOM = 0.14  # of an Axes, for the name of the culprit


@theme()
def local_defect(
    summary: pd.DataFrame, *, networks: Sequence[Network] | None = None, subsampling: Collection[str] = ()
) -> Figure:
    """Local error (bars) and cumulative error (line) of each layer on a log scale, one panel a network.

    Takes the table `local_defect_summary`. Both are relative to the size of the layer's output, means over seeds, with
    thin lines from the lowest to the highest seed. Filled bars are culprits, the first of them named at the top (the
    one that is most often first); hollow ones are blocks that break because of a layer within them; grey ones are exact
    layers, whose height is rounding alone; a triangle at the lower edge stands for exactly 0, a cross for a layer that
    could not be measured by itself. Normalisation, activation and dropout layers are left out unless they are culprits.
    Stripes mark layers that subsample, and those in `subsampling`.

    Raises EqvizError for a table that lacks columns or rows, or mixes groups or epochs.

    >>> row = dict(model="p4cnn", input_size=29, group="C4", epoch=5, data="mnist", regime="upright", layer="pool")
    >>> row |= dict(call=0, depth=0, kind="pooling", subsamples=True, exact="no", n_ranked=2, n_culprit=2, n_seeds=2)
    >>> row |= dict(local_error=0.1, local_lowest=0.1, local_highest=0.1)
    >>> row |= dict(cumulative_error=0.2, cumulative_lowest=0.2, cumulative_highest=0.2)
    >>> [ax.get_title(loc="left") for ax in local_defect(pd.DataFrame([row])).axes]
    ['P4 CNN, 29 px: pool breaks it']
    """
    table = accepted(summary, _NAME)
    shown = ~table["kind"].isin(_IN_BETWEEN) | (table["n_ranked"].astype(int) > 0)
    table = kept(table, shown, _NAME, "a convolution, pooling, block or linear layer, or a culprit")
    measured = table[["local_error", "cumulative_error"]].astype(float).notna().any(axis=1)
    table = kept(table, measured, _NAME, "a layer with a local or cumulative error")
    one_row_each(table, ["model", "input_size", "layer", "call"], _NAME)
    striped = table["layer"].astype(str).isin(list(subsampling))
    table["subsamples"] = table["subsamples"].fillna(False).astype(bool) | striped
    styled = chosen(table, networks)
    held = [network.rows(table) for network in styled]
    axes_of_layers = [LayerAxis.of(own) for own in held]
    deep = max(len(one.places) for one in axes_of_layers) > _FEW_LAYERS
    columns = 1 if deep or len(styled) == 1 else 2
    rows = -(-len(styled) // columns)
    made, panels = figure(TWO_COLUMN_MM, 14 + (_TALL if deep else _HEIGHT) * rows, rows, columns)
    bottom, top = _limits(table)
    for ax, network, own, layers in zip(panels, styled, held, axes_of_layers, strict=False):
        _scale(ax, bottom, top)
        layers.shade(ax, named=False)
        _bars(ax, own, layers, network, bottom)
        _line(ax, own, layers, bottom)
        _name_culprit(ax, own, layers)
        layers.tick_below(ax, 0.9 * points_across(ax)[0])
        ax.set_title(_title(ax, network, own, layers), loc="left", color=network.colour)
    for ax in panels[len(styled) :]:
        ax.set_axis_off()
    for ax in panels[::columns][:rows]:
        ax.set_ylabel("relative error")
    _legend(made, table)
    return made


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """A power of ten below every positive value, and the largest value."""
    values = table[["local_lowest", "cumulative_lowest", "local_highest", "cumulative_highest"]].to_numpy(dtype=float)
    positive = values[np.isfinite(values) & (values > 0)]
    lowest, highest = (positive.min(), positive.max()) if len(positive) else (1e-7, 1.0)
    return min(1e-2, float(10.0 ** (np.floor(np.log10(lowest)) - 1))), max(1.0, float(highest))


def _scale(ax: Axes, bottom: float, top: float) -> None:
    ax.set_yscale("log")
    ax.set_ylim(bottom, top * (top / bottom) ** (_HEADROOM / (1 - _HEADROOM)))
    ax.set_yticks(decades(bottom))
    ax.yaxis.set_minor_locator(NullLocator())


def _state(row: pd.Series) -> str:
    """Which kind of bar a layer gets."""
    if str(row["layer"]).startswith("(output)"):
        return "whole"
    if int(row["n_ranked"]) > 0:
        return "culprit"
    return {"yes": "exact", "no": "contains"}.get(str(row["exact"]), "undecided")


def _looks(colour: str) -> dict[str, dict[str, Any]]:
    """The look of each kind of bar; the whole network has a line only."""
    return {
        "culprit": {"facecolor": colour, "edgecolor": colour},
        "contains": {"facecolor": "white", "edgecolor": colour},
        "undecided": {"facecolor": "white", "edgecolor": MUTED, "hatch": _HATCH},
        "exact": {"facecolor": _ROUNDING, "edgecolor": _ROUNDING},
    }


def _bars(ax: Axes, rows: pd.DataFrame, layers: LayerAxis, network: Network, bottom: float) -> None:
    x = layers.positions(rows)
    height, low, high = (
        rows[name].to_numpy(dtype=float) for name in ("local_error", "local_lowest", "local_highest")
    )  # fmt: skip
    states = np.array([_state(row) for _, row in rows.iterrows()])
    for state, look in _looks(network.colour).items():
        some = (states == state) & (height > 0)
        if some.any():
            tall = height[some] - bottom
            ax.bar(x[some], tall, _BAR, bottom=bottom, linewidth=0.8, zorder=1.5, label=state, **look)
    spread = np.isin(states, ["whole", "exact"], invert=True) & (height > 0) & (high > low)
    ax.vlines(
        x[spread] - _RANGE, np.maximum(low, bottom)[spread], high[spread], color=INK, linewidth=0.7, zorder=1.8,
        path_effects=_HALO, label="local range",
    )  # fmt: skip
    _at_the_edge(ax, x[(states != "whole") & (height == 0)], bottom, "v", "exactly 0")
    _at_the_edge(ax, x[(states != "whole") & np.isnan(height)], bottom, "x", "not measured")


def _at_the_edge(ax: Axes, x: npt.NDArray[np.int64], bottom: float, marker: str, label: str) -> None:
    if len(x):  # an empty line that is not clipped would be laid out at the figure's corner
        ax.plot(
            x, np.full(len(x), bottom), linestyle="none", marker=marker, markersize=_size(ax) + 0.5,
            markerfacecolor="white", markeredgecolor=MUTED, clip_on=False, zorder=4, label=label,
        )  # fmt: skip


def _size(ax: Axes) -> float:
    low, high = ax.get_xlim()
    return float(np.clip(0.4 * points_across(ax)[0] / max(high - low, 1), 2.0, 4.0))


def _line(ax: Axes, rows: pd.DataFrame, layers: LayerAxis, bottom: float) -> None:
    where = np.argsort(layers.positions(rows), kind="stable")
    x = layers.positions(rows)[where]
    mean, low, high = (
        rows[name].to_numpy(dtype=float)[where]
        for name in ("cumulative_error", "cumulative_lowest", "cumulative_highest")
    )
    known = np.isfinite(mean)
    ax.plot(
        x[known], np.maximum(mean[known], bottom), color=INK, linewidth=1.0, marker="o", markerfacecolor="white",
        markersize=3.0, markeredgewidth=0.8, zorder=3, path_effects=_HALO, label="cumulative",
    )  # fmt: skip
    spread = known & (high > low)
    ax.vlines(x[spread], np.maximum(low[spread], bottom), high[spread], color=INK, linewidth=0.7, zorder=2.9)


def _first(rows: pd.DataFrame) -> "pd.Series | None":
    """The culprit that is most often first; of several, the one with the largest local error."""
    blamed = rows[rows["n_ranked"].astype(int) > 0]
    if not len(blamed):
        return None
    return blamed.sort_values(["n_culprit", "local_error"], ascending=False, kind="stable").iloc[0]


def _name_culprit(ax: Axes, rows: pd.DataFrame, layers: LayerAxis) -> None:
    first = _first(rows)
    if first is None:
        return
    (x,) = layers.positions(rows.loc[[first.name]])
    places = len(layers.places)
    side = "left" if x < 0.15 * places else "right" if x > 0.85 * places else "center"
    ax.text(
        x - {"left": 0.3, "right": -0.3, "center": 0.0}[side], 0.99, layers.labels()[x], ha=side, va="top",
        transform=ax.get_xaxis_transform(), fontsize=SMALL_PT, fontweight="bold", gid="culprit",
    )  # fmt: skip
    ax.plot(
        [x], [1 - 0.75 * _HEADROOM], transform=ax.get_xaxis_transform(), linestyle="none", marker="v", markersize=4,
        color=INK, zorder=4, label="first culprit",
    )  # fmt: skip


def _title(ax: Axes, network: Network, rows: pd.DataFrame, layers: LayerAxis) -> str:
    first = _first(rows)
    if first is None:
        open_ones = (rows["exact"].astype(str) == "undecided").any() or rows["local_error"].isna().any()
        broken = (rows["exact"].astype(str) == "no").any()
        text = "no layer by itself breaks it" if broken or open_ones else "every layer is exact"
        return f"{network.label}: {text}"
    name = layers.labels()[layers.positions(rows.loc[[first.name]])[0]]
    count = int((rows["n_ranked"].astype(int) > 0).sum())
    said = f"{name} breaks it" if count == 1 else f"{name} and {count - 1} other{'s' * (count > 2)} break it"
    text = f"{network.label}: {said}"
    return text if text_width(text, TEXT_PT) < 1.05 * points_across(ax)[0] else text.replace(": ", ":\n", 1)


def _legend(made: Figure, table: pd.DataFrame) -> None:
    states = {_state(row) for _, row in table.iterrows()}
    said = {
        "culprit": "local, culprit (panel's colour)",
        "contains": "local, block with a culprit within",
        "undecided": "local, undecided",
        "exact": "local, exact layer: rounding",
    }
    line = Line2D([], [], color=INK, linewidth=1.0, marker="o", markerfacecolor="white", markersize=3.0)
    line.set_label("cumulative: all layers up to here")
    handles: list[Artist] = [line]
    for state, look in _looks(INK).items():
        if state in states:
            handles.append(Patch(linewidth=0.8, label=said[state], **look))
    whole = table["layer"].astype(str).str.startswith("(output)")
    alone = table.loc[~whole, "local_error"].astype(float)
    for marker, label, some in (("v", "local, exactly 0", alone == 0), ("x", "local, not measured", alone.isna())):
        if some.any():
            mark = Line2D([], [], linestyle="none", marker=marker, markerfacecolor="white", color=MUTED)
            mark.set_label(label)
            handles.append(mark)
    counts = table["n_seeds"].astype(int)
    if (counts > 1).any():
        bar = Line2D([], [], linestyle="none", marker="|", markersize=8, color=INK)
        bar.set_label(f"range over {seeds_label(counts[counts > 0])}")
        handles.append(bar)
    if table["subsamples"].astype(bool).any():
        handles.append(Patch(facecolor=STRIPE, linewidth=0, label="subsamples"))
    made.legend(
        handles=handles, loc="outside lower left", ncols=columns_that_fit(handles, 0.95 * 72 * made.get_figwidth()),
        fontsize=SMALL_PT, handletextpad=0.5, columnspacing=1.2,
    )  # fmt: skip
