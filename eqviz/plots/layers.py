"""Where the symmetry breaks: the breaking fraction of every layer, next to what rounding alone would give."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from eqviz.plots.inputs import accepted, kept, one_row_each
from eqviz.plots.labels import Network, chosen, seeds_label
from eqviz.plots.layeraxis import LayerAxis
from eqviz.plots.legend import above
from eqviz.plots.theme import MUTED, ONE_COLUMN_MM, PALE, SMALL_PT, TWO_COLUMN_MM, decades, panel, points_across, theme

Floats = npt.NDArray[np.float64]

_NAME = "equivariance_summary"
_MANY_LAYERS = 16
_HEADROOM_PT = 1.9 * SMALL_PT  # above a fraction of 1, for the word "subsamples"
_LEAST = 0.65  # of its height is left to an Axes by its legend and tick labels
_DODGE = 0.12  # between networks, in layers, so that their ranges stay apart


@theme()
def breaking_by_layer(
    summary: pd.DataFrame,
    ax: Axes | None = None,
    *,
    networks: Sequence[Network] | None = None,
    legend: bool = True,
) -> Axes:
    """Breaking fraction (0 to 1, log scale) of each layer in execution order, from `equivariance_summary`.

    One line a network: the mean over seeds, with a thin bar from the lowest to the highest seed. The grey area at the
    bottom reaches up to `floor`, the largest over networks: what float32 rounding alone gives in that layer. Stripes
    mark the layers that subsample. A fraction of exactly 0 has no place on a log scale: a hollow triangle at the lower
    edge stands for it. Layers without a value (dead: all activations 0) are left out.

    Raises EqvizError for a table that lacks columns or rows, or mixes groups or epochs.

    >>> row = dict(model="p4cnn", input_size=29, group="C4", epoch=50, call=0, kind="conv", grid=True, n_seeds=1)
    >>> row |= dict(data="mnist", regime="upright")
    >>> values = dict(breaking_fraction=0.1, lowest=0.1, highest=0.1, floor=1e-14)
    >>> layers = [dict(layer="conv1", depth=0, subsamples=False), dict(layer="pool", depth=1, subsamples=True)]
    >>> ax = breaking_by_layer(pd.DataFrame([row | values | layer for layer in layers]))
    >>> ax.get_yscale(), [label.get_text() for label in ax.get_xticklabels()]
    ('log', ['conv1', 'pool'])
    """
    table = accepted(summary, _NAME)
    table = kept(table, table["breaking_fraction"].notna(), _NAME, "a layer with a breaking fraction")
    one_row_each(table, ["model", "input_size", "layer", "call"], _NAME)
    layers = LayerAxis.of(table)
    ax = panel(ax, TWO_COLUMN_MM if len(layers.places) > _MANY_LAYERS else ONE_COLUMN_MM, 75)
    bottom = _lower_limit(table)
    _scale(ax, bottom)
    layers.shade(ax)
    _rounding(ax, table, layers, bottom)
    styled = chosen(table, networks)
    for place, network in enumerate(styled):
        shift = _DODGE * (place - (len(styled) - 1) / 2) if len(styled) < 7 else 0.0
        _draw(ax, network, network.rows(table), layers, shift, bottom)
    layers.tick_below(ax)
    if legend:
        above(ax, [*(network.handle() for network in styled), *_explanations(table, layers)])
    return ax


def _lower_limit(table: pd.DataFrame) -> float:
    """A power of ten below every positive value of the table, so that no line lies on the edge."""
    values = table[["breaking_fraction", "lowest", "floor"]].to_numpy(dtype=float)
    positive = values[values > 0]
    return float(10.0 ** (np.floor(np.log10(positive.min())) - 1)) if len(positive) else 1e-16


def _scale(ax: Axes, bottom: float) -> None:
    ax.set_yscale("log")
    headroom = _HEADROOM_PT / (_LEAST * points_across(ax)[1])
    ax.set_ylim(bottom, bottom ** (-headroom / (1 - headroom)))
    ax.set_yticks(decades(bottom))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set(ylabel="breaking fraction", xlabel="layer, in order of execution")


def _rounding(ax: Axes, table: pd.DataFrame, layers: LayerAxis, bottom: float) -> None:
    floors = table.assign(place=layers.positions(table)).dropna(subset=["floor"])
    highest = floors.groupby("place")["floor"].max().astype(float)
    if len(highest) == 0:
        return
    x = highest.index.to_numpy(dtype=float)
    y = np.maximum(highest.to_numpy(dtype=float), bottom)
    edges = np.concatenate([[x[0] - 0.6], x, [x[-1] + 0.6]])
    ax.fill_between(
        edges, bottom, np.concatenate([y[:1], y, y[-1:]]), color=PALE, linewidth=0, zorder=1, label="float32 rounding"
    )


def _draw(ax: Axes, network: Network, rows: pd.DataFrame, layers: LayerAxis, shift: float, bottom: float) -> None:
    where = np.argsort(layers.positions(rows), kind="stable")
    x = layers.positions(rows)[where] + shift
    mean, lowest, highest = (
        rows[column].to_numpy(dtype=float)[where] for column in ("breaking_fraction", "lowest", "highest")
    )
    zero = mean <= 0
    size = np.clip(0.6 * points_across(ax)[0] / len(layers.places), 1.5, 3.5)
    ax.plot(
        x, np.where(zero, bottom, mean), color=network.colour, linestyle=network.dash, label=network.label, zorder=2.5
    )
    ax.plot(
        x[~zero], mean[~zero], linestyle="none", marker=network.marker, markersize=size, color=network.colour, zorder=3,
        label=f"{network.label}: layers",
    )  # fmt: skip
    ax.vlines(
        x, np.maximum(lowest, bottom), np.maximum(highest, bottom), color=network.colour, linewidth=0.7, zorder=2.4
    )
    if not zero.any():
        return
    ax.plot(
        x[zero], np.full(int(zero.sum()), bottom), linestyle="none", marker="v", markerfacecolor="white",
        markeredgecolor=network.colour, markersize=5, clip_on=False, zorder=4, label=f"{network.label}: exactly 0",
    )  # fmt: skip


def _explanations(table: pd.DataFrame, layers: LayerAxis) -> list[Artist]:
    """Legend entries for what is in this picture beside the networks."""
    found: list[Artist] = []
    if table["floor"].notna().any():
        found.append(Patch(facecolor=PALE, linewidth=0, label="float32 rounding"))
    if (table["n_seeds"].astype(int) > 1).any():
        bar = Line2D([], [], linestyle="none", marker="|", markersize=8, color=MUTED)
        bar.set_label(f"range over {seeds_label(table['n_seeds'])}")
        found.append(bar)
    if (table["breaking_fraction"] == 0).any():
        found.append(
            Line2D([], [], linestyle="none", marker="v", markerfacecolor="white", color=MUTED, label="exactly 0")
        )
    return found
