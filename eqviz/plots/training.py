"""How breaking and accuracy develop while a network learns: one panel a measure, epochs along x."""

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

from eqviz.plots.epochaxis import epoch_axis
from eqviz.plots.inputs import accepted, kept, one_row_each
from eqviz.plots.labels import Network, chosen, seeds_label
from eqviz.plots.legend import columns_that_fit
from eqviz.plots.theme import MUTED, PALE, SMALL_PT, TWO_COLUMN_MM, decades, figure, theme

Floats = npt.NDArray[np.float64]

_NAME = "training_summary"
_VALUES = ("mean", "lowest", "highest")
_STROKES = "x+1"  # markers that have no face to be left hollow
_BAND = 0.18
_LEGEND = 0.92  # of the width of the figure, the rest is the padding of the legend


@theme()
def breaking_over_training(summary: pd.DataFrame, *, networks: Sequence[Network] | None = None) -> Figure:
    """Breaking and accuracy over the epochs of training, one line a network and one panel a measure.

    Takes the table `training_summary`. Lines are means over seeds, bands reach from the lowest to the highest seed.
    Epochs stand at their square roots, because most happens early; the hollow marker at epoch 0 is the untrained
    network. Breaking fractions are on a log scale, above a grey area that reaches up to what float32 rounding alone
    gives; one of exactly 0 stands at the lower edge. Accuracies are in %.

    Raises EqvizError for a table that lacks columns or rows, or mixes groups, data or regimes.

    >>> row = dict(model="p4cnn", input_size=15, group="C4", data="digits", regime="upright", n_seeds=1)
    >>> row |= dict(measure="accuracy at 0 degrees", floor=float("nan"))
    >>> rows = [dict(row, epoch=epoch, mean=a, lowest=a, highest=a) for epoch, a in ((0, 0.1), (4, 0.9))]
    >>> breaking_over_training(pd.DataFrame(rows)).axes[0].get_title(loc="left")
    'accuracy at 0 degrees (%)'
    """
    table = accepted(summary, _NAME).astype({"measure": str, "epoch": int})
    table = kept(table, table["mean"].notna(), _NAME, "a measure with a value")
    one_row_each(table, ["model", "input_size", "epoch", "measure"], _NAME)
    measures = sorted(dict.fromkeys(table["measure"]), key=lambda measure: not _breaking(measure))
    columns = min(2, len(measures))
    rows = -(-len(measures) // columns)
    made, panels = figure(TWO_COLUMN_MM, 12 + 48 * rows, rows, columns)
    styled = chosen(table, networks)
    for ax, measure in zip(panels, measures, strict=False):
        _panel(ax, table[table["measure"] == measure], measure, styled)
    for ax in panels[len(measures) :]:
        ax.set_axis_off()
    for ax in panels[max(0, len(measures) - columns) : len(measures)]:
        ax.set_xlabel("epoch")
    handles = [*(network.handle() for network in styled), *_explanations(table)]
    columns = columns_that_fit(handles, _LEGEND * 72 * made.get_figwidth())
    made.legend(handles=handles, loc="outside upper left", ncols=columns, fontsize=SMALL_PT)
    return made


def _breaking(measure: str) -> bool:
    return measure.startswith("breaking")


def _panel(ax: Axes, rows: pd.DataFrame, measure: str, styled: Sequence[Network]) -> None:
    breaking = _breaking(measure)
    bottom = _lower_limit(rows) if breaking else 0.0
    epoch_axis(ax, rows["epoch"])
    if breaking:
        ax.set_yscale("log")
        ax.set_ylim(bottom, bottom**-0.04)
        ax.set_yticks(decades(bottom, most=5))
        ax.yaxis.set_minor_locator(NullLocator())
        _rounding(ax, rows, bottom)
    else:
        ax.set_ylim(0, 103)
        ax.set_yticks([0, 25, 50, 75, 100])
    for network in styled:
        _draw(ax, network, network.rows(rows), bottom, 1.0 if breaking else 100.0)
    ax.set_title(measure if breaking else f"{measure} (%)", loc="left")


def _lower_limit(rows: pd.DataFrame) -> float:
    values = rows[["mean", "lowest", "floor"]].to_numpy(dtype=float)
    positive = values[values > 0]
    return float(10.0 ** (np.floor(np.log10(positive.min())) - 1)) if len(positive) else 1e-16


def _rounding(ax: Axes, rows: pd.DataFrame, bottom: float) -> None:
    highest = rows.dropna(subset=["floor"]).groupby("epoch")["floor"].max().sort_index()
    if len(highest) == 0:
        return
    low, high = ax.get_xlim()
    x = np.concatenate([[low], highest.index.to_numpy(dtype=float), [high]])
    y = highest.to_numpy(dtype=float)
    edges = np.maximum(np.concatenate([y[:1], y, y[-1:]]), bottom)
    ax.fill_between(x, bottom, edges, color=PALE, linewidth=0, zorder=1, label="float32 rounding")


def _draw(ax: Axes, network: Network, rows: pd.DataFrame, bottom: float, scale: float) -> None:
    if len(rows) == 0:
        return
    own = rows.sort_values("epoch")
    x = own["epoch"].to_numpy(dtype=float)
    mean, lowest, highest = (np.maximum(scale * own[name].to_numpy(dtype=float), bottom) for name in _VALUES)
    ax.plot(x, mean, color=network.colour, linestyle=network.dash, label=network.label, zorder=2.5)
    ax.fill_between(x, lowest, highest, color=network.colour, alpha=_BAND, linewidth=0, zorder=2)
    for fill, some in ((network.colour, x > 0), ("white", x == 0)):
        if some.any():
            ax.plot(
                x[some], mean[some], linestyle="none", markersize=4, clip_on=False, markerfacecolor=fill,
                marker="o" if fill == "white" and network.marker in _STROKES else network.marker,
                markeredgecolor=network.colour, markeredgewidth=0.8, zorder=3,
                label=f"{network.label}: {'epochs' if fill != 'white' else 'untrained'}",
            )  # fmt: skip


def _explanations(table: pd.DataFrame) -> list[Artist]:
    found: list[Artist] = []
    if table["floor"].notna().any():
        found.append(Patch(facecolor=PALE, linewidth=0, label="float32 rounding"))
    if (table["n_seeds"].astype(int) > 1).any():
        shade = Patch(facecolor=MUTED, alpha=0.35, linewidth=0, label=f"range over {seeds_label(table['n_seeds'])}")
        found.append(shade)
    if (table["epoch"] == 0).any():
        found.append(
            Line2D([], [], linestyle="none", marker="o", markerfacecolor="white", color=MUTED, label="untrained")
        )
    return found
