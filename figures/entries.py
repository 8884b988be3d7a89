"""What an entry of the gallery is: one figure of one experiment, from its tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from reading import Results

from eqviz import plots
from eqviz.plots.audited_sampling import audited_grids
from eqviz.plots.labels import Network

Styles = Sequence[Network]
Draw = Callable[["Entry", Results, Styles], "Axes | Figure"]


@dataclass(frozen=True)
class Entry:
    """A figure: its file name, the table it is drawn from, its title and how to read it.

    `where` chooses rows of the table, `layers` leaves out the layers that figures do not show, `every_epoch` keeps more
    than the last epoch of each network, `choose` picks some of these rows. `plot` is the name of a plot of
    `eqviz.plots`, that of the file if empty, and `options` go to it; `draw` draws the figure otherwise. `also` are more
    tables that it needs. `lettered` gives its panels letters, unless they have some.
    """

    name: str
    table: str
    title: str
    reading: str
    plot: str = ""
    where: str = ""
    layers: bool = False
    every_epoch: bool = False
    also: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    draw: Draw | None = None
    choose: Callable[[pd.DataFrame], pd.DataFrame] = lambda rows: rows
    lettered: bool = True

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that it is drawn from."""
        return self.table, *self.also

    def rows(self, results: Results) -> pd.DataFrame:
        """The rows of its table. Raises NoTableError where there are none."""
        if self.layers:
            return results.layers(self.table, self.where)
        rows = results.table(self.table, self.where, every_epoch=self.every_epoch)
        return self.choose(rows)

    def figure(self, results: Results, styles: Styles) -> Figure:
        """The figure. Raises NoTableError for tables that are not there."""
        for name in self.also:
            results.table(name)
        made = (self.draw or plotted)(self, results, styles)
        found = made if isinstance(made, Figure) else made.get_figure(root=True)
        if not isinstance(found, Figure):
            raise TypeError(f"{self.name} gave no figure")
        return found

    def caption(self, results: Results) -> str:
        """How to read the figure, and what it was made from."""
        return f"{self.reading} {results.made_from(self.table, self.rows(results))}"


@dataclass(frozen=True)
class Experiment:
    """A section of the gallery: its folder, the question, the design in two lines, and its figures in reading order.

    `command` computes its tables.
    """

    slug: str
    title: str
    question: str
    design: str
    figures: tuple[Entry, ...]
    command: str


def plotted(entry: Entry, results: Results, styles: Styles) -> "Axes | Figure":
    """The plot of that name, of the rows of the entry."""
    made: Axes | Figure = getattr(plots, entry.plot or entry.name)(
        entry.rows(results), networks=styles, **entry.options
    )
    return made


def with_subsampling(entry: Entry, results: Results, styles: Styles) -> "Axes | Figure":
    """The same for plots that are told which layers subsample."""
    layers = results.layers("equivariance_summary")
    named = tuple(dict.fromkeys(layers[layers["subsamples"].fillna(False).astype(bool)]["layer"]))
    made: Axes | Figure = getattr(plots, entry.plot or entry.name)(
        entry.rows(results), networks=styles, subsampling=named, **entry.options
    )
    return made


def with_published(entry: Entry, results: Results, styles: Styles) -> "Axes | Figure":
    """The same with published numbers behind ours."""
    made: Axes | Figure = getattr(plots, entry.plot or entry.name)(
        entry.rows(results), networks=styles, published=results.table("published_comparison"), **entry.options
    )
    return made


def without_networks(entry: Entry, results: Results, styles: Styles) -> "Axes | Figure":
    """The same for plots of data, in which no network stands."""
    made: Axes | Figure = getattr(plots, entry.plot or entry.name)(entry.rows(results), **entry.options)
    return made


def sampling_grid(entry: Entry, results: Results, styles: Styles) -> Figure:
    """Sampling grids, from the audit of each network."""
    audit = entry.rows(results)
    made: Figure = plots.sampling_grid(audited_grids(audit, styles, str(audit["group"].iloc[0])))
    return made
