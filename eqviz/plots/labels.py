"""How a network looks and is called: the same colour, marker, dash and name in every figure of a report.

A network is a model at an input size. Group-equivariant ones are coloured, plain ones (Z2) are black or grey; dashes
and markers differ too, for grey print.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd
from matplotlib.lines import Line2D

from eqviz.errors import EqvizError
from eqviz.plots.theme import PALETTE, Number

Dash = Literal["-"] | tuple[int, tuple[Number, ...]]

_DASHES: tuple[Dash, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_PLAIN_COLOURS = ("#1A1A1A", "#8C8C8C", "#5C5C5C")
_PLAIN_MARKERS = ("x", "+", "1")
_PLAIN_DASHES: tuple[Dash, ...] = ((0, (2.5, 1.5)), (0, (1, 2)), "-")
_NAME = re.compile(r"(p4m|p4|z2)[-_ ]?(cnn|conv|resnet\d*)", re.IGNORECASE)


@dataclass(frozen=True)
class Network:
    """A model at an input size, and how it is drawn. `dash` is a line style of matplotlib."""

    model: str
    input_size: int | str
    label: str
    colour: str
    marker: str
    dash: Dash

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows of this network in a table with `model` and `input_size`."""
        sizes = table["input_size"].astype(str) == str(self.input_size)
        return table[(table["model"].astype(str) == self.model) & sizes].reset_index(drop=True)

    def handle(self) -> Line2D:
        """Its entry in a legend."""
        return Line2D(
            [], [], color=self.colour, marker=self.marker, linestyle=self.dash, label=self.label, markersize=4
        )


def networks(table: pd.DataFrame) -> tuple[Network, ...]:
    """The networks of a table with `model` and `input_size`, in a fixed order, each with its own style.

    Group-equivariant models come first, by model and size; plain ones last. Make them once from the table that holds
    most networks and hand them to every figure. Raises EqvizError when the two columns are not there.

    >>> table = pd.DataFrame({"model": ["z2cnn", "p4cnn", "p4cnn"], "input_size": [28, 29, 28]})
    >>> [network.label for network in networks(table)]
    ['P4 CNN, 28 px', 'P4 CNN, 29 px', 'Z2 CNN, 28 px']
    """
    missing = [column for column in ("model", "input_size") if column not in table.columns]
    if missing:
        raise EqvizError(
            "networks",
            expected="columns model, input_size",
            found=f"no {', '.join(missing)}",
            fix="pass a table of runs",
        )
    pairs = {(str(model), str(size)): size for model, size in zip(table["model"], table["input_size"], strict=True)}
    ordered = sorted(pairs, key=lambda pair: (_plain(pair[0]), natural(pair[0]), natural(pair[1])))
    grouped = [pair for pair in ordered if not _plain(pair[0])]
    styled = [_grouped(*pair, place) for place, pair in enumerate(grouped)]
    styled += [_plainly(*pair, place) for place, pair in enumerate(ordered[len(grouped) :])]
    return tuple(styled)


def chosen(table: pd.DataFrame, given: Sequence[Network] | None) -> tuple[Network, ...]:
    """The networks that `table` holds, in the style and order `given`, or in that of :func:`networks`.

    Raises EqvizError when the table holds a network that is not among those given.
    """
    own = networks(table)
    if given is None:
        return own
    held = {(network.model, str(network.input_size)) for network in own}
    styled = tuple(network for network in given if (network.model, str(network.input_size)) in held)
    lost = held - {(network.model, str(network.input_size)) for network in styled}
    if lost:
        raise EqvizError(
            "networks",
            expected="a style for every network of the table",
            found="none for " + ", ".join(sorted(network_label(*pair) for pair in lost)),
            fix="make them with eqviz.plots.networks from the table that holds most networks",
        )
    return styled


def model_label(model: str) -> str:
    """A model's name for people.

    >>> [model_label(name) for name in ("p4cnn", "p4mconv", "z2cnn", "p4resnet44", "mine")]
    ['P4 CNN', 'P4M conv', 'Z2 CNN', 'P4 ResNet44', 'mine']
    """
    match = _NAME.fullmatch(model)
    if match is None:
        return model
    family = match[2].lower().replace("cnn", "CNN").replace("resnet", "ResNet")
    return f"{match[1].upper()} {family}"


def network_label(model: str, input_size: int | str) -> str:
    """A network's name for people.

    >>> network_label("p4cnn", 16), network_label("p4cnn", "28x32")
    ('P4 CNN, 16 px', 'P4 CNN, 28×32 px')
    """
    return f"{model_label(model)}, {str(input_size).replace('x', '×')} px"


def seeds_label(counts: Iterable[int]) -> str:
    """How many seeds, from the `n_seeds` of a table.

    >>> seeds_label([4, 4]), seeds_label([1]), seeds_label([10, 4])
    ('4 seeds', '1 seed', '4 to 10 seeds')
    """
    fewest, most = min(counts := [int(count) for count in counts]), max(counts)
    if fewest < most:
        return f"{fewest} to {most} seeds"
    return "1 seed" if most == 1 else f"{most} seeds"


def _grouped(model: str, size: str, place: int) -> Network:
    return Network(
        model, _size(size), network_label(model, size), PALETTE[place % len(PALETTE)],
        _MARKERS[place % len(_MARKERS)], _DASHES[place % len(_DASHES)],
    )  # fmt: skip


def _plainly(model: str, size: str, place: int) -> Network:
    turn = place % len(_PLAIN_COLOURS)
    return Network(
        model, _size(size), network_label(model, size), _PLAIN_COLOURS[turn], _PLAIN_MARKERS[turn], _PLAIN_DASHES[turn]
    )


def _plain(model: str) -> bool:
    return re.match(r"z2|resnet", model, re.IGNORECASE) is not None


def _size(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def natural(text: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts numbers inside a text by value.

    >>> sorted(["x10", "x9"], key=natural)
    ['x9', 'x10']
    """
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text))
