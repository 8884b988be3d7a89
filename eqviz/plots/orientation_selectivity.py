"""How orientation-selective each layer is: what its fibres hold of every irrep. This is content, not breaking."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from eqviz.plots.inputs import accepted, kept, one_row_each
from eqviz.plots.irreps import TRIVIAL, breaking_irreps
from eqviz.plots.labels import Network, chosen, seeds_label
from eqviz.plots.layeraxis import LayerAxis
from eqviz.plots.legend import columns_that_fit
from eqviz.plots.theme import INK, ONE_COLUMN_MM, PALE, SMALL_PT, TWO_COLUMN_MM, figure, theme

Fill = tuple[str, str]

_NAME = "orientation_selectivity_summary"
_FEW_LAYERS = 16

# other colours than those of the spectrum of what breaks
_FILLS = {
    "B": ("#CC79A7", ""),
    "E": ("#009E73", "////"),
    "A2": ("#E69F00", "xxxx"),
    "B1": ("#CC79A7", ""),
    "B2": ("#8E5A9B", "...."),
}
_OTHER_FILLS = (("#56B4E9", "----"), ("#F0E442", "\\\\\\\\"), ("#999999", "++++"), ("#0072B2", ""))

_CONTENT: dict[str, dict[str, str]] = {
    "C2": {"B": "opposite after 180°"},
    "C4": {"B": "opposite after 90°, same after 180°", "E": "opposite after 180°"},
    "D1": {"A2": "opposite after the reflection"},
    "D2": {
        "A2": "same after 180°, opposite after reflections",
        "B1": "opposite after 180°, same after the group's first reflection",
        "B2": "opposite after 180°, same after the group's second reflection",
    },
    "D4": {
        "A2": "same after rotations, opposite after reflections",
        "B1": "opposite after 90°, same after axis flips",
        "B2": "opposite after 90°, same after diagonal flips",
        "E": "opposite after 180°",
    },
}
_SAME_GROUP = {"p4": "C4", "p4m": "D4"}


@theme()
def selectivity_by_layer(summary: pd.DataFrame, *, networks: Sequence[Network] | None = None) -> Figure:
    """Fibre energy of each irrep (fraction of the layer's), stacked, from `orientation_selectivity_summary`.

    One panel a network, layers in execution order. The grey part on top is isotropic, the same in every orientation;
    the height of the rest is the orientation selectivity, with a thin bar from the lowest to the highest seed. An
    exactly equivariant layer may hold any share: nothing here is broken symmetry. The legend tells how the answer of a
    filter in one orientation compares with that in another. Layers without a group axis are not in the table, dead
    ones are left out.

    Raises EqvizError for a table that lacks columns, rows or the isotropic part, or mixes groups or epochs.

    >>> row = dict(model="p4cnn", input_size=29, group="C4", epoch=50, layer="conv1", call=0, depth=0, kind="conv")
    >>> row |= dict(data="mnist", regime="upright", subsamples=False, n_seeds=1)
    >>> shares = {"A": 0.3, "B": 0.1, "E": 0.6}
    >>> rows = [dict(row, irrep=r, energy=e, lowest=e, highest=e) for r, e in shares.items()]
    >>> [ax.get_ylabel() for ax in selectivity_by_layer(pd.DataFrame(rows)).axes]
    ['share of fibre energy']
    """
    table = accepted(summary, _NAME)
    table = kept(table, table["energy"].notna(), _NAME, "a layer with fibre energies")
    one_row_each(table, ["model", "input_size", "layer", "call", "irrep"], _NAME)
    fills = _fills(table)
    styled = chosen(table, networks)
    columns = min(2, len(styled))
    rows = -(-len(styled) // columns)
    narrow = len(styled) == 1 and len(LayerAxis.of(table).places) <= _FEW_LAYERS
    made, panels = figure(ONE_COLUMN_MM if narrow else TWO_COLUMN_MM, 26 + 48 * rows, rows, columns, sharey=True)
    for ax, network in zip(panels, styled, strict=False):
        _draw(ax, network.rows(table), fills)
        ax.set_title(network.label, loc="left", color=network.colour)
    for ax in panels[len(styled) :]:
        ax.set_axis_off()
    panels[0].set_ylim(0, 1)
    for ax in panels[::columns]:
        ax.set_ylabel("share of fibre energy")
    _legend(made, table, fills)
    return made


def _draw(ax: Axes, rows: pd.DataFrame, fills: dict[str, Fill]) -> None:
    """Stack one network's bars: what tells orientations apart from below, what does not on top of it."""
    layers = LayerAxis.of(rows)
    places = np.arange(len(layers.places))
    base = np.zeros(len(places))
    for irrep, (colour, hatch) in fills.items():
        energy = _column(rows, irrep, "energy", layers)
        ax.bar(
            places, energy, bottom=base, width=0.8, color=colour, hatch=hatch, edgecolor=INK, linewidth=0.4,
            label=irrep, zorder=2,
        )  # fmt: skip
        base += energy
    if (rows["n_seeds"].astype(int) > 1).any():
        isotropic = _isotropic(rows)
        low, high = (1 - _column(rows, isotropic, column, layers) for column in ("highest", "lowest"))
        ax.vlines(places, low, high, color=INK, linewidth=1.1, zorder=3)
    layers.tick_below(ax)


def _column(rows: pd.DataFrame, irrep: str, column: str, layers: LayerAxis) -> npt.NDArray[np.float64]:
    """One value a layer, in execution order, 0 where there is none."""
    own = rows[rows["irrep"].astype(str) == irrep]
    found = np.zeros(len(layers.places))
    found[layers.positions(own)] = own[column].to_numpy(dtype=float)
    return found


def _isotropic(table: pd.DataFrame) -> str:
    names = {str(name) for name in table["irrep"]}
    return next(name for name in TRIVIAL if name in names)


def _fills(table: pd.DataFrame) -> dict[str, Fill]:
    """Colour and hatch of each irrep, the isotropic one last."""
    others = iter(_OTHER_FILLS * 20)
    selective = {irrep: _FILLS.get(irrep) or next(others) for irrep in breaking_irreps(table)}
    return {**selective, _isotropic(table): (PALE, "")}


def _legend(made: Figure, table: pd.DataFrame, fills: dict[str, Fill]) -> None:
    groups = [str(group).split("(")[0] for group in table["group"].unique()]
    content = _CONTENT.get(_SAME_GROUP.get(groups[0], groups[0]), {}) if len(groups) == 1 else {}
    isotropic = _isotropic(table)
    handles: list[Artist] = []
    for irrep, (colour, hatch) in fills.items():
        told = "isotropic, same in every orientation" if irrep == isotropic else content.get(irrep, "")
        label = f"{irrep}: {told}" if told else irrep
        handles.append(Patch(facecolor=colour, hatch=hatch, edgecolor=INK, linewidth=0.4, label=label))
    if (table["n_seeds"].astype(int) > 1).any():
        bar = Line2D([], [], linestyle="none", marker="|", markersize=8, color=INK)
        bar.set_label(f"selectivity (1 - {isotropic}), range over {seeds_label(table['n_seeds'])}")
        handles.append(bar)
    columns = columns_that_fit(handles, 0.95 * 72 * made.get_figwidth())
    made.legend(handles=handles, loc="outside lower left", ncols=columns, fontsize=SMALL_PT)
