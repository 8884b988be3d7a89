"""How a network is called, and how it looks: the same colour, marker, dash and name in every figure of a report.

A network is a model at an input size; what it looks like is decided in `eqviz.plots.styles`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.lines import Line2D

from eqviz.errors import EqvizError
from eqviz.plots.styles import Dash, Pair, family, looks, natural
from eqviz.plots.theme import drawn

_NAME = re.compile(r"(p4m|p4|z2)[-_ ]?(cnn|conv|resnet\d*)(?:_(two_pools|published|histology))?", re.IGNORECASE)
_ARGUMENTS = re.compile(r"(\w+)\((\w+=.*)\)")
_SAID = {
    "head=flatten": "flat head", "head=coset_max": "", "separable=": "", "separable=g": "g-separable",
    "separable=gc": "gc-separable",
}  # fmt: skip
"""Arguments of a model that its name tells, in words; what is usual goes without saying."""


@dataclass(frozen=True)
class Network:
    """A model at an input size, and how it is drawn. `label` is text for matplotlib, `dash` one of its line styles."""

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

    P4 comes first, then P4M, then others, by model and size; plain ones last. Where the table has `data` only networks
    on the same data need to differ, and where it says of networks whether they are `exact` (as the table `networks`
    does) exact sizes are the dark ones. Make them once from the table that holds most networks and hand them to every
    figure. Raises EqvizError when the two columns are not there.

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
    pairs: list[Pair] = list(zip(table["model"].astype(str), table["input_size"].astype(str), strict=True))
    of = table["data"].astype(str).tolist() if "data" in table.columns else [""] * len(pairs)
    contexts = [
        sorted({pair for pair, other in zip(pairs, of, strict=True) if other == data}, key=_by_name)
        for data in sorted(set(of), key=natural)
    ]
    styled = looks(contexts, _exact(table, pairs))
    return tuple(
        Network(model, _size(size), drawn(network_label(model, size)), *vars(styled[model, size]).values())
        for model, size in sorted(styled, key=_by_name)
    )


def _by_name(pair: Pair) -> tuple[object, ...]:
    """By family, other models before plain ones; then by model and size."""
    order = {"p4": 0, "p4m": 1, "plain": 3}.get(family(pair[0]), 2)
    return order, natural(pair[0]), natural(pair[1])


def _exact(table: pd.DataFrame, pairs: Sequence[Pair]) -> dict[Pair, bool]:
    """Which networks a table of networks says to be exact; tables of layers say something else."""
    if "exact" not in table.columns or "layer" in table.columns:
        return {}
    said = [(pair, str(value)) for pair, value in zip(pairs, table["exact"], strict=True) if not pd.isna(value)]
    exact = {pair for pair, value in said if value == "yes"}
    return {pair: pair in exact for pair, _ in said}


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
    """A model's name for people; what is said of its arguments is put in words where there are words for it.

    >>> [model_label(name) for name in ("p4cnn", "p4mconv", "z2cnn", "p4resnet44", "mine")]
    ['P4 CNN', 'P4M conv', 'Z2 CNN', 'P4 ResNet44', 'mine']
    >>> model_label("p4resnet8(head=flatten, separable=gc)"), model_label("p4cnn_two_pools")
    ('P4 ResNet8 (flat head, gc-separable)', 'P4 CNN (two pools)')
    """
    if found := _ARGUMENTS.fullmatch(model):
        said = [_SAID.get(one, one) for one in found[2].split(", ")]
        told = ", ".join(one for one in said if one)
        return f"{model_label(found[1])} ({told})" if told else model_label(found[1])
    match = _NAME.fullmatch(model)
    if match is None:
        return model
    kind = match[2].lower().replace("cnn", "CNN").replace("resnet", "ResNet")
    variant = f" ({match[3].lower().replace('_', ' ')})" if match[3] else ""
    return f"{match[1].upper()} {kind}{variant}"


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


def _size(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
