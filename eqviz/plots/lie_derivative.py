"""How fast each layer leaves equivariance as the picture begins to turn, shift or grow: a panel a transformation."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from eqviz.plots.inputs import accepted, kept, one_row_each
from eqviz.plots.labels import Network, chosen, seeds_label
from eqviz.plots.layeraxis import LayerAxis
from eqviz.plots.legend import across
from eqviz.plots.theme import MUTED, ONE_COLUMN_MM, PALE, TWO_COLUMN_MM, figure, points_across, theme

_NAME = "lie_derivative_summary"
_DODGE = 0.12  # between networks, in layers, so that their ranges stay apart
_HEADROOM = 1.18  # above the highest value, for the word "subsamples"
_FEW_LAYERS = 16


@theme()
def lie_derivative_by_layer(
    summary: pd.DataFrame, *, networks: Sequence[Network] | None = None, local: bool = False
) -> Figure:
    """Local equivariance error of each layer (relative to its features, by unit of the transformation, linear scale).

    From `lie_derivative_summary`: one panel a transformation, layers in execution order, one line a network: the mean
    over seeds of `lie_error`, with a thin bar from the lowest to the highest seed. With `local`, of `local_error`: what
    each layer does by itself; layers for which it is not known are left out. The grey area reaches up to the floor, the
    largest over networks: by how much coarser spatial derivatives would change the error. Stripes mark the layers that
    subsample. Layers without a value (dead) are left out.

    Raises EqvizError for a table that lacks columns or rows, or mixes groups or epochs.

    >>> row = dict(model="p4cnn", input_size=29, group="C4", epoch=50, call=0, kind="convolution", n_seeds=1)
    >>> row |= dict(data="mnist", regime="upright", transformation="rotation", unit="radian", subsamples=False)
    >>> row |= dict.fromkeys(("lie_error", "lowest", "highest", "change", "expected"), 0.5) | dict(floor=0.1)
    >>> row |= dict.fromkeys(("local_error", "local_lowest", "local_highest"), 0.2) | dict(local_floor=0.1)
    >>> row |= dict(edge_share=0.3, edge_pixels=0.2)
    >>> layers = [dict(layer="conv1", depth=0), dict(layer="conv2", depth=1)]
    >>> made = lie_derivative_by_layer(pd.DataFrame([row | layer for layer in layers]))
    >>> [(ax.get_title(loc="left"), ax.get_ylabel()) for ax in made.axes]
    [('rotation', 'error per radian')]
    """
    value, low, high, floor = ("local_error", "local_lowest", "local_highest", "local_floor") if local else (
        "lie_error", "lowest", "highest", "floor"
    )  # fmt: skip
    table = accepted(summary, _NAME)
    table = kept(table, table[value].notna(), _NAME, f"a layer with a {value.replace('_', ' ')}")
    one_row_each(table, ["model", "input_size", "layer", "call", "transformation"], _NAME)
    drawn = table.assign(value=table[value], low=table[low], high=table[high], floor=table[floor])
    layers, styled = LayerAxis.of(drawn), chosen(drawn, networks)
    names = list(dict.fromkeys(drawn["transformation"].astype(str)))
    made, panels = _panels(len(names), len(layers.places))
    for ax, name in zip(panels, names, strict=False):
        _panel(ax, name, drawn[drawn["transformation"].astype(str) == name], layers, styled, local)
    for ax in panels[len(names) :]:
        ax.set_axis_off()
    _name_layers(panels, len(names), layers)
    across(made, styled, _explanations(drawn))
    return made


def _panels(count: int, layers: int) -> tuple[Figure, list[Axes]]:
    columns = _columns(count)
    rows = -(-count // columns)
    width = ONE_COLUMN_MM if count == 1 and layers <= _FEW_LAYERS else TWO_COLUMN_MM
    return figure(width, 32 + 44 * rows, rows, columns, sharex=True)


def _columns(count: int) -> int:
    return 2 if count > 3 else count


def _panel(
    ax: Axes, name: str, rows: pd.DataFrame, layers: LayerAxis, networks: Sequence[Network], local: bool
) -> None:
    layers.shade(ax)
    highest = rows.assign(place=layers.positions(rows)).groupby("place")["floor"].max().dropna().astype(float)
    if len(highest):
        x, y = highest.index.to_numpy(dtype=float), highest.to_numpy()
        edges = np.concatenate([[x[0] - 0.6], x, [x[-1] + 0.6]])
        ax.fill_between(edges, 0, np.concatenate([y[:1], y, y[-1:]]), color=PALE, linewidth=0, zorder=1, label="floor")
    for place, network in enumerate(networks):
        shift = _DODGE * (place - (len(networks) - 1) / 2) if len(networks) < 7 else 0.0
        _draw(ax, network, network.rows(rows), layers, shift)
    ax.set_title(name, loc="left")
    ax.set_ylabel(f"{'local error' if local else 'error'} per {rows['unit'].iloc[0].replace('log', 'unit of log')}")
    top = float(np.nanmax(rows[["high", "floor"]].to_numpy(dtype=float)))
    ax.set_ylim(0, _HEADROOM * top if top > 0 else 1.0)


def _draw(ax: Axes, network: Network, rows: pd.DataFrame, layers: LayerAxis, shift: float) -> None:
    where = np.argsort(layers.positions(rows), kind="stable")
    x = layers.positions(rows)[where] + shift
    value, low, high = (rows[column].to_numpy(dtype=float)[where] for column in ("value", "low", "high"))
    size = np.clip(0.6 * points_across(ax)[0] / len(layers.places), 1.5, 3.5)
    ax.plot(
        x, value, color=network.colour, linestyle=network.dash, marker=network.marker, markersize=size,
        label=network.label, zorder=2.5, clip_on=False,
    )  # fmt: skip
    ax.vlines(x, low, high, color=network.colour, linewidth=0.7, zorder=2.4)


def _name_layers(panels: Sequence[Axes], count: int, layers: LayerAxis) -> None:
    """Names under the lowest panel of each column only."""
    for place, ax in enumerate(panels[:count]):
        layers.tick_below(ax)
        lowest = place + _columns(count) >= count
        ax.tick_params(labelbottom=lowest)
        if lowest:
            ax.set_xlabel("layer, in order of execution")


def _explanations(table: pd.DataFrame) -> list[Artist]:
    """Legend entries for what is in this picture beside the networks."""
    found: list[Artist] = []
    if table["floor"].notna().any():
        found.append(Patch(facecolor=PALE, linewidth=0, label="floor: derivatives of order 2 for 4"))
    if (table["n_seeds"].astype(int) > 1).any():
        bar = Line2D([], [], linestyle="none", marker="|", markersize=8, color=MUTED)
        bar.set_label(f"range over {seeds_label(table['n_seeds'])}")
        found.append(bar)
    return found
