"""What figures of the error by stage share: names of measures, scales, the rounding floor, and what is trained."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from eqviz.errors import EqvizError
from eqviz.plots.inputs import accepted, kept, one_row_each
from eqviz.plots.labels import Network, seeds_label
from eqviz.plots.theme import MUTED, PALE, STRIPE, decades

NAME = "stage_errors_summary"
MEASURE_LABELS = {
    "l1": "L1, summed over g",
    "relative_error": "relative error",
    "breaking_fraction": "breaking fraction",
    "relative_l1": "relative L1",
    "cosine": "cosine",
}
"""The measures of the table `stage_errors_summary` and what axes call them."""

UNTRAINED_DASH = (0, (2.5, 1.5))
STROKES = "x+1"
"""Markers that have no face to be left hollow."""

_DECADES = 2.0
_HEADROOM = 0.08


def stage_rows(summary: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """The rows of these measures in a table `stage_errors_summary`. Raises EqvizError where they are not there."""
    table = accepted(summary, NAME).astype({"measure": str, "epoch": int, "mask": bool})
    unknown = [measure for measure in measures if measure not in MEASURE_LABELS]
    if unknown or not measures:
        raise EqvizError(
            "measures", expected=f"among {', '.join(MEASURE_LABELS)}", found=", ".join(unknown) or "none",
            fix="choose some of these",
        )  # fmt: skip
    wanted = table["measure"].isin(list(measures)) & table["mean"].notna()
    table = kept(table, wanted, NAME, f"rows of {', '.join(measures)} with a value")
    one_row_each(table, ["model", "input_size", "epoch", "mask", "layer", "call", "measure"], NAME)
    return table


def scale_of(ax: Axes, rows: pd.DataFrame, measure: str) -> float:
    """Set the y axis for these rows of a measure, and give its lower end.

    Breaking fractions are on a log scale where they, or the rounding floor below them, span more than two decades;
    everything else starts at 0.
    """
    values = rows[["mean", "lowest", "highest", "floor"]].to_numpy(dtype=float)
    positive = values[values > 0]
    if measure == "breaking_fraction" and len(positive) and np.log10(positive.max() / positive.min()) > _DECADES:
        bottom = float(10.0 ** (np.floor(np.log10(positive.min())) - 1))
        ax.set_yscale("log")
        ax.set_ylim(bottom, bottom**-0.05)
        ax.set_yticks(decades(bottom, most=5))
        ax.yaxis.set_minor_locator(NullLocator())
        return bottom
    top = float(np.nanmax(values[:, :3]))
    lowest = min(0.0, float(np.nanmin(values[:, :3])))
    ax.set_ylim(lowest, lowest + (1 + _HEADROOM) * (top - lowest if top > lowest else 1.0))
    return lowest


def rounding_area(ax: Axes, floors: pd.Series, low: float, high: float, bottom: float) -> None:
    """A grey area up to the largest floor at every place along x; `floors` has the places as its index."""
    highest = floors.dropna().groupby(level=0).max().sort_index()
    if len(highest) == 0 or ax.get_yscale() != "log":
        return
    y = np.maximum(highest.to_numpy(dtype=float), bottom)
    x = np.concatenate([[low], highest.index.to_numpy(dtype=float), [high]])
    edges = np.concatenate([y[:1], y, y[-1:]])
    ax.fill_between(x, bottom, edges, color=PALE, linewidth=0, zorder=1, label="float32 rounding")


def markers(
    ax: Axes, network: Network, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], *, untrained: bool
) -> None:
    """The markers of a network: filled where it is trained, hollow where it is not."""
    hollow = untrained and network.marker in STROKES
    ax.plot(
        x, y, linestyle="none", markersize=4, clip_on=False, zorder=3.2 if untrained else 3,
        marker="o" if hollow else network.marker, markerfacecolor="white" if untrained else network.colour,
        markeredgecolor=network.colour, markeredgewidth=0.8,
        label=f"{network.label}: {'untrained' if untrained else 'trained'}",
    )  # fmt: skip


def explanations(table: pd.DataFrame, *, log: bool, dashed: bool) -> list[Artist]:
    """Legend entries for what is in the picture beside the networks."""
    found: list[Artist] = []
    if (table["epoch"] == 0).any():
        found.append(
            Line2D(
                [], [], color=MUTED, linestyle=UNTRAINED_DASH if dashed else "none", marker="o", markersize=4,
                markerfacecolor="white", markeredgewidth=0.8, label="untrained (epoch 0)",
            )
        )  # fmt: skip
    if (table["n_seeds"].astype(int) > 1).any():
        bar = Line2D([], [], linestyle="none", marker="|", markersize=8, color=MUTED)
        bar.set_label(f"range over {seeds_label(table['n_seeds'])}")
        found.append(bar)
    if table["subsamples"].fillna(False).astype(bool).any():
        found.append(Patch(facecolor=STRIPE, linewidth=0, label="subsamples"))
    if log and table["floor"].notna().any():
        found.append(Patch(facecolor=PALE, linewidth=0, label="float32 rounding"))
    return found
