"""Benchmarks as dots: accuracy upright and rotated of every network, grouped by data set and regime."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from eqviz.plots.inputs import accepted, kept, one_row_each
from eqviz.plots.labels import Network, chosen, seeds_label
from eqviz.plots.legend import columns_that_fit
from eqviz.plots.panels import lettered, trained_on
from eqviz.plots.stage_measures import STROKES
from eqviz.plots.theme import INK, MUTED, PALE, SMALL_PT, TWO_COLUMN_MM, Number, figure, theme

_NAME = "benchmarks"
_IN_A_ROW = 3
_HALF_BAR = 0.16  # between the interval of the filled and that of the open marker, in rows
_KINDS = {"accuracy_upright": "upright", "accuracy_rotated": "rotated", "accuracy_reflected": "reflected"}


@theme()
def benchmarks(table: pd.DataFrame, *, networks: Sequence[Network] | None = None) -> Figure:
    """Accuracy in % of every network, from the table `benchmarks`: one panel a data set and regime, one row a network.

    The filled marker is the accuracy on upright images, the open one the mean over the four quarter turns, an upright
    stroke that of mirrored images (networks measured under D4); the line between them is what turning costs. Thin bars
    are the intervals over seeds, where the table has them. Names of networks measured exact are bold.

    Raises EqvizError for a table that lacks columns or rows, or holds several epochs.

    >>> row = dict(model="p4cnn", input_size=16, group="C4", epoch=9, data="digits", regime="upright", exact="yes")
    >>> row |= dict(parameters=100, n_seeds=3, interval="95% t interval over seeds", accuracy_upright=0.9)
    >>> row |= dict(upright_low=0.8, upright_high=1.0, accuracy_rotated=0.7, rotated_low=0.6, rotated_high=0.8)
    >>> row |= dict(accuracy_reflected=float("nan"), reflected_low=float("nan"), reflected_high=float("nan"))
    >>> made = benchmarks(pd.DataFrame([row]))
    >>> [label.get_text() for label in made.axes[0].get_yticklabels()]
    ['P4 CNN, 16 px']
    """
    rows = accepted(table, _NAME)
    rows = kept(rows, rows["accuracy_upright"].notna(), _NAME, "an accuracy on upright images")
    one_row_each(rows, ["model", "input_size", "data", "regime"], _NAME)
    sets = list(dict.fromkeys(zip(rows["data"], rows["regime"], strict=True)))
    styled = chosen(rows, networks)
    regimes = len({regime for _, regime in sets})
    columns = regimes if 1 < regimes <= _IN_A_ROW else min(_IN_A_ROW, len(sets))
    deep = -(-len(sets) // columns)
    made, panels = figure(TWO_COLUMN_MM, 13 + deep * (17 + 5.5 * len(styled)), deep, columns, sharey=True, sharex=True)
    titles = trained_on(panels[0], sets)
    for place, (ax, (data, regime)) in enumerate(zip(panels, sets, strict=False)):
        own = rows[(rows["data"] == data) & (rows["regime"] == regime)]
        for row, network in enumerate(styled):
            _row(ax, row, network, network.rows(own))
        lettered(ax, place, titles[data, regime])
        if place >= len(sets) - columns:
            ax.set_xlabel("accuracy (%)")
            ax.tick_params(labelbottom=True)
    for ax in panels[len(sets) :]:
        ax.set_axis_off()
    _names(panels[: len(sets)], columns, styled, rows)
    handles = _explanations(rows)
    across = columns_that_fit(handles, 0.94 * 72 * made.get_figwidth())
    made.legend(handles=handles, loc="outside upper left", ncols=across, fontsize=SMALL_PT)
    return made


def _row(ax: Axes, y: int, network: Network, rows: pd.DataFrame) -> None:
    if len(rows) == 0:
        return
    row = rows.iloc[0]
    at = {name: 100 * float(row[f"accuracy_{name}"]) for name in _KINDS.values()}
    known = [value for value in at.values() if value == value]  # not NaN
    ax.hlines(y, min(known), max(known), color=network.colour, linewidth=1.0, alpha=0.6, zorder=2)
    for name, shift in (("upright", -_HALF_BAR), ("rotated", _HALF_BAR)):
        low, high = 100 * float(row[f"{name}_low"]), 100 * float(row[f"{name}_high"])
        if low == low:
            ax.hlines(y + shift, low, high, color=network.colour, linewidth=0.8, zorder=2.2)
    stroke = network.marker in STROKES
    for name, face, size in (("rotated", "white", 6.5), ("upright", network.colour, 3.8)):  # one shows within the other
        open_stroke = stroke and name == "rotated"
        ax.plot(
            [at[name]], [y], linestyle="none", markersize=size, clip_on=False, markerfacecolor=face,
            marker="o" if open_stroke else network.marker, markeredgecolor=network.colour, markeredgewidth=0.9,
            zorder=3 if name == "rotated" else 3.2, label=f"{network.label}: {name}",
        )  # fmt: skip
    if at["reflected"] == at["reflected"]:
        ax.plot(
            [at["reflected"]], [y], linestyle="none", marker="|", markersize=9, color=INK, zorder=4,
            label=f"{network.label}: reflected",
        )  # fmt: skip


def _names(panels: Sequence[Axes], columns: int, styled: Sequence[Network], rows: pd.DataFrame) -> None:
    accuracies = rows[["accuracy_upright", "accuracy_rotated", "accuracy_reflected", "upright_low", "rotated_low"]]
    lowest = 10 * (10 * float(accuracies.min().min()) // 1)
    for ax in panels:
        ax.set_xlim(min(lowest, 90), 101)
        ax.tick_params(axis="y", length=0)
        for place in range(len(styled)):
            ax.axhline(place, color=PALE, linewidth=0.5, zorder=0.5)
    panels[0].set_ylim(len(styled) - 0.4, -0.6)
    for ax in panels[::columns]:
        ax.set_yticks(range(len(styled)), [network.label for network in styled], fontsize=SMALL_PT)
        for text, network in zip(ax.get_yticklabels(), styled, strict=True):
            text.set_color(network.colour)
            if set(network.rows(rows)["exact"].astype(str)) == {"yes"}:
                text.set_fontweight("bold")


def _explanations(rows: pd.DataFrame) -> list[Artist]:
    def marker(label: str, shape: str, face: str, size: Number) -> Line2D:
        return Line2D([], [], linestyle="none", marker=shape, markersize=size, color=MUTED, markerfacecolor=face,
                      markeredgewidth=0.9, label=label)  # fmt: skip

    found: list[Artist] = [marker("tested upright", "o", MUTED, 3.8)]
    if rows["accuracy_rotated"].notna().any():
        found.append(marker("mean of the quarter turns", "o", "white", 6.5))
    if rows["accuracy_reflected"].notna().any():
        found.append(marker("mirrored, mean of the quarter turns", "|", MUTED, 9))
    drawn = rows[rows["upright_low"].notna()]
    if len(drawn):
        names = " or ".join(dict.fromkeys(str(name) for name in drawn["interval"]))
        found.append(Line2D([], [], color=MUTED, linewidth=0.8, label=f"{names}, {seeds_label(drawn['n_seeds'])}"))
    if (rows["exact"] == "yes").any():
        found.append(Line2D([], [], linestyle="none", label="bold: exact"))
    return found
