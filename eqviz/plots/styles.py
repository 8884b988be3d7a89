"""What tells networks apart in figures: a hue for the group, a shade, marker and dash for the input size.

Quarter turns (P4) are blue, quarter turns with reflections (P4M) red to amber, plain networks (Z2) black and grey; any
other model has a hue of its own. The darkest shade and a solid line belong to the sizes at which the network is exact,
lighter shades and dashes to those that misfit: shades differ in lightness, so that grey print keeps them.

The same network looks the same in all figures that share one call of :func:`eqviz.plots.labels.networks`. Colours do
not depend on which other models are there, so that P4 is blue in every report.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal

from eqviz.plots.theme import Number

Dash = Literal["-"] | tuple[int, tuple[Number, ...]]
Pair = tuple[str, str]
"""Model and input size."""

SHADES: dict[str, tuple[str, ...]] = {
    "p4": ("#0A4595", "#2E7FD6", "#27A5C0"),
    "p4m": ("#7F2704", "#C93C18", "#C48C14"),
    "plain": ("#1A1A1A", "#6F6F6F", "#9C9C9C"),
}
"""From dark to light; each of them dark enough to write a network's name in (2.7 : 1 on white and more)."""

OTHERS = (("#3F007D", "#8250B8", "#B583C9"), ("#0B4F2A", "#2F8F46", "#74A83A"), ("#7A0A45", "#C43C7E", "#E07A9F"))
"""Of models that belong to no group that has a hue, in their order."""

_DASHES: tuple[Dash, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
_PLAIN_DASHES: tuple[Dash, ...] = ((0, (2.5, 1.5)), (0, (1, 2)), (0, (4, 1, 1, 1)))
_PLAIN_MARKERS = ("x", "+", "1", "2", "3", "4")
SHADED = 3
"""Shades of a family."""

_PER_MODEL = 3
"""By how many places the markers of a model begin after those of the model before it."""


@dataclass(frozen=True)
class Look:
    """How a network is drawn; `dash` is a line style of matplotlib."""

    colour: str
    marker: str
    dash: Dash


def family(model: str) -> str:
    """`p4`, `p4m`, `plain`, or the model's own name.

    >>> [family(name) for name in ("p4cnn", "P4M_CNN", "z2resnet8", "resnet18", "mine")]
    ['p4', 'p4m', 'plain', 'plain', 'mine']
    """
    found = re.match(r"p4m|p4|z2|resnet", model, re.IGNORECASE)
    return {"z2": "plain", "resnet": "plain"}.get(found[0].lower(), found[0].lower()) if found else model


def looks(contexts: Sequence[Sequence[Pair]], exact: Mapping[Pair, bool]) -> dict[Pair, Look]:
    """How every network is drawn.

    `contexts` are the networks that stand in one figure, such as those on the same data: within each no two look the
    same. `exact` says of networks whether they are exact at their size; where it knows nothing of a model, its sizes
    take the shades in their order.

    >>> sizes = [("p4cnn", "27"), ("p4cnn", "28"), ("p4cnn", "29")]
    >>> [look.marker for look in looks([sizes], {pair: pair[1] == "28" for pair in sizes}).values()]
    ['s', 'o', '^']
    """
    hues = _hues(contexts)
    found: dict[Pair, Look] = {}
    for context in contexts:
        for model in sorted({model for model, _ in context}, key=natural):
            own = sorted((pair for pair in set(context) if pair[0] == model), key=lambda pair: natural(pair[1]))
            places = _places(own, exact)
            for pair in own:
                if pair not in found:
                    taken = {found[other] for other in context if other in found}
                    found[pair] = _free(hues[family(model)], places[pair], _order(model, context), taken)
    return {pair: found[pair] for context in contexts for pair in context}


def _hues(contexts: Sequence[Sequence[Pair]]) -> dict[str, tuple[str, ...]]:
    """The shades of every family."""
    families = {family(model) for context in contexts for model, _ in context}
    others = sorted(families - SHADES.keys(), key=natural)
    return {**SHADES, **{name: OTHERS[place % len(OTHERS)] for place, name in enumerate(others)}}


def _places(own: Sequence[Pair], exact: Mapping[Pair, bool]) -> dict[Pair, tuple[int, int]]:
    """The place of every size of one model, and that of its shade: 0 for exact ones, later ones for others."""
    if family(own[0][0]) == "plain" or not any(pair in exact for pair in own):
        return {pair: (place, place % SHADED) for place, pair in enumerate(own)}
    misfits = count()
    return {pair: (0, 0) if exact.get(pair, False) else _misfit(next(misfits)) for pair in own}


def _misfit(place: int) -> tuple[int, int]:
    return 1 + place, 1 + place % (SHADED - 1)


def _order(model: str, context: Sequence[Pair]) -> int:
    """The place of a model among those of its family that stand in one figure."""
    alike = {other for other, _ in context if family(other) == family(model)}
    return sorted(alike, key=natural).index(model)


def _free(shades: tuple[str, ...], places: tuple[int, int], order: int, taken: set[Look]) -> Look:
    """The look of a network, with the next marker as long as another network has the same colour and marker."""
    place, shade = places[0], shades[places[1]]
    plain = shades == SHADES["plain"]
    markers, dashes = (_PLAIN_MARKERS, _PLAIN_DASHES) if plain else (_MARKERS, _DASHES)
    used = {look.marker for look in taken if look.colour == shade}
    start = place + _PER_MODEL * order
    turned = [markers[(start + step) % len(markers)] for step in range(len(markers))]
    marker = next((one for one in turned if one not in used), turned[0])
    return Look(shade, marker, dashes[place % len(dashes)])


def natural(text: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts numbers inside a text by value.

    >>> sorted(["x10", "x9"], key=natural)
    ['x9', 'x10']
    """
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text))
