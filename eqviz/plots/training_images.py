"""What more training images bring: accuracy upright and rotated over their number, one line a network."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from eqviz.plots.inputs import accepted, kept, one_row_each
from eqviz.plots.labels import Network, chosen, seeds_label
from eqviz.plots.legend import columns_that_fit
from eqviz.plots.panels import in_lines, lettered, trained_on
from eqviz.plots.theme import MUTED, SMALL_PT, TWO_COLUMN_MM, figure, points_across, text_width, theme

_NAME = "accuracy_by_images"
_METRICS = {
    "upright": "upright", "rotated": "at the quarter turns, mean", "reflected": "mirrored at the quarter turns, mean",
}  # fmt: skip
_BAND = 0.18
_MARGIN = 1.15  # of the numbers at both ends, on the log axis


@theme()
def accuracy_by_training_images(by_images: pd.DataFrame, *, networks: Sequence[Network] | None = None) -> Figure:
    """Accuracy in % over the number of training images (log axis), from the table `accuracy_by_images`.

    One row of panels for every data set and regime, one panel a metric: upright, the mean of the four quarter turns,
    and the same of mirrored images where the table has it. Lines are means over seeds, bands run from `low` to `high`
    where the table has them. Rows that do not say how many images there were are left out.

    Raises EqvizError for a table that lacks columns or rows, or mixes groups or epochs.

    >>> row = dict(model="p4cnn", input_size=16, group="C4", epoch=9, data="digits", regime="upright", metric="upright")
    >>> row |= dict(mean=0.9, std=0.1, low=0.8, high=1.0, n_seeds=3, interval="95% t interval over seeds")
    >>> made = accuracy_by_training_images(pd.DataFrame([dict(row, train_images=n) for n in (100, 1000)]))
    >>> made.axes[0].get_xscale(), [label.get_text() for label in made.axes[0].get_xticklabels()]
    ('log', ['100', '1,000'])
    """
    table = accepted(by_images, _NAME)
    table = kept(table, table["train_images"].notna() & table["mean"].notna(), _NAME, "a number of training images")
    table = table.astype({"train_images": int, "metric": str})
    one_row_each(table, ["model", "input_size", "data", "regime", "train_images", "metric"], _NAME)
    sets = list(dict.fromkeys(zip(table["data"], table["regime"], strict=True)))
    metrics = [metric for metric in _METRICS if (table["metric"] == metric).any()]
    styled = chosen(table, networks)
    made, panels = figure(TWO_COLUMN_MM, 16 + (48 if len(sets) == 1 else 55) * len(sets), len(sets), len(metrics))
    titles = trained_on(panels[0], sets)
    for place, ax in enumerate(panels):
        (data, regime), metric = sets[place // len(metrics)], metrics[place % len(metrics)]
        shown = table[(table["data"] == data) & (table["regime"] == regime)]
        _axes(ax, sorted(set(shown["train_images"])))
        for network in styled:
            _draw(ax, network, network.rows(shown[shown["metric"] == metric]))
        several = "" if len(sets) == 1 else f"{titles[data, regime]}\n"
        lettered(ax, place, f"{several}{in_lines(ax, f'tested {_METRICS[metric]}')}")
        if place % len(metrics) == 0:
            ax.set_ylabel("accuracy (%)")
        if place >= len(panels) - len(metrics):
            ax.set_xlabel("training images")
    handles: list[Artist] = [*(network.handle() for network in styled), *_bands(table)]
    columns = columns_that_fit(handles, 0.94 * 72 * made.get_figwidth())
    made.legend(handles=handles, loc="outside upper left", ncols=columns, fontsize=SMALL_PT)
    return made


def _axes(ax: Axes, counts: Sequence[int]) -> None:
    """A log axis with as many of the numbers named as have room, the ends first."""
    low, high = counts[0] / _MARGIN, counts[-1] * _MARGIN
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ax.set_ylim(0, 103)
    ax.set_yticks([0, 25, 50, 75, 100])
    width = 0.85 * points_across(ax)[0] / np.log(high / low)
    named: list[int] = []
    for count in [counts[0], counts[-1], *counts[1:-1]]:
        room = {other: (text_width(f"{other:,}") + text_width(f"{count:,}")) / 2 + SMALL_PT for other in named}
        if all(abs(np.log(count / other)) * width > room[other] for other in named):
            named.append(count)
    named.sort()
    ax.set_xticks(named, [f"{count:,}" for count in named], fontsize=SMALL_PT)
    ax.xaxis.set_minor_locator(NullLocator())


def _draw(ax: Axes, network: Network, rows: pd.DataFrame) -> None:
    if len(rows) == 0:  # a line without points would lie in the figure's corner and take room
        return
    own = rows.sort_values("train_images")
    x = own["train_images"].to_numpy(dtype=float)
    mean, low, high = (100 * own[name].to_numpy(dtype=float) for name in ("mean", "low", "high"))
    ax.plot(
        x, mean, color=network.colour, linestyle=network.dash, marker=network.marker, markersize=4, clip_on=False,
        label=network.label, zorder=2.5,
    )  # fmt: skip
    if np.isfinite(low).any():
        ax.fill_between(
            x, low, high, color=network.colour, alpha=_BAND, linewidth=0, zorder=2, label=f"{network.label}: interval"
        )


def _bands(table: pd.DataFrame) -> list[Artist]:
    drawn = table[table["low"].notna()]
    if len(drawn) == 0:
        return []
    names = " or ".join(dict.fromkeys(str(name) for name in drawn["interval"]))
    return [Patch(facecolor=MUTED, alpha=0.35, linewidth=0, label=f"{names}, {seeds_label(drawn['n_seeds'])}")]
