"""Saying which line is which: at the line's end where the names have room, in a legend above the Axes otherwise."""

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from eqviz.plots.labels import Network
from eqviz.plots.theme import SMALL_PT, Number, points_across, text_width

_LINE_SPACE = 1.25
_HANDLE, _PAD, _GAP = 2.4, 0.5, 1.2  # lengths in a legend, in text sizes
_WITHIN = 0.97  # of the width of a figure; the rest is the padding of its legend
_OVERHANG = 1.1  # the constrained layout gives an Axes at least this much of the width it starts with


def name_lines(ax: Axes, ends: Sequence[tuple[Network, Number, Number]], others: Sequence[Artist] = ()) -> None:
    """Name networks by the ends (x, y in data units) of their lines, or in a legend where names would overlap.

    `others` (bands, areas, reference lines) always go to the legend. Call it after the y limits are set.
    """
    if apart(ax, [y for _, _, y in ends]):
        for network, x, y in ends:
            ax.annotate(
                network.label, (x, y), xytext=(5, 0), textcoords="offset points", va="center",
                color=network.colour, fontsize=SMALL_PT, annotation_clip=False,
            )  # fmt: skip
        above(ax, others)
    else:
        above(ax, [*(network.handle() for network, _, _ in ends), *others])


def apart(ax: Axes, heights: Sequence[Number]) -> bool:
    """Whether texts at these heights (data units, linear axis) leave each other room."""
    low, high = ax.get_ylim()
    needed = _LINE_SPACE * SMALL_PT / points_across(ax)[1] * abs(high - low)
    return bool(np.all(np.diff(np.sort(heights)) >= needed))


def above(ax: Axes, handles: Sequence[Artist], lift: Number = 0.0) -> Legend | None:
    """A legend above the Axes, in as many columns as fit; None when there is nothing to say.

    `lift` raises it by a fraction of the Axes, past what already stands there.
    """
    if not handles:
        return None
    return ax.legend(
        handles=list(handles), loc="lower left", bbox_to_anchor=(-0.02, 1.0 + lift), borderaxespad=0.2,
        handletextpad=_PAD, ncols=columns_that_fit(handles, _OVERHANG * points_across(ax)[0]), columnspacing=_GAP,
        labelspacing=0.35, fontsize=SMALL_PT, handlelength=_HANDLE,
    )  # fmt: skip


def across(made: Figure, networks: Sequence[Network], others: Sequence[Artist] = ()) -> Legend:
    """One legend at the top of a figure whose panels were drawn with `legend=False`."""
    handles = [*(network.handle() for network in networks), *others]
    columns = columns_that_fit(handles, _WITHIN * 72 * made.get_figwidth())
    return made.legend(
        handles=handles, loc="outside upper left", ncols=columns, fontsize=SMALL_PT, frameon=False, handletextpad=_PAD,
        columnspacing=_GAP, handlelength=_HANDLE,
    )  # fmt: skip


def columns_that_fit(handles: Sequence[Artist], width: Number) -> int:
    """How many columns of these entries fit into `width` points, at least one; entries run down the columns."""
    entries = [text_width(str(handle.get_label())) + (_HANDLE + _PAD + _GAP) * SMALL_PT for handle in handles]
    for columns in range(len(entries), 1, -1):
        if sum(max(column) for column in np.array_split(entries, columns)) <= width:
            return columns
    return 1
