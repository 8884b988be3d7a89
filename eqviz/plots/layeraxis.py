"""Layers in execution order along an axis: positions, tick labels that stay readable, stripes where layers subsample.

A layer is a module path and the number of its call; a module that runs twice stands at two places.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from eqviz.errors import printable
from eqviz.plots.theme import MUTED, SMALL_PT, STRIPE, Number, drawn, points_across, text_width

Place = tuple[str, int]

_LONGEST = 24
"""Letters of a layer's path that fit below an axis."""

_SPACING = 1.35  # distance of two upright tick labels, in text sizes


@dataclass(frozen=True)
class LayerAxis:
    """The (layer, call) pairs of a table in execution order, at positions 0, 1, ...; some of them subsample."""

    places: tuple[Place, ...]
    subsampling: frozenset[Place]

    @classmethod
    def of(cls, table: pd.DataFrame) -> "LayerAxis":
        """The axis of a table with `layer`, `call`, `depth` and `subsamples`.

        Networks of different depth share one order, by the mean of their depths.

        >>> table = pd.DataFrame({"layer": ["pool", "conv1"], "call": 0, "depth": [1, 0], "subsamples": [True, False]})
        >>> axis = LayerAxis.of(table)
        >>> axis.labels(), axis.stripes()
        (('conv1', 'pool'), ((1, 1),))
        """
        rows = table.assign(layer=table["layer"].astype(str), depth=table["depth"].astype(float))
        order = rows.groupby(["layer", "call"], sort=False)["depth"].mean().sort_values(kind="stable").index
        marked = rows[rows["subsamples"].fillna(False).astype(bool)]
        return cls(tuple(_places(order)), frozenset(_places(zip(marked["layer"], marked["call"], strict=True))))

    def positions(self, table: pd.DataFrame) -> npt.NDArray[np.int64]:
        """Where each row of `table` stands on the axis."""
        found = {place: position for position, place in enumerate(self.places)}
        return np.array([found[place] for place in _places(zip(table["layer"], table["call"], strict=True))], dtype=int)

    def labels(self) -> tuple[str, ...]:
        """A name for each position; a second call of the same module is called 'name (call 2)'.

        Long paths are shortened, see :func:`short_names`.
        """
        short = short_names(layer for layer, _ in self.places)
        return tuple(short[layer] if call == 0 else f"{short[layer]} (call {call + 1})" for layer, call in self.places)

    def stripes(self) -> tuple[tuple[int, int], ...]:
        """First and last position of each run of neighbouring subsampling layers."""
        runs: list[tuple[int, int]] = []
        for position in (p for p, place in enumerate(self.places) if place in self.subsampling):
            if runs and runs[-1][1] == position - 1:
                runs[-1] = (runs[-1][0], position)
            else:
                runs.append((position, position))
        return tuple(runs)

    def ticked(self, room: int) -> tuple[int, ...]:
        """The positions that get a label when `room` labels fit: ends and subsampling layers first, evenly spread.

        >>> LayerAxis(tuple((f"conv{n}", 0) for n in range(10)), frozenset()).ticked(4)
        (0, 3, 6, 9)
        """
        last = len(self.places) - 1
        if len(self.places) <= max(room, 1):
            return tuple(range(len(self.places)))
        step = -(-last // max(room - 1, 1))
        wanted = [0, last, *(first for first, _ in self.stripes()), *range(0, last, step), *range(last + 1)]
        found: list[int] = []
        for position in wanted:
            if all(abs(position - other) >= step for other in found):
                found.append(position)
        return tuple(sorted(found))

    def tick_below(self, ax: Axes, width: Number | None = None) -> None:
        """Name the layers along x: level where they fit into `width` points, else upright, else only some of them."""
        room = points_across(ax)[0] if width is None else width
        labels = self.labels()
        level = sum(text_width(label) + SMALL_PT for label in labels) <= room
        positions = range(len(labels)) if level else self.ticked(int(room // (_SPACING * SMALL_PT)))
        ax.set_xticks(list(positions), [labels[p] for p in positions], rotation=0 if level else 90, fontsize=SMALL_PT)
        ax.set_xlim(-0.6, len(labels) - 0.4)

    def tick_beside(self, ax: Axes, height: Number) -> None:
        """Name the layers along y, the first one on top, as many as fit into `height` points.

        Subsampling layers are named on the colour of the stripes.
        """
        labels = self.labels()
        positions = self.ticked(int(height // (_SPACING * SMALL_PT)))
        ax.set_yticks(list(positions), [labels[p] for p in positions], fontsize=SMALL_PT)
        for position, text in zip(positions, ax.get_yticklabels(), strict=True):
            if self.places[position] in self.subsampling:
                text.set_bbox({"facecolor": STRIPE, "linewidth": 0, "boxstyle": "square,pad=0.15"})

    def shade(self, ax: Axes, *, named: bool = True) -> None:
        """Stripes behind the subsampling layers, called 'subsamples' at the top where the word has room."""
        per_place = points_across(ax)[0] / max(len(self.places), 1)
        taken = -np.inf
        for first, last in self.stripes():
            ax.axvspan(first - 0.4, last + 0.4, color=STRIPE, linewidth=0, zorder=0.2, gid="subsamples")
            middle, half = per_place * ((first + last) / 2 + 0.6), text_width("subsamples") / 2
            if named and middle - half > taken:
                _name_stripe(ax, (first + last) / 2, len(self.places))
                taken = middle + half


def short_names(layers: Iterable[str]) -> dict[str, str]:
    """What figures call layers: their paths or, of long ones, the end: `…` and as many modules as fit.

    The end is longer where two layers would share it.

    >>> list(short_names(["vit.encoder.layers.0.self_attn.out_proj", "vit.head"]).values())
    ['…0.self_attn.out_proj', 'vit.head']
    """
    names = list(dict.fromkeys(layers))
    room = _LONGEST
    while True:
        short = {name: _end_of(name, room) for name in names}
        if len(set(short.values())) == len(names):
            return short
        room += _LONGEST // 4


def short_name(layer: str) -> str:
    """What a title calls a single layer: its path, or the end of a long one."""
    return _end_of(layer, _LONGEST)


def _end_of(name: str, room: int) -> str:
    name = drawn(printable(name))
    if len(name) <= room:
        return name
    parts = name.split(".")
    kept = next((k for k in range(1, len(parts)) if len(".".join(parts[k:])) < room), len(parts) - 1)
    return f"…{'.'.join(parts[kept:])[1 - room :]}"


def _name_stripe(ax: Axes, x: float, places: int) -> None:
    side = "left" if x < 0.1 * places else "right" if x > 0.9 * places else "center"
    ax.text(
        x, 0.985, "subsamples", transform=ax.get_xaxis_transform(), ha=side, va="top", fontsize=SMALL_PT, color=MUTED
    )


def _places(pairs: Iterable[Sequence[object]]) -> list[Place]:
    return [(str(layer), int(str(call))) for layer, call in pairs]
