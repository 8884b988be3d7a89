"""The figures of a report: a plain dictionary from names to how each is drawn and read."""

from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure

from eqviz.errors import EqvizError, NoAnswerError
from eqviz.report.benchmark_figures import BENCHMARK_FIGURES
from eqviz.report.figure_kinds import DrawnFigure, FigureKind
from eqviz.report.figures_in_depth import CHAPTERS, IN_DEPTH_FIGURES
from eqviz.report.measured_figures import MEASURED_FIGURES
from eqviz.report.sections import Section, joined

_ALL = {**MEASURED_FIGURES, **BENCHMARK_FIGURES, **IN_DEPTH_FIGURES}

FIGURES: dict[str, FigureKind] = dict(sorted(_ALL.items(), key=lambda item: CHAPTERS.index(item[1].chapter)))
"""Chapter by chapter, as a page shows them."""


def chosen_figures(only: Sequence[str]) -> tuple[str, ...]:
    """Names of the figures to make: `only`, or all. Raises EqvizError for a name that is not a figure."""
    unknown = [name for name in only if name not in FIGURES]
    if unknown:
        raise EqvizError(
            "figures", expected=f"among {', '.join(FIGURES)}", found=", ".join(unknown), fix="see `eqviz list figures`"
        )
    return tuple(name for name in FIGURES if not only or name in only)


def tables_behind(names: Sequence[str]) -> tuple[str, ...]:
    """The tables of analyses in depth that these figures are drawn from."""
    return tuple(dict.fromkeys(table for name in names for table in FIGURES[name].tables))


def planned(only: Sequence[str], parts: Sequence[Section]) -> Iterator[tuple[str, Section]]:
    """Which figures to draw of which sections: those in `only`, or else all that apply, section by section.

    A figure of several sections comes with the first of them.
    """
    for section in parts:
        for name in chosen_figures(only):
            kind = FIGURES[name]
            for shown in joined(parts, kind.over):
                if shown.keys[0] == section.keys[0] and (only or _applies(kind, shown)):
                    yield name, shown


def _applies(kind: FigureKind, section: Section) -> bool:
    """Whether a section has what a figure shows; not where that rests on what these networks have no answer for.

    Where something is wrong with what it rests on, drawing it will say so.
    """
    try:
        return kind.applies(section)
    except NoAnswerError:
        return False
    except EqvizError:
        return True


def draw(name: str, section: Section) -> DrawnFigure:
    """One figure of one section, with a caption that says what was done."""
    kind = FIGURES[name]
    made = kind.draw(section)
    figure = made if isinstance(made, Figure) else made.figure
    if not isinstance(figure, Figure):
        raise TypeError(f"{name} was drawn into a {type(figure).__name__}, not a figure of its own")
    caption = f"{kind.reading} {section.made_from(name, kind.tables, kind.images)}"
    return DrawnFigure(name, name + section.suffix, kind.title, caption, figure, kind.chapter)
