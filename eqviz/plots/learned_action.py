"""How well learned maps predict the features of a moved image: the error of each kind of map, layer by layer."""

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
from eqviz.plots.legend import columns_that_fit
from eqviz.plots.styles import Dash
from eqviz.plots.theme import INK, MUTED, ONE_COLUMN_MM, SMALL_PT, STRIPE, TWO_COLUMN_MM, figure, points_across, theme

_NAME = "learned_action_summary"
_FEW_LAYERS = 16
_DODGE = 0.09  # between maps, in layers: on exact layers all but one lie at 0
_TALLEST = 1.05  # the shared scale reaches at least this far

_STYLES: dict[str, tuple[str, str, Dash, str]] = {
    "identity": ("#8C8C8C", "x", (0, (1.2, 1.2)), "nothing but pixels moves"),
    "declared": (INK, "o", "-", "declared field type"),
    "permutation": ("#E69F00", "^", (0, (5, 1.5)), "best permutation"),
    "orthogonal": ("#0072B2", "s", (0, (6, 1.5, 1.2, 1.5)), "best orthogonal map"),
    "ridge": ("#009E73", "D", (0, (3, 1)), "best linear map (ridge)"),
}


@theme()
def learned_action_by_layer(summary: pd.DataFrame, *, networks: Sequence[Network] | None = None) -> Figure:
    """Relative error of each kind of map on unseen images, by layer, one panel a network; `learned_action_summary`.

    A map predicts the channel vectors of g x from those of x. 0 means that it is how the group acts on the layer; 1 is
    as bad as predicting 0, and only a map that was not fitted can be worse. Lines are means over seeds, with a thin bar
    from the lowest to the highest. Markers of one layer stand side by side. Stripes mark the layers that subsample.
    Layers without an error (dead, or with more channels than were compared) are left out.

    Raises EqvizError for a table that lacks columns or rows, or mixes groups or epochs.

    >>> row = dict(model="p4cnn", input_size=28, group="C4", epoch=50, data="mnist", regime="upright", layer="conv1")
    >>> row |= dict(call=0, depth=0, kind="convolution", subsamples=False, training_error=0.0, dimension=8, n_seeds=1)
    >>> maps = [dict(row, map=m, error=e, lowest=e, highest=e) for m, e in (("identity", 1.1), ("ridge", 0.0))]
    >>> [ax.get_title(loc="left") for ax in learned_action_by_layer(pd.DataFrame(maps)).axes]
    ['P4 CNN, 28 px']
    """
    table = accepted(summary, _NAME)
    table = kept(table, table["error"].notna(), _NAME, "a layer with an error")
    one_row_each(table, ["model", "input_size", "layer", "call", "map"], _NAME)
    styled = chosen(table, networks)
    held = [network.rows(table) for network in styled]
    axes_of_layers = [LayerAxis.of(own) for own in held]
    deep = max(len(one.places) for one in axes_of_layers) > _FEW_LAYERS
    columns = 1 if deep or len(styled) == 1 else 2
    rows = -(-len(styled) // columns)
    narrow = len(styled) == 1 and not deep
    width, height = (ONE_COLUMN_MM, 85) if narrow else (TWO_COLUMN_MM, 16 + (66 if deep else 54) * rows)
    made, panels = figure(width, height, rows, columns, sharey=True)
    for ax, network, own, layers in zip(panels, styled, held, axes_of_layers, strict=False):
        layers.shade(ax, named=False)
        ax.axhline(1, color=MUTED, linewidth=0.6, zorder=1)
        for place, name in enumerate(_STYLES):
            part = own[own["map"].astype(str) == name].reset_index(drop=True)
            _draw(ax, name, part, layers, _DODGE * (place - (len(_STYLES) - 1) / 2))
        layers.tick_below(ax, 0.9 * points_across(ax)[0])
        ax.set_title(network.label, loc="left", color=network.colour)
    panels[0].set_ylim(0, 1.04 * max(_TALLEST, float(table["highest"].astype(float).max())))
    for ax in panels[len(styled) :]:
        ax.set_axis_off()
    for ax in panels[::columns][:rows]:
        ax.set_ylabel("relative error")
    _legend(made, table)
    return made


def _draw(ax: Axes, name: str, rows: pd.DataFrame, layers: LayerAxis, shift: float) -> None:
    if len(rows) == 0:
        return
    colour, marker, dash, _ = _STYLES[name]
    where = np.argsort(layers.positions(rows), kind="stable")
    x = layers.positions(rows)[where] + shift
    mean, lowest, highest = (rows[column].to_numpy(dtype=float)[where] for column in ("error", "lowest", "highest"))
    size = float(np.clip(0.35 * points_across(ax)[0] / len(layers.places), 1.5, 3.2))
    ax.plot(
        x, mean, color=colour, linestyle=dash, linewidth=0.9, marker=marker, markersize=size, label=name, clip_on=False,
        zorder=2.6 if name == "identity" else 2.5,  # where nothing else is declared the two lie on each other
    )  # fmt: skip
    ax.vlines(x, lowest, highest, color=colour, linewidth=0.7, zorder=2.4)


def _legend(made: Figure, table: pd.DataFrame) -> None:
    held = set(table["map"].astype(str))
    handles: list[Artist] = [
        Line2D([], [], color=colour, marker=marker, linestyle=dash, linewidth=0.9, label=said, markersize=3.2)
        for name, (colour, marker, dash, said) in _STYLES.items()
        if name in held
    ]
    handles.append(Line2D([], [], color=MUTED, linewidth=0.6, label="as bad as predicting 0"))
    if (table["n_seeds"].astype(int) > 1).any():
        bar = Line2D([], [], linestyle="none", marker="|", markersize=8, color=MUTED)
        bar.set_label(f"range over {seeds_label(table['n_seeds'])}")
        handles.append(bar)
    if table["subsamples"].fillna(False).astype(bool).any():
        handles.append(Patch(facecolor=STRIPE, linewidth=0, label="subsamples"))
    columns = columns_that_fit(handles, 0.95 * 72 * made.get_figwidth())
    made.legend(handles=handles, loc="outside lower left", ncols=columns, fontsize=SMALL_PT)
