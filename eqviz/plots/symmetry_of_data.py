"""The symmetry of the data: how well images are told from their transformed copies, and what networks make of it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from eqviz.plots.inputs import accepted, kept, one_row_each
from eqviz.plots.labels import Network, chosen
from eqviz.plots.legend import above, columns_that_fit
from eqviz.plots.theme import (
    INK,
    MUTED,
    ONE_COLUMN_MM,
    PALE,
    PALETTE,
    SMALL_PT,
    TWO_COLUMN_MM,
    Number,
    decades,
    figure,
    panel,
    points_across,
    text_width,
    theme,
)

_SUMMARY, _MATCH = "data_symmetry_summary", "symmetry_match"
_RANDOM = "random"
_LOOKS = (("o", INK), ("s", PALETTE[1]), ("^", PALETTE[0]), ("D", PALETTE[2]), ("v", PALETTE[3]), ("P", PALETTE[4]))
_SHORT = {
    "flip up-down": "flip\nup-down", "flip left-right": "flip\nleft-right", "anti-transpose": "anti-\ntranspose",
}  # fmt: skip
_DODGE = 0.16
_APART = 0.02  # a class that is lower than all images by this much is worth a name
_LOWEST = 0.4
_NAMES = 0.12  # headroom for the names of data, as a fraction of the Axes


@theme()
def data_symmetry(summary: pd.DataFrame) -> Figure:
    """How well images are told from their transformed copies (AUC), by class and by element of the group.

    Takes the table `data_symmetry_summary`. Left: copies moved by random elements, for all images and for each class.
    Right: copies moved by one element, for all images with their interval, and each class as a small dot, of which the
    lowest is named where it lies apart. 0.5 (dotted) is chance, and a symmetry of the data; the dashed line is the
    highest value that could be reached. Images of another input size are another data set, with a marker of its own;
    networks of one size share their data, and the first of them is drawn. What has no value is left out.

    Raises EqvizError for a table that lacks columns or rows, or mixes groups or epochs.

    >>> row = dict(model="p4cnn", input_size=16, group="C4", epoch=9, data="digits", regime="upright", n=120, n_seeds=1)
    >>> row |= dict(low=0.8, high=0.9, interval="95% interval", chance=0.5, highest=0.875, auc=0.85)
    >>> rows = [dict(row, label=a, element=e) for a in ("", "8") for e in ("random", "rotation 180")]
    >>> [ax.get_xticklabels()[0].get_text() for ax in data_symmetry(pd.DataFrame(rows)).axes]
    ['all', '180°']
    """
    table = accepted(summary, _SUMMARY)
    one_row_each(table, ["model", "input_size", "label", "element"], _SUMMARY)
    table = kept(table, table["auc"].notna(), _SUMMARY, "a value of auc").astype({"label": str, "element": str})
    table = table.drop_duplicates(["input_size", "label", "element"])
    labels = [label for label in dict.fromkeys(table["label"]) if label]
    elements = [element for element in dict.fromkeys(table["element"]) if element != _RANDOM]
    widths = np.clip([len(labels) + 1, 1.5 * len(elements)], 6, 12).tolist()
    made, (left, right) = figure(TWO_COLUMN_MM, 68, 1, 2, sharey=True, width_ratios=widths)
    sizes = list(dict.fromkeys(table["input_size"]))
    for place, size in enumerate(sizes):
        shift = _DODGE * (place - (len(sizes) - 1) / 2)
        own = table[table["input_size"] == size]
        _by_label(left, own[own["element"] == _RANDOM], ["", *labels], _LOOKS[place % len(_LOOKS)], shift)
        _by_element(right, own, elements, _LOOKS[place % len(_LOOKS)], shift, named=len(sizes) == 1)
    _frame(left, ["all", *labels], table[table["element"] == _RANDOM])
    _frame(right, [_symbol(element) for element in elements], table[table["element"] != _RANDOM])
    left.set_ylabel("AUC: original or copy?")
    left.set_xlabel("class of the images (copies moved at random)")
    right.set_xlabel("what moved the copies")
    handles = _size_handles(sizes) + _line_handles(table)
    columns = columns_that_fit(handles, 0.92 * 72 * made.get_figwidth())
    made.legend(handles=handles, loc="outside upper left", ncols=columns, fontsize=SMALL_PT)
    return made


@theme()
def symmetry_match(
    table: pd.DataFrame, ax: Axes | None = None, *, networks: Sequence[Network] | None = None, legend: bool = True
) -> Axes:
    """Breaking fraction at the output (log scale) over the AUC of the training data, one marker a run.

    Takes the table `symmetry_match`, best with runs on data of different symmetry (regimes or data sets, which are
    then named at the top). Grey bars are the intervals of the AUC; the grey area reaches up to what float32 rounding
    alone gives. Left (0.5) the data have the symmetry of the group, at the dashed line they have none of it. A
    breaking fraction of exactly 0 stands at the lower edge as a hollow triangle.

    Raises EqvizError for a table that lacks columns or rows, or mixes groups or epochs.

    >>> row = dict(run="a", model="p4cnn", input_size=16, group="C4", seed=0, epoch=9, data="digits", regime="upright")
    >>> row |= dict(auc=0.85, low=0.8, high=0.9, highest=0.875, breaking_fraction=0.1, floor=1e-14, map_layer="conv7")
    >>> row |= dict(map_breaking_fraction=0.1, map_floor=1e-14, accuracy_upright=0.99, accuracy_rotated=0.7)
    >>> symmetry_match(pd.DataFrame([row])).get_xlabel()
    'AUC of the training images: original or copy?'
    """
    rows = accepted(table, _MATCH)
    one_row_each(rows, ["run"], _MATCH)
    there = rows["auc"].notna() & rows["breaking_fraction"].notna()
    rows = kept(rows, there, _MATCH, "a run with an AUC of its data and a breaking fraction at the output")
    ax = panel(ax, ONE_COLUMN_MM, 75)
    bottom = _lower_limit(rows)
    ax.set_yscale("log")
    ax.set_ylim(bottom, bottom**-0.08)
    ax.set_yticks(decades(bottom))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_xlim(min(0.46, float(rows["low"].min()) - 0.02), 1.02)
    ax.set(xlabel="AUC of the training images: original or copy?", ylabel="breaking fraction at the output")
    styled = chosen(rows, networks)
    for network in styled:
        _runs(ax, network, network.rows(rows), bottom)
    extra = _references(ax, rows, bottom)
    _name_data(ax, rows)
    if legend:
        above(ax, [*(_marker(network) for network in styled), *extra])
    return ax


def _by_label(ax: Axes, rows: pd.DataFrame, labels: Sequence[str], look: tuple[str, str], shift: Number) -> None:
    found = rows.set_index("label")
    held = [(place, label) for place, label in enumerate(labels) if label in found.index]
    _dots(ax, [place + shift for place, _ in held], found.loc[[label for _, label in held]], look)


def _by_element(
    ax: Axes, rows: pd.DataFrame, elements: Sequence[str], look: tuple[str, str], shift: Number, *, named: bool
) -> None:
    """All images as a large marker, classes as small ones beside it; the lowest is `named` if it lies apart."""
    for place, element in enumerate(elements):
        own = rows[rows["element"] == element]
        whole, classes = own[own["label"] == ""], own[own["label"] != ""].sort_values("auc", kind="stable")
        _dots(ax, [place + shift] * len(whole), whole, look)
        if len(classes) == 0:
            continue
        x = place + shift + 0.5 * _DODGE
        ax.plot(
            [x] * len(classes), classes["auc"], linestyle="none", marker=".", markersize=4, color=look[1],
            alpha=0.6, markeredgewidth=0, zorder=2, label="classes",
        )  # fmt: skip
        lowest = float(classes.iloc[0]["auc"])
        if named and lowest < whole["auc"].min() - _APART:
            ax.annotate(
                str(classes.iloc[0]["label"]), (x, lowest), xytext=(3, 0), textcoords="offset points", ha="left",
                va="center", fontsize=SMALL_PT,
            )  # fmt: skip


def _dots(ax: Axes, x: Sequence[Number], rows: pd.DataFrame, look: tuple[str, str]) -> None:
    marker, colour = look
    ax.vlines(x, rows["low"], rows["high"], color=colour, linewidth=0.8, zorder=2.5)
    ax.plot(x, rows["auc"], linestyle="none", marker=marker, markersize=4, color=colour, zorder=3, label="AUC")


def _frame(ax: Axes, names: Sequence[str], rows: pd.DataFrame) -> None:
    """Ticks, limits, and the lines of chance and of the highest value."""
    ax.axhline(0.5, color=MUTED, linestyle=":", linewidth=0.9, zorder=1, label="chance")
    for highest in sorted(set(rows["highest"].astype(float))):
        ax.axhline(highest, color=MUTED, linestyle=(0, (4, 2)), linewidth=0.8, zorder=1, label="highest")
    room = 0.9 * points_across(ax)[0]
    shown = [_SHORT.get(name, name) for name in names]
    level = sum(max(map(text_width, name.split("\n"))) + SMALL_PT for name in shown) <= room
    step = 1 if level else max(1, int(np.ceil(1.35 * SMALL_PT * len(names) / room)))
    places = list(range(0, len(names), step))
    ticks = [shown[place] if level else names[place] for place in places]
    ax.set_xticks(places, ticks, rotation=0 if level else 90, fontsize=SMALL_PT)
    ax.set_xlim(-0.6, max(len(names), 1) - 0.4)
    lowest = min(_LOWEST, float(rows["low"].min()) - 0.02) if len(rows) else _LOWEST
    ax.set_ylim(min(ax.get_ylim()[0], lowest) if ax.get_ylim()[0] > 0 else lowest, 1.03)


def _symbol(element: str) -> str:
    return f"{element.removeprefix('rotation ')}°" if element.startswith("rotation ") else element


def _size_handles(sizes: Sequence[object]) -> list[Artist]:
    found: list[Artist] = []
    for place, size in enumerate(sizes):
        marker, colour = _LOOKS[place % len(_LOOKS)]
        name = f"images of {str(size).replace('x', '×')} px"
        found.append(Line2D([], [], linestyle="none", marker=marker, markersize=4, color=colour, label=name))
    return found


def _line_handles(table: pd.DataFrame) -> list[Artist]:
    found: list[Artist] = []
    if table["low"].notna().any():
        names = " or ".join(str(name) for name in table.loc[table["low"].notna(), "interval"].unique())
        found.append(Line2D([], [], linestyle="none", marker="|", markersize=8, color=INK, label=names))
    if ((table["label"] != "") & (table["element"] != _RANDOM)).any():
        found.append(Line2D([], [], linestyle="none", marker=".", markersize=4, color=MUTED, label="a class"))
    found.append(Line2D([], [], color=MUTED, linestyle=(0, (4, 2)), linewidth=0.8, label="highest possible"))
    found.append(Line2D([], [], color=MUTED, linestyle=":", linewidth=0.9, label="chance: symmetric data"))
    return found


def _lower_limit(rows: pd.DataFrame) -> float:
    values = rows[["breaking_fraction", "floor"]].to_numpy(dtype=float)
    positive = values[values > 0]
    return float(10.0 ** (np.floor(np.log10(positive.min())) - 1)) if len(positive) else 1e-16


def _marker(network: Network) -> Line2D:
    return Line2D(
        [], [], linestyle="none", marker=network.marker, color=network.colour, markersize=4, label=network.label
    )


def _runs(ax: Axes, network: Network, rows: pd.DataFrame, bottom: float) -> None:
    x, y = (rows[column].to_numpy(dtype=float) for column in ("auc", "breaking_fraction"))
    some, none = y > 0, y <= 0
    ax.plot(
        x[some], y[some], linestyle="none", marker=network.marker, color=network.colour, markersize=4.5, zorder=3,
        label=network.label,
    )  # fmt: skip
    if none.any():
        ax.plot(
            x[none], np.full(int(none.sum()), bottom), linestyle="none", marker="v", markerfacecolor="white",
            markeredgecolor=network.colour, markersize=5, clip_on=False, zorder=4,
            label=f"{network.label}: exactly 0",
        )  # fmt: skip


def _references(ax: Axes, rows: pd.DataFrame, bottom: float) -> list[Artist]:
    """Intervals of the AUC, the area of rounding, chance and the highest value; the legend's entries for them."""
    bars = rows.dropna(subset=["low", "high"])
    ax.hlines(bars["breaking_fraction"].clip(lower=bottom), bars["low"], bars["high"], color=MUTED, linewidth=0.5)
    ax.axvline(0.5, color=MUTED, linestyle=":", linewidth=0.9, zorder=1)
    for highest in sorted(set(rows["highest"].astype(float))):
        ax.axvline(highest, color=MUTED, linestyle=(0, (4, 2)), linewidth=0.8, zorder=1)
    found: list[Artist] = [
        Line2D([], [], color=MUTED, linestyle=":", linewidth=0.9, label="chance: symmetric data"),
        Line2D([], [], color=MUTED, linestyle=(0, (4, 2)), linewidth=0.8, label="highest possible AUC"),
    ]
    floor = float(rows["floor"].max())
    if floor > 0:
        ax.axhspan(bottom, floor, color=PALE, linewidth=0, zorder=0.3, gid="rounding")
        found.append(Patch(facecolor=PALE, linewidth=0, label="float32 rounding"))
    if len(bars):
        found.append(Line2D([], [], color=MUTED, linewidth=0.5, label="95% interval of the AUC"))
    return found


def _name_data(ax: Axes, rows: pd.DataFrame) -> None:
    """Which data lie where along x, where there are several: above everything else, on two levels in turn."""
    telling = [name for name in ("data", "regime") if len(rows[name].unique()) > 1]
    if not telling:
        return
    low, high = ax.get_ylim()
    ax.set_ylim(low, high * (high / low) ** _NAMES)
    firsts = rows.drop_duplicates(telling).sort_values("auc", kind="stable")
    for place, (_, first) in enumerate(firsts.iterrows()):
        ax.text(
            float(first["auc"]), 0.99 - 0.5 * _NAMES * (place % 2), " ".join(str(first[name]) for name in telling),
            transform=ax.get_xaxis_transform(), ha="center", va="top", fontsize=SMALL_PT, gid="data",
            bbox={"facecolor": "white", "linewidth": 0, "boxstyle": "square,pad=0.1"},
        )  # fmt: skip
