"""Do explanations turn with the image? The cosine of two attributions, by method and by layer."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from eqviz.plots.inputs import accepted, kept, one_row_each
from eqviz.plots.labels import Network, chosen, seeds_label
from eqviz.plots.layeraxis import LayerAxis
from eqviz.plots.legend import columns_that_fit
from eqviz.plots.theme import MUTED, SMALL_PT, STRIPE, TWO_COLUMN_MM, decades, dress, figure, theme

_NAME = "attribution_summary"
_GRAD_CAM = "grad_cam"
_WORDS = {"integrated_gradients": "integrated\ngradients"}
_TOP = 4.0  # opposite maps have a distance of 2
_SPREAD = 0.6  # of the room of a method is taken by its networks


@theme()
def explanation_equivariance(summary: pd.DataFrame, *, networks: Sequence[Network] | None = None) -> Figure:
    """1 - cosine (log scale) between the attribution of g x and g applied to that of x, from `attribution_summary`.

    On the left by method, for attributions to pixels; on the right by layer, for Grad-CAM on the maps of that layer.
    One mark a network: the mean over seeds, with a thin bar from the lowest to the highest seed. The dotted line at 1
    is where unrelated attributions lie on average. A distance of exactly 0 has no place on a log scale: a hollow
    triangle at the lower edge stands for it. Rows without a cosine are left out; so is a panel without rows.

    Raises EqvizError for a table that lacks columns or rows, or mixes groups or epochs.

    >>> row = dict(model="p4cnn", input_size=16, group="C4", epoch=20, data="digits", regime="upright", call=0)
    >>> row |= dict(method="saliency", layer="(input)", depth=-1, kind="input", subsamples=False, cosine=0.99)
    >>> row |= dict(cosine_lowest=0.9, cosine_distance=0.01, lowest=0.01, highest=0.01, n_seeds=1)
    >>> made = explanation_equivariance(pd.DataFrame([row | dict(tied_windows=0.3, tied_windows_with_gradient=0.1)]))
    >>> [ax.get_yscale() for ax in made.axes]
    ['log']
    """
    table = accepted(summary, _NAME)
    table = kept(table, table["cosine_distance"].notna(), _NAME, "a method with a cosine")
    one_row_each(table, ["model", "input_size", "method", "layer", "call"], _NAME)
    styled = chosen(table, networks)
    by_layer = table["method"].astype(str) == _GRAD_CAM
    parts = [table[rows].reset_index(drop=True) for rows in (~by_layer, by_layer) if rows.any()]
    methods = table.loc[~by_layer, "method"].nunique()
    widths = [max(2.0, methods), 6.0] if len(parts) == 2 else [1.0]
    made, axes = figure(TWO_COLUMN_MM, 78, 1, len(parts), sharey=True, width_ratios=widths)
    bottom = _lower_limit(table)
    for ax, rows in zip(axes, parts, strict=True):
        _scale(ax, bottom)
        (_layers if (rows["method"] == _GRAD_CAM).all() else _methods)(ax, rows, styled, bottom)
        ax.tick_params(axis="y", labelleft=ax is axes[0])
    axes[0].set_ylabel("1 − cosine")
    handles = [*(network.handle() for network in styled), *_explanations(table)]
    made.legend(
        handles=handles, loc="outside upper left", ncols=columns_that_fit(handles, 0.95 * 72 * made.get_figwidth()),
        fontsize=SMALL_PT, handletextpad=0.5, columnspacing=1.2,
    )  # fmt: skip
    return made


def _lower_limit(table: pd.DataFrame) -> float:
    """A power of ten below every positive value of the table, so that no mark lies on the edge."""
    values = table[["cosine_distance", "lowest"]].to_numpy(dtype=float)
    positive = values[values > 0]
    return float(10.0 ** np.floor(np.log10(positive.min()) - 0.3)) if len(positive) else 1e-16


def _scale(ax: Axes, bottom: float) -> None:
    dress(ax)
    ax.set_yscale("log")
    ax.set_ylim(bottom, _TOP)
    ax.set_yticks(decades(min(bottom, 0.1)))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.axhline(1, color=MUTED, linestyle=":", linewidth=0.8, zorder=1, label="unrelated attributions")


def _methods(ax: Axes, rows: pd.DataFrame, styled: Sequence[Network], bottom: float) -> None:
    names = [str(name) for name in rows["method"].unique()]
    step = _SPREAD / max(len(styled), 2)
    for place, network in enumerate(styled):
        own = network.rows(rows)
        shift = step * (place - (len(styled) - 1) / 2)
        x = np.array([names.index(str(name)) + shift for name in own["method"]])
        _marks(ax, x, own, network, bottom)
    ax.set_xticks(range(len(names)), [_WORDS.get(name, name) for name in names], fontsize=SMALL_PT)
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.set_xlabel("by pixels of the image")


def _layers(ax: Axes, rows: pd.DataFrame, styled: Sequence[Network], bottom: float) -> None:
    layers = LayerAxis.of(rows)
    layers.shade(ax, named=False)
    for network in styled:
        own = network.rows(rows)
        own = own.assign(place=layers.positions(own)).sort_values("place", kind="stable")
        x = own["place"].to_numpy(dtype=float)
        line = np.maximum(own["cosine_distance"].to_numpy(dtype=float), bottom)
        ax.plot(x, line, color=network.colour, linestyle=network.dash, label=network.label, zorder=2.5)
        _marks(ax, x, own, network, bottom)
    layers.tick_below(ax)
    ax.set_xlabel("Grad-CAM by layer, in order of execution")


def _marks(ax: Axes, x: npt.NDArray[np.float64], rows: pd.DataFrame, network: Network, bottom: float) -> None:
    mean, lowest, highest = (rows[name].to_numpy(dtype=float) for name in ("cosine_distance", "lowest", "highest"))
    zero = mean <= 0
    ax.vlines(
        x, np.maximum(lowest, bottom), np.maximum(highest, bottom), color=network.colour, linewidth=0.9, zorder=2.4
    )
    ax.plot(
        x[~zero], mean[~zero], linestyle="none", marker=network.marker, markersize=3.8, color=network.colour, zorder=3,
        label=f"{network.label}: means",
    )  # fmt: skip
    if zero.any():
        ax.plot(
            x[zero], np.full(int(zero.sum()), bottom), linestyle="none", marker="v", markerfacecolor="white",
            markeredgecolor=network.colour, markersize=5, clip_on=False, zorder=4, label=f"{network.label}: exactly 0",
        )  # fmt: skip


def _explanations(table: pd.DataFrame) -> list[Artist]:
    """Legend entries for what is in this picture beside the networks."""
    found: list[Artist] = [Line2D([], [], linestyle=":", linewidth=0.8, color=MUTED, label="unrelated attributions")]
    if (table["n_seeds"].astype(int) > 1).any():
        bar = Line2D([], [], linestyle="none", marker="|", markersize=8, color=MUTED)
        bar.set_label(f"range over {seeds_label(table['n_seeds'])}")
        found.append(bar)
    if table.loc[table["method"] == _GRAD_CAM, "subsamples"].astype(bool).any():
        found.append(Patch(facecolor=STRIPE, linewidth=0, label="subsamples"))
    if (table["cosine_distance"] == 0).any():
        found.append(
            Line2D([], [], linestyle="none", marker="v", markerfacecolor="white", color=MUTED, label="exactly 0")
        )
    return found
