"""Which layer's broken part a decision rests on: accuracy with the symmetric component put in, and over the scale."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from eqviz.errors import EqvizError
from eqviz.plots.inputs import accepted, kept, one_row_each
from eqviz.plots.labels import Network, chosen, seeds_label
from eqviz.plots.layeraxis import LayerAxis, Place, short_name
from eqviz.plots.legend import across
from eqviz.plots.theme import MUTED, SMALL_PT, STRIPE, TWO_COLUMN_MM, blank, dress, points_across, theme

Floats = npt.NDArray[np.float64]

_NAME = "patching_summary"
_ROTATED, _UPRIGHT = "accuracy_rotated", "accuracy_upright"
_SAID = {_ROTATED: "rotated images", _UPRIGHT: "upright images"}
_MANY_LAYERS = 16
_MOST_PANELS = 3
_DODGE = 0.1  # between networks, in layers, so that their ranges stay apart
_HALVES = 6  # columns of the grid: two panels of three above, up to three of two below


@theme()
def patching(
    summary: pd.DataFrame, *, networks: Sequence[Network] | None = None, layers: Sequence[str] | None = None
) -> Figure:
    """What becomes of the decision when a layer gives out its symmetric component alone, from `patching_summary`.

    Above, accuracy in % on rotated and on upright images with the breaking component of one layer left out (s = 0),
    by layer in execution order. Markers are means over seeds with a thin bar from the lowest to the highest seed, the
    thin level line in the same colour is the network as it is. Hollow markers are layers that are no cut of the
    graph: the image reaches the output past them. Stripes mark layers that subsample. The lines of an exact network
    are level and one with themselves as they are.

    Below, accuracy over the scale s of the breaking component, a panel each for up to three of `layers` (default: the
    first layer that subsamples, the output, and the one half way): on rotated images with markers, on upright images
    thin.

    Raises EqvizError for a table that lacks columns or rows, mixes groups or epochs, or does not hold these layers.

    >>> row = dict(model="p4cnn", input_size=29, group="C4", epoch=50, call=0, kind="pooling", cut=True, n_seeds=1)
    >>> row |= dict(data="mnist", regime="upright", layer="pool", depth=0, subsamples=True)
    >>> values = [dict(scale=s, measure=f"accuracy_{m}", mean=0.9) for s in (0.0, 1.0) for m in ("upright", "rotated")]
    >>> made = patching(pd.DataFrame([row | value | dict(lowest=0.9, highest=0.9) for value in values]))
    >>> [ax.get_title() for ax in made.axes]
    ['rotated images', 'upright images', 'pool']
    """
    table = accepted(summary, _NAME)
    table = kept(table, table["measure"].isin(_SAID) & table["mean"].notna(), _NAME, "an accuracy")
    one_row_each(table, ["model", "input_size", "layer", "call", "scale", "measure"], _NAME)
    kept(table, table["scale"] == 0, _NAME, "rows of scale 0")
    axis, styled = LayerAxis.of(table), chosen(table, networks)
    places = _places(axis, layers)
    scales = _swept(table, places)
    made, above, below = _panels(len(axis.places) > _MANY_LAYERS, len(scales))
    limits = _limits(table)
    for ax, measure in zip(above, _SAID, strict=True):
        _by_layer(ax, table[table["measure"] == measure], measure, axis, styled)
        ax.set_ylim(*limits)
    for ax, place in zip(below, scales, strict=True):
        _over_scale(ax, scales[place], place, styled)
        ax.set_ylim(*limits)
    below[0].set_ylabel("accuracy (%)")
    across(made, styled, _explanations(table, axis))
    return made


def _panels(deep: bool, count: int) -> tuple[Figure, list[Axes], list[Axes]]:
    """A figure with two panels by layer, beside each other or, for deep networks, below; and a row of `count` more."""
    rows = 3 if deep else 2
    made = blank(TWO_COLUMN_MM, 14 + 60 * rows)
    grid = made.add_gridspec(rows, _HALVES)
    whole, half = slice(None), _HALVES // 2
    spots = [grid[0, whole], grid[1, whole]] if deep else [grid[0, :half], grid[0, half:]]
    each = _HALVES // count
    spots += [grid[rows - 1, each * place : each * (place + 1)] for place in range(count)]
    axes = [made.add_subplot(spot) for spot in spots]
    for ax in axes:
        dress(ax)
    return made, axes[:2], axes[2:]


def _places(axis: LayerAxis, layers: Sequence[str] | None) -> tuple[Place, ...]:
    """The layers whose scale is swept, in execution order. Raises EqvizError for those that are not there."""
    if layers is None:
        first = next((n for n, place in enumerate(axis.places) if place in axis.subsampling), 0)
        last = len(axis.places) - 1
        return tuple(axis.places[n] for n in sorted({first, (first + last) // 2, last}))
    known = dict.fromkeys(layer for layer, _ in axis.places)
    lost = [layer for layer in layers if layer not in known]
    if lost or not layers:
        raise EqvizError(
            "layers", expected=f"layers of the table, such as {', '.join(list(known)[:3])}",
            found=", ".join(lost) or "none", fix="choose among these",
        )  # fmt: skip
    return tuple(place for place in axis.places if place[0] in layers)[:_MOST_PANELS]


def _swept(table: pd.DataFrame, places: Sequence[Place]) -> dict[Place, pd.DataFrame]:
    """The rows of each of these layers."""
    own = [(layer, int(call)) for layer, call in zip(table["layer"].astype(str), table["call"], strict=True)]
    return {place: table[[place == other for other in own]] for place in places}


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """The same limits for all panels, in %: from a multiple of ten below the lowest value to just above 100."""
    return max(10 * np.floor(10 * float(table["lowest"].min()) - 0.2), -2.0), 102.0


def _by_layer(ax: Axes, table: pd.DataFrame, measure: str, axis: LayerAxis, styled: Sequence[Network]) -> None:
    axis.shade(ax, named=False)
    size = float(np.clip(0.6 * points_across(ax)[0] / len(axis.places), 1.8, 4.0))
    for place, network in enumerate(styled):
        own = network.rows(table)
        shift = _DODGE * (place - (len(styled) - 1) / 2) if len(styled) < 7 else 0.0
        as_is = own.loc[own["scale"] == 1, "mean"].to_numpy(dtype=float)
        if len(as_is):
            ax.axhline(
                100 * as_is[0], color=network.colour, linewidth=0.6, zorder=1.5, label=f"{network.label}: as it is"
            )
        rows = own[own["scale"] == 0].reset_index(drop=True)
        _markers(ax, rows, np.asarray(axis.positions(rows) + shift, dtype=np.float64), network, size)
    axis.tick_below(ax, 0.9 * points_across(ax)[0])
    ax.set_title(_SAID[measure], fontsize=SMALL_PT)
    ax.set(ylabel="accuracy (%)", xlabel="layer that gives out its symmetric component alone")


def _markers(ax: Axes, rows: pd.DataFrame, x: Floats, network: Network, size: float) -> None:
    order = np.argsort(x, kind="stable")
    x = x[order]
    mean, lowest, highest = (100 * rows[name].to_numpy(dtype=float)[order] for name in ("mean", "lowest", "highest"))
    cut = rows["cut"].to_numpy(dtype=bool)[order]
    ax.plot(x, mean, color=network.colour, linestyle=network.dash, linewidth=1.0, label=network.label, zorder=2.5)
    ax.vlines(x, lowest, highest, color=network.colour, linewidth=0.7, zorder=2.4)
    for chosen_rows, fill, said in ((cut, network.colour, "cuts"), (~cut, "white", "no cuts")):
        if chosen_rows.any():
            ax.plot(
                x[chosen_rows], mean[chosen_rows], linestyle="none", marker=network.marker, markersize=size,
                color=network.colour, markerfacecolor=fill, zorder=3, label=f"{network.label}: {said}",
            )  # fmt: skip


def _over_scale(ax: Axes, table: pd.DataFrame, place: Place, styled: Sequence[Network]) -> None:
    ax.axvline(1, color=MUTED, linewidth=0.6, linestyle=":", zorder=1, label="as it is")
    last = float(table["scale"].max()) <= 1
    ax.text(
        0.97 if last else 1.03,
        0.015,
        "as it is",
        ha="right" if last else "left",
        transform=ax.get_xaxis_transform(),
        fontsize=SMALL_PT,
        color=MUTED,
        va="bottom",
    )
    for network in styled:
        own = network.rows(table).sort_values("scale")
        for measure in _SAID:
            rows = own[own["measure"] == measure]
            rotated = measure == _ROTATED
            ax.plot(
                rows["scale"].to_numpy(dtype=float), 100 * rows["mean"].to_numpy(dtype=float), color=network.colour,
                linestyle=network.dash, linewidth=1.2 if rotated else 0.6, marker=network.marker if rotated else "",
                markersize=3.5, label=f"{network.label}: {'rotated' if rotated else 'upright'}",
            )  # fmt: skip
    layer, call = place
    ax.set_title(short_name(layer) if call == 0 else f"{short_name(layer)} (call {call + 1})", fontsize=SMALL_PT)
    ax.set_xlabel("scale of the breaking component")


def _explanations(table: pd.DataFrame, axis: LayerAxis) -> list[Artist]:
    """Legend entries for what is in the figure beside the networks."""
    thin = "thin: as it is (above), on upright images (below)"
    found: list[Artist] = [Line2D([], [], color=MUTED, linewidth=0.6, label=thin)]
    if axis.subsampling:
        found.append(Patch(facecolor=STRIPE, linewidth=0, label="subsamples"))
    if (~table["cut"].astype(bool)).any():
        found.append(
            Line2D([], [], linestyle="none", marker="o", markerfacecolor="white", color=MUTED, label="hollow: no cut")
        )
    if (table["n_seeds"].astype(int) > 1).any():
        label = f"range over {seeds_label(table['n_seeds'])}"
        found.append(Line2D([], [], linestyle="none", marker="|", markersize=8, color=MUTED, label=label))
    return found
