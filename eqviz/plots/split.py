"""The function of a network split in two: how large its parts are, and what each of them is worth by itself."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from eqviz.errors import EqvizError
from eqviz.plots.inputs import accepted, kept, one_row_each
from eqviz.plots.labels import Network, chosen, seeds_label
from eqviz.plots.legend import columns_that_fit
from eqviz.plots.theme import INK, MUTED, PALE, SMALL_PT, TWO_COLUMN_MM, figure, theme

_NAME = "function_split_summary"
_FRACTION = "antisymmetric_fraction"
_PARTS = (
    ("accuracy", "f, as it is", "o", "full"),
    ("accuracy_symmetric", "S f, symmetric part alone", "s", "none"),
    ("accuracy_antisymmetric", "A f, anti-symmetric part alone", "^", "none"),
)
_DISTRIBUTIONS = {"upright": "accuracy, upright images", "orbit": "accuracy, all elements"}
_LIFT = 0.22  # between the parts of one network, in rows


@theme()
def function_split(
    summary: pd.DataFrame, *, function: str = "scores", networks: Sequence[Network] | None = None
) -> Figure:
    """Size and worth of the parts of f = S f + A f, one row a network, from `function_split_summary`.

    On the left the fractions of |S f|^2 and |A f|^2 in % over the orbit, where they add up to the whole. Then accuracy
    in % of f, of S f (the average over the orbit) and of A f alone, on upright images and over the whole orbit: means
    over seeds, with a thin bar from the lowest to the highest seed. `function` is `scores` or `probabilities`. Where
    A f is nothing but rounding it has no accuracy and no marker.

    Raises EqvizError for a table that lacks columns or rows, mixes groups or epochs, or has no rows of that function.

    >>> row = dict(model="p4cnn", input_size=29, group="C4", epoch=50, data="mnist", regime="upright", n_seeds=1)
    >>> row |= dict(function="scores", distribution="orbit", lowest=0.1, highest=0.1, mean=0.1)
    >>> made = function_split(pd.DataFrame([row | dict(measure="antisymmetric_fraction")]))
    >>> [ax.get_title() for ax in made.axes]
    ['scores, all elements', 'accuracy, upright images', 'accuracy, all elements']
    """
    table = accepted(summary, _NAME)
    if function not in set(table["function"]):
        raise EqvizError(
            "function", expected=f"one of {', '.join(sorted(set(table['function'].astype(str))))}",
            found=repr(function), fix="choose one of these",
        )  # fmt: skip
    wanted = table["measure"].isin([_FRACTION, *(name for name, *_ in _PARTS)]) & table["mean"].notna()
    table = kept(table, wanted & (table["function"] == function), _NAME, "a measured part")
    one_row_each(table, ["model", "input_size", "distribution", "measure"], _NAME)
    styled = chosen(table, networks)
    made, axes = figure(
        TWO_COLUMN_MM, 26 + 9 * len(styled), 1, 1 + len(_DISTRIBUTIONS), sharey=True, width_ratios=[0.8, 1, 1]
    )
    for row, network in enumerate(styled):
        own = network.rows(table)
        _energy(axes[0], row, own)
        for ax, distribution in zip(axes[1:], _DISTRIBUTIONS, strict=True):
            _accuracies(ax, row, own[own["distribution"] == distribution], network)
    _frame(axes, styled, function)
    _legend(made, table)
    return made


def _energy(ax: Axes, row: int, own: pd.DataFrame) -> None:
    rows = own[(own["measure"] == _FRACTION) & (own["distribution"] == "orbit")]
    for fraction in 100 * rows["mean"].to_numpy(dtype=float):
        ax.barh(row, 100 - fraction, height=0.55, color=PALE, edgecolor=INK, linewidth=0.5, label="S f")
        ax.barh(
            row, fraction, left=100 - fraction, height=0.55, color="white", edgecolor=INK, linewidth=0.5, hatch="/////",
            label="A f",
        )  # fmt: skip


def _accuracies(ax: Axes, row: int, own: pd.DataFrame, network: Network) -> None:
    for place, (measure, said, marker, fill) in enumerate(_PARTS):
        rows = own[own["measure"] == measure]
        mean, lowest, highest = (100 * rows[name].to_numpy(dtype=float) for name in ("mean", "lowest", "highest"))
        y = np.full(len(rows), row + _LIFT * (place - 1))
        ax.hlines(y, lowest, highest, color=network.colour, linewidth=0.7, zorder=2)
        ax.plot(
            mean, y, linestyle="none", marker=marker, color=network.colour, markersize=4.5, zorder=3,
            markerfacecolor=network.colour if fill == "full" else "white", label=f"{network.label}: {said}",
        )  # fmt: skip


def _frame(axes: Sequence[Axes], styled: Sequence[Network], function: str) -> None:
    axes[0].set(ylim=(len(styled) - 0.4, -0.6), xlim=(0, 100), xlabel="fraction of |f|² (%)")
    axes[0].set_yticks(range(len(styled)), [network.label for network in styled], fontsize=SMALL_PT)
    for text, network in zip(axes[0].get_yticklabels(), styled, strict=True):
        text.set_color(network.colour)
    for ax, title in zip(axes, (f"{function}, all elements", *_DISTRIBUTIONS.values()), strict=True):
        ax.set_title(title, fontsize=SMALL_PT)
    for ax in axes[1:]:
        ax.set(xlim=(0, 102), xlabel="accuracy (%)")
        ax.tick_params(axis="y", length=0)
        for row in range(1, len(styled)):
            ax.axhline(row - 0.5, color=PALE, linewidth=0.6, zorder=1)


def _legend(made: Figure, table: pd.DataFrame) -> None:
    handles: list[Patch | Line2D] = [
        Patch(facecolor=PALE, edgecolor=INK, linewidth=0.5, label="S f, symmetric"),
        Patch(facecolor="white", edgecolor=INK, linewidth=0.5, hatch="/////", label="A f, anti-symmetric"),
    ]
    for _, said, marker, fill in _PARTS:
        face = INK if fill == "full" else "white"
        handles.append(
            Line2D(
                [], [], linestyle="none", marker=marker, color=INK, markerfacecolor=face, label=f"accuracy of {said}"
            )
        )
    if (table["n_seeds"].astype(int) > 1).any():
        label = f"range over {seeds_label(table['n_seeds'])}"
        handles.append(Line2D([], [], linestyle="none", marker="_", markersize=8, color=MUTED, label=label))
    columns = columns_that_fit(handles, 0.95 * 72 * made.get_figwidth())
    made.legend(handles=handles, loc="outside upper left", ncols=columns, fontsize=SMALL_PT, frameon=False)
