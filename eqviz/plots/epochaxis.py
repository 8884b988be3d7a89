"""Epochs along an axis, at their square roots, because most happens early."""

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from eqviz.plots.theme import SMALL_PT, points_across, text_width


def epoch_axis(ax: Axes, epochs: Iterable[int]) -> None:
    """A square-root axis, with as many of the epochs named as have room; the first and the last always are.

    >>> from eqviz.plots.theme import figure
    >>> ax = figure()[1][0]
    >>> epoch_axis(ax, [0, 1, 25, 100])
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['0', '100', '1', '25']
    """
    ordered = sorted(set(epochs))
    ax.set_xscale("function", functions=(np.sqrt, np.square))
    last = max(ordered[-1], 1)
    ax.set_xlim(0, last * 1.04)
    width = 0.85 * points_across(ax)[0]
    places = {epoch: width * np.sqrt(epoch / last) for epoch in ordered}
    named: list[int] = []
    for epoch in [ordered[0], ordered[-1], *ordered[1:-1]]:
        room = text_width(str(epoch)) + 0.6 * SMALL_PT
        if epoch not in named and all(abs(places[epoch] - places[other]) > room for other in named):
            named.append(epoch)
    ax.set_xticks(named, [str(epoch) for epoch in named], fontsize=SMALL_PT)
    ax.xaxis.set_minor_locator(NullLocator())
