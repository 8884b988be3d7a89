"""In which way the symmetry breaks: energies of the non-trivial irreps, stacked layer by layer."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from eqviz.plots.inputs import accepted, kept, one_row_each
from eqviz.plots.irreps import breaking_irreps, meaning
from eqviz.plots.labels import Network, chosen
from eqviz.plots.layeraxis import LayerAxis
from eqviz.plots.legend import columns_that_fit
from eqviz.plots.theme import INK, MUTED, ONE_COLUMN_MM, TWO_COLUMN_MM, figure, theme

_NAME = "spectrum_summary"
_NOTHING = 1e-9
_FEW_LAYERS = 16
_TALLEST = 0.02  # the shared scale reaches at least this far

_FILLS = {
    "B": ("#56B4E9", ""),
    "E": ("#D55E00", "////"),
    "A2": ("#0072B2", ""),
    "B1": ("#56B4E9", "...."),
    "B2": ("#F0E442", "\\\\\\\\"),
}
_OTHER_FILLS = (("#009E73", "...."), ("#CC79A7", "xxxx"), ("#E69F00", "----"), ("#999999", ""), ("#0072B2", "++++"))


@theme()
def isotypic_spectrum(summary: pd.DataFrame, *, networks: Sequence[Network] | None = None) -> Figure:
    """Energy of each non-trivial irrep (fraction of the layer's energy), stacked, from `spectrum_summary`.

    One panel a network, layers in execution order, one shared linear scale. The symmetric part (A or A1) is not drawn:
    a bar's height is the breaking fraction. A network whose energies all lie below 1e-9 says so, with its largest.
    The legend tells what an irrep means for the symmetries that are left. Layers without energies (dead) are left out.

    Raises EqvizError for a table that lacks columns, rows or the symmetric part, or mixes epochs.

    >>> row = dict(model="p4cnn", input_size=29, group="C4", epoch=50, layer="conv1", call=0, depth=0, kind="conv")
    >>> row |= dict(data="mnist", regime="upright")
    >>> energies = {"A": 0.9, "B": 0.02, "E": 0.08}
    >>> rows = [dict(row, subsamples=False, irrep=r, energy=e, n_seeds=1) for r, e in energies.items()]
    >>> [ax.get_title(loc="left") for ax in isotypic_spectrum(pd.DataFrame(rows)).axes]
    ['P4 CNN, 29 px']
    """
    table = accepted(summary, _NAME)
    table = kept(table, table["energy"].notna(), _NAME, "a layer with energies")
    one_row_each(table, ["model", "input_size", "layer", "call", "irrep"], _NAME)
    styled = chosen(table, networks)
    held = [network.rows(table) for network in styled]
    breaking_irreps(table)
    columns = min(2, len(styled))
    rows = -(-len(styled) // columns)
    narrow = len(styled) == 1 and len(LayerAxis.of(table).places) <= _FEW_LAYERS
    made, panels = figure(ONE_COLUMN_MM if narrow else TWO_COLUMN_MM, 24 + 48 * rows, rows, columns, sharey=True)
    fills = _fills(table)
    tallest = max(_draw(ax, own, fills) for ax, own in zip(panels, held, strict=False))
    for ax, network in zip(panels, styled, strict=False):
        ax.set_title(network.label, loc="left", color=network.colour)
    for ax in panels[len(styled) :]:
        ax.set_axis_off()
    panels[0].set_ylim(0, 1.12 * max(tallest, _TALLEST))
    for ax in panels[::columns]:
        ax.set_ylabel("fraction of energy")
    _legend(made, table, fills)
    return made


def _draw(ax: Axes, rows: pd.DataFrame, fills: dict[str, tuple[str, str]]) -> float:
    """Stack one network's bars; returns the height of the tallest."""
    layers = LayerAxis.of(rows)
    layers.shade(ax)
    base = np.zeros(len(layers.places))
    largest = 0.0
    for irrep in breaking_irreps(rows):
        energy = _energies(rows[rows["irrep"].astype(str) == irrep], layers)
        colour, hatch = fills[irrep]
        ax.bar(
            np.arange(len(base)), energy, bottom=base, width=0.8, color=colour, hatch=hatch, edgecolor=INK,
            linewidth=0.4, label=irrep, zorder=2,
        )  # fmt: skip
        base += energy
        largest = max(largest, float(energy.max()))
    if largest < _NOTHING:
        _nothing(ax, largest)
    layers.tick_below(ax)
    return float(base.max())


def _energies(rows: pd.DataFrame, layers: LayerAxis) -> npt.NDArray[np.float64]:
    """One energy a layer, in execution order, 0 where there is none; rounding may leave it a hair below 0."""
    found = np.zeros(len(layers.places))
    found[layers.positions(rows)] = rows["energy"].to_numpy(dtype=float)
    return np.maximum(found, 0.0)


def _nothing(ax: Axes, largest: float) -> None:
    size = "every energy is exactly 0" if largest == 0 else f"largest energy {largest:.1e}"
    ax.text(
        0.5, 0.5, f"nothing breaks\n({size})", transform=ax.transAxes, ha="center", va="center", color=MUTED,
        bbox={"facecolor": "white", "linewidth": 0, "boxstyle": "square,pad=0.2"},
    )  # fmt: skip


def _fills(table: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Colour and hatch of each irrep; those of C2, C4, D1, D2 and D4 are the same in every figure."""
    others = iter(_OTHER_FILLS * 20)
    return {irrep: _FILLS.get(irrep) or next(others) for irrep in breaking_irreps(table)}


def _legend(made: Figure, table: pd.DataFrame, fills: dict[str, tuple[str, str]]) -> None:
    groups = [str(group) for group in table["group"].unique()]
    handles = []
    for irrep, (colour, hatch) in fills.items():
        told = {group: meaning(group, irrep) for group in groups}
        said = dict.fromkeys((f"{text} ({group})" if len(groups) > 1 else text) for group, text in told.items() if text)
        label = f"{irrep}: {'; '.join(said)}" if said else irrep
        handles.append(Patch(facecolor=colour, hatch=hatch, edgecolor=INK, linewidth=0.4, label=label))
    columns = columns_that_fit(handles, 72 * made.get_size_inches()[0])
    made.legend(handles=handles, loc="outside lower left", ncols=columns)
