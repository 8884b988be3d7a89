"""What panels are called: by a letter, and by the data and the regime of their networks."""

import re
from collections.abc import Sequence

from matplotlib.axes import Axes

from eqviz.plots.theme import TEXT_PT, drawn, points_across, text_width

_FILLED = 0.8
"""How much of the room above a panel its title may take: the letter stands before it, and labels beside it."""


def short_name(data: str) -> str:
    """The name of a data set; of a path the last part.

    >>> short_name("mnist"), short_name("data/cells.npz")
    ('mnist', 'cells.npz')
    """
    return re.split(r"[\\/]", data.rstrip("\\/"))[-1] or data


def trained_on(ax: Axes, places: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Titles of panels like `ax` by their data set and regime, on more lines where one is too wide; of a path the end.

    >>> from eqviz.plots.theme import figure
    >>> trained_on(figure()[1][0], [("a/cells.npz", "upright")])
    {('a/cells.npz', 'upright'): 'cells.npz, trained: upright'}
    """
    names = {place: drawn(short_name(place[0])) for place in places}
    regimes = {place: f"trained: {drawn(place[1])}" for place in places}
    together = {place: f"{name}, {regimes[place]}" for place, name in names.items()}
    room = 0.75 * points_across(ax)[0]
    if all(text_width(title, TEXT_PT) < room for title in together.values()):
        return together
    return {place: f"{name}\n{in_lines(ax, regimes[place])}" for place, name in names.items()}


def in_lines(ax: Axes, text: str) -> str:
    """A title broken between words, so that no line is wider than `ax`: one that is would squeeze its neighbours.

    A number of images stays with its word.

    >>> from eqviz.plots.theme import figure
    >>> in_lines(figure(40, 40)[1][0], "trained: upright, quarter turns").splitlines()
    ['trained: upright,', 'quarter turns']
    """
    lines = [""]
    for word in re.sub(r"(\d) images", "\\1\u00a0images", text).split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, TEXT_PT) > _FILLED * points_across(ax)[0]:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def lettered(ax: Axes, place: int, title: str) -> None:
    """A title at the left with the letter of the panel: a, b, c, ...; numbers after z."""
    letter = chr(ord("a") + place) if place < 26 else str(place + 1)
    ax.set_title(f"$\\mathbf{{{letter}}}$  {drawn(title)}", loc="left")
