"""Published means and their intervals, drawn behind our own at the angles where there are some."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.lines import Line2D
from matplotlib.projections.polar import PolarAxes

from eqviz.plots.inputs import accepted, one_row_each, single
from eqviz.plots.labels import Network, seeds_label
from eqviz.plots.theme import MUTED
from eqviz.tables import empty

_NAME = "published_comparison"
_PALE = 0.45  # of the way to white
_SIZE = 8.0
_STROKES = "x+1234"  # markers that have no face to be left hollow


def draw_published(ax: Axes, published: pd.DataFrame | None, styled: Sequence[Network]) -> list[Artist]:
    """Draw published means in % as pale hollow markers with their 95% intervals; the legend entry for them.

    Takes the table `published_comparison`, of one regime and data set; metrics that are no angle, and networks that
    have no style, are left out. Where numbers over different counts of seeds were published, those of which there are
    most are drawn, so that all angles rest on the same seeds. None, or a table without rows, draws nothing. On polar
    Axes angles run as the Axes do. Raises EqvizError for a table that lacks columns, or mixes regimes, groups or data.
    """
    rows = _at_angles(published)
    single(rows, ["group", "data", "regime", "epoch"], _NAME)
    one_row_each(rows, ["model", "input_size", "metric"], _NAME)
    for network in styled:
        own = network.rows(rows)
        if len(own):
            _draw(ax, network, own)
    return published_handles(published)


def published_handles(published: pd.DataFrame | None) -> list[Artist]:
    """The legend entry for published means, none where there are none."""
    rows = _at_angles(published)
    if len(rows) == 0:
        return []
    label = f"published ({seeds_label(rows['published_n_seeds'])})"
    handle = Line2D(
        [], [], linestyle="none", marker="o", markersize=_SIZE - 2, markerfacecolor="none", color=MUTED, label=label
    )
    return [handle]


def _at_angles(published: pd.DataFrame | None) -> pd.DataFrame:
    """The rows of single angles, over the number of seeds that most of them have."""
    if published is None or len(published) == 0:
        return empty(_NAME)
    rows = accepted(published, _NAME)
    rows = rows[rows["metric"].astype(str).str.endswith("°")]
    seeds = rows["published_n_seeds"].astype(int)
    return rows.loc[seeds == seeds.mode().max()]


def _draw(ax: Axes, network: Network, rows: pd.DataFrame) -> None:
    angle = rows["metric"].astype(str).str.removesuffix("°").to_numpy(dtype=float)
    mean, low, high = (100 * rows[f"published_{name}"].to_numpy(dtype=float) for name in ("mean", "low", "high"))
    red, green, blue = (part + _PALE * (1 - part) for part in to_rgb(network.colour))
    colour = to_hex((red, green, blue))
    marker = "o" if network.marker in _STROKES else network.marker
    ax.errorbar(
        np.deg2rad(angle) if isinstance(ax, PolarAxes) else angle, mean, [mean - low, high - mean], linestyle="none",
        marker=marker, markersize=_SIZE, markerfacecolor="none", markeredgewidth=0.9, color=colour, ecolor=colour,
        elinewidth=1.6, capsize=3.0, capthick=0.9, zorder=2.2, clip_on=False, label=f"{network.label}: published",
    )  # fmt: skip
