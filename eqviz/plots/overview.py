"""Upright and rotated accuracy side by side: a table whose cells show a dot, its interval and the number."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eqviz.plots.inputs import accepted, one_row_each
from eqviz.plots.labels import Network, chosen, seeds_label
from eqviz.plots.theme import MUTED, PALE, SMALL_PT, TWO_COLUMN_MM, figure, theme

_NAME = "accuracy_overview"
_NUMBER_AT, _CELL = 110.0, 175.0  # in %: the strip from 0 to 100 takes the left of a cell, the number its right


@theme()
def accuracy_overview(overview: pd.DataFrame, *, networks: Sequence[Network] | None = None) -> Figure:
    """One row a network, one column a metric: mean accuracy in % as dot and number, its interval as a pale bar.

    Takes the table `accuracy_overview`; columns come in the table's order (0°, 90°, ..., means over angles). Rows
    without `low` and `high` (one seed) have no bar. A cell without a row in the table stays empty.

    Raises EqvizError for a table that lacks columns or rows, or mixes groups or epochs.

    >>> row = dict(model="p4cnn", input_size=28, group="C4", epoch=50, std=0.01, low=0.96, high=0.99, n_seeds=10)
    >>> row |= dict(data="mnist", regime="upright")
    >>> table = pd.DataFrame([dict(row, metric=m, mean=0.976, interval="95% t") for m in ("0°", "90°")])
    >>> [ax.get_title(loc="left") for ax in accuracy_overview(table).axes]
    ['0°', '90°']
    """
    table = accepted(overview, _NAME)
    one_row_each(table, ["model", "input_size", "metric"], _NAME)
    styled = chosen(table, networks)
    metrics = [str(metric) for metric in table["metric"].unique()]
    made, axes = figure(TWO_COLUMN_MM, 20 + 7 * len(styled), 1, len(metrics), sharey=True)
    for ax, metric in zip(axes, metrics, strict=True):
        cells = table[table["metric"].astype(str) == metric]
        for place, network in enumerate(styled):
            _cell(ax, place, network, network.rows(cells))
        _rule(ax, metric, len(styled))
    axes[0].set_yticks(range(len(styled)), [network.label for network in styled], fontsize=SMALL_PT)
    axes[0].set_ylim(len(styled) - 0.4, -0.6)
    made.supxlabel(_caption(table), fontsize=SMALL_PT, color=MUTED)
    return made


def _cell(ax: Axes, place: int, network: Network, row: pd.DataFrame) -> None:
    if len(row) == 0:
        return
    mean, low, high = (100 * float(row.iloc[0][column]) for column in ("mean", "low", "high"))
    ax.plot([mean], [place], linestyle="none", marker=network.marker, color=network.colour, markersize=3.5)
    if low == low and high == high:  # not NaN
        ax.hlines(place, low, high, color=network.colour, linewidth=3.5, alpha=0.4)
    ax.text(_NUMBER_AT, place, f"{mean:.1f}", ha="left", va="center", fontsize=SMALL_PT)


def _rule(ax: Axes, metric: str, rows: int) -> None:
    ax.set_title(_two_lines(metric), loc="left", fontsize=SMALL_PT)
    ax.set_xlim(-4, _CELL)
    ax.set_xticks([0, 50, 100])
    for place in range(rows):
        ax.hlines(place, 0, 100, color=PALE, linewidth=0.5, zorder=0.5)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.spines["bottom"].set_bounds(0, 100)


def _two_lines(metric: str) -> str:
    """A long name broken after the word nearest to its middle."""
    words = metric.split(" ")
    if len(metric) <= 9:
        return metric
    lines = ["\n".join((" ".join(words[:n]), " ".join(words[n:]))) for n in range(1, len(words))]
    return min(lines, key=lambda line: max(map(len, line.split("\n"))), default=metric)


def _caption(table: pd.DataFrame) -> str:
    drawn = table[table["low"].notna() & table["high"].notna()]
    text = f"accuracy (%), mean over {seeds_label(table['n_seeds'])}"
    if len(drawn) == 0:
        return text
    return f"{text}; bars: {' or '.join(str(name) for name in drawn['interval'].unique())}"
