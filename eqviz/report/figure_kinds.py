"""What a figure of a report is: how it is drawn, and what is saved of it."""

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eqviz.report.sections import Section

FIRST = "How symmetric, and how accurate"
"""The first chapter of a page."""


@dataclass(frozen=True)
class FigureKind:
    """A figure that eqviz makes: how to draw it, its title, how to read it, and the tables in depth that it needs.

    `images` is how many images are drawn, of the first run of each network, where that is not what tables sum over.
    `over` names what may differ within one figure (`data`, `regime`, `group`): it is drawn once for all sections that
    differ in nothing else. `applies` says whether a section has what it shows; without, it is drawn only if it is
    asked for by name.
    """

    draw: Callable[[Section], "Axes | Figure"]
    title: str
    reading: str
    tables: tuple[str, ...] = ()
    chapter: str = FIRST
    images: int | None = None
    over: tuple[str, ...] = ()
    applies: Callable[[Section], bool] = lambda section: True


@dataclass(frozen=True)
class DrawnFigure:
    """A figure of one section, to be saved under `stem`."""

    name: str
    stem: str
    title: str
    caption: str
    figure: Figure
    chapter: str = ""
