"""Similarity of features by layer (linear CKA): of x and g x in one network, and of two networks on the same images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from eqviz.plots.inputs import accepted, kept, one_row_each
from eqviz.plots.labels import Network, chosen, network_label, seeds_label
from eqviz.plots.layeraxis import LayerAxis
from eqviz.plots.legend import above
from eqviz.plots.theme import MUTED, ONE_COLUMN_MM, SMALL_PT, TWO_COLUMN_MM, drawn, panel, points_across, theme

_OWN, _TWINS = "cka_summary", "twin_cka_summary"
_MANY_LAYERS = 16
_DODGE = 0.12  # between lines, in layers, so that their ranges stay apart
_THIN = 0.6  # line of a pair that is there to compare with
_LEAST = 0.65  # of its height is left to an Axes by its legend and tick labels


@dataclass(frozen=True)
class _Curve:
    """One line of a figure: its look and name, and its rows."""

    style: Network
    rows: pd.DataFrame
    reference: bool = False

    def handle(self) -> Line2D:
        handle = self.style.handle()
        if self.reference:
            handle.set(markerfacecolor="white", linewidth=_THIN)
        return handle


@theme()
def cka_by_layer(
    summary: pd.DataFrame,
    ax: Axes | None = None,
    *,
    networks: Sequence[Network] | None = None,
    legend: bool = True,
) -> Axes:
    """Linear CKA of the features of x and of g x, mean over g, of each layer in execution order, from `cka_summary`.

    One line a network: the mean over seeds, with a thin bar from the lowest to the highest seed. 1 says that an
    orthogonal map takes the features of x to those of g x for all images, as rho(g) does in an exact layer; 0 that
    they have nothing in common. Unbiased estimates scatter around 0 and may lie below. Stripes mark the layers that
    subsample. Layers without a value (features that are the same for all images) are left out.

    Raises EqvizError for a table that lacks columns or rows, or mixes groups or epochs.

    >>> row = dict(model="p4cnn", input_size=29, group="C4", epoch=50, call=0, kind="conv", n_seeds=1)
    >>> row |= dict(data="mnist", regime="upright", cka=0.9, lowest=0.9, highest=0.9, cka_biased=0.95)
    >>> layers = [dict(layer="conv1", depth=0, subsamples=False), dict(layer="pool", depth=1, subsamples=True)]
    >>> cka_by_layer(pd.DataFrame([row | layer for layer in layers])).get_ylabel()
    'CKA of x and g x'
    """
    table = accepted(summary, _OWN)
    table = kept(table, table["cka"].notna(), _OWN, "a layer with a CKA")
    one_row_each(table, ["model", "input_size", "layer", "call"], _OWN)
    curves = [_Curve(network, network.rows(table)) for network in chosen(table, networks)]
    ax = _panel(ax, table)
    ax.set_ylabel("CKA of x and g x")
    counts = f"range over {seeds_label(table['n_seeds'])}" if (table["n_seeds"].astype(int) > 1).any() else ""
    _draw_all(ax, table, curves, counts, legend=legend)
    return ax


@theme()
def twin_cka_by_layer(
    summary: pd.DataFrame,
    ax: Axes | None = None,
    *,
    networks: Sequence[Network] | None = None,
    legend: bool = True,
) -> Axes:
    """Linear CKA of two networks on the same images, layer by layer in execution order, from `twin_cka_summary`.

    One line a pair of networks, in the style of the first: the mean over pairs of runs, with a thin bar from the
    lowest to the highest. Pairs of runs of one network, which differ by nothing but their seed, are thin with hollow
    markers: the value to compare with. Stripes mark the layers that subsample.

    Raises EqvizError for a table that lacks columns or rows, or mixes groups or epochs.

    >>> row = dict(model="p4cnn", input_size=29, group="C4", epoch=50, layer="conv1", call=0, depth=0, kind="conv")
    >>> row |= dict(data="mnist", regime="upright", subsamples=False, other_model="p4cnn", other_input_size=28)
    >>> row |= dict(cka=0.9, lowest=0.9, highest=0.9, cka_biased=0.95, n_pairs=1)
    >>> ax = twin_cka_by_layer(pd.DataFrame([row]))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['P4 CNN, 29 px and 28 px']
    """
    table = accepted(summary, _TWINS)
    table = kept(table, table["cka"].notna(), _TWINS, "a layer with a CKA")
    one_row_each(table, ["model", "input_size", "other_model", "other_input_size", "layer", "call"], _TWINS)
    ax = _panel(ax, table)
    ax.set_ylabel("CKA of two networks")
    fewest, pairs = (int(table["n_pairs"].agg(which)) for which in ("min", "max"))
    counts = f"range over {'up to ' if fewest < pairs else ''}{pairs} pairs of runs"
    _draw_all(ax, table, list(_pairs(table, networks)), counts if pairs > 1 else "", legend=legend)
    return ax


def _pairs(table: pd.DataFrame, networks: Sequence[Network] | None) -> Iterator[_Curve]:
    for network in chosen(table, networks):
        own = network.rows(table)
        for (model, size), rows in own.groupby(["other_model", "other_input_size"], sort=False, observed=True):
            same = (str(model), str(size)) == (network.model, str(network.input_size))
            other = drawn(network_label(str(model), str(size)))
            if str(model) == network.model:  # whose name need not be said twice
                other = other.rsplit(", ", 1)[-1]
            style = replace(network, label=f"{network.label}, two seeds" if same else f"{network.label} and {other}")
            yield _Curve(style, rows.reset_index(drop=True), reference=same)


def _panel(ax: Axes | None, table: pd.DataFrame) -> Axes:
    layers = len(LayerAxis.of(table).places)
    return panel(ax, TWO_COLUMN_MM if layers > _MANY_LAYERS else ONE_COLUMN_MM, 75)


def _draw_all(ax: Axes, table: pd.DataFrame, curves: Sequence[_Curve], counts: str, *, legend: bool) -> None:
    layers = LayerAxis.of(table)
    _scale(ax, table)
    layers.shade(ax)
    for place, curve in enumerate(curves):
        shift = _DODGE * (place - (len(curves) - 1) / 2) if len(curves) < 7 else 0.0
        _draw(ax, curve, layers, shift)
    layers.tick_below(ax)
    handles: list[Artist] = [curve.handle() for curve in curves]
    if counts:
        handles.append(Line2D([], [], linestyle="none", marker="|", markersize=8, color=MUTED, label=counts))
    if legend:
        above(ax, handles)


def _scale(ax: Axes, table: pd.DataFrame) -> None:
    """From a tenth below every value, or from 0 where most of the scale is used anyway, up to 1 and some headroom."""
    lowest = float(table["lowest"].astype(float).min())
    bottom = np.floor(10 * lowest - 1e-9) / 10 if lowest < 0 or lowest > 0.5 else 0.0
    headroom = 1.9 * SMALL_PT / (_LEAST * points_across(ax)[1])  # for the word "subsamples"
    low = min(float(bottom), 0.9)
    ax.set_ylim(low, 1 + (1 - low) * headroom)
    step = 0.2 if low < 0.5 else 0.1
    if low >= 0.8:
        step = 0.05 if low < 0.9 else 0.02
    ax.set_yticks(np.round(np.arange(np.ceil(low / step - 1e-9) * step, 1 + step / 2, step), 2))
    ax.set_xlabel("layer, in order of execution")


def _draw(ax: Axes, curve: _Curve, layers: LayerAxis, shift: float) -> None:
    style, rows = curve.style, curve.rows
    where = np.argsort(layers.positions(rows), kind="stable")
    x = layers.positions(rows)[where] + shift
    mean, lowest, highest = (rows[column].to_numpy(dtype=float)[where] for column in ("cka", "lowest", "highest"))
    size = float(np.clip(0.6 * points_across(ax)[0] / len(layers.places), 1.5, 3.5))
    ax.plot(
        x, mean, color=style.colour, linestyle=style.dash, marker=style.marker, markersize=size, label=style.label,
        markerfacecolor="white" if curve.reference else style.colour, linewidth=_THIN if curve.reference else None,
        zorder=2.5,
    )  # fmt: skip
    ax.vlines(x, lowest, highest, color=style.colour, linewidth=0.7, zorder=2.4)
