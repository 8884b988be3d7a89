"""Progress on standard error: a bar in a terminal, a line for each step elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import rich_click as click

from eqviz.errors import one_line

if TYPE_CHECKING:
    from rich.progress import Progress

    import eqviz.studies.progress
    from eqviz.studies.stepping import Step

_ENDS = {"done": "epoch {epoch}", "twin done": "untrained twin", "analysed": "epoch {epoch}, in depth"}
"""What is over at a step that ends something, in words."""


def training_line(event: "eqviz.studies.progress.Progress") -> None:
    """A line for an event of training, unless others tell as much."""
    if event.worth_a_line:
        click.echo(str(event), err=True)


class Listener(Protocol):
    """Told of the steps of measuring, and in a few words of the work that comes after."""

    def step(self, step: "Step") -> None:
        """A step of measuring."""

    def work(self, what: str) -> None:
        """Work after measuring, such as `drawing accuracy_overview`."""


class _Lines:
    def step(self, step: "Step") -> None:
        if step.kind in _ENDS:
            state = "from the cache" if step.reused else "measured"
            what = _ENDS[step.kind].format(epoch=step.epoch)
            click.echo(one_line(f"[{step.place}/{step.runs}] {step.run}, {what}: {state}"), err=True)

    def work(self, what: str) -> None:
        click.echo(one_line(what), err=True)


class _Bar:
    """One bar that starts anew with every kind of work: which run of how many, and how much of it is done."""

    def __init__(self, bar: "Progress") -> None:
        self._bar = bar
        self._task = bar.add_task("measuring", total=1.0)

    def step(self, step: "Step") -> None:
        done = 1.0 if step.kind in _ENDS else step.fraction
        what = _ENDS[step.kind].format(epoch=step.epoch) if step.kind in _ENDS else step.kind
        self._bar.update(self._task, completed=done, description=f"[{step.place}/{step.runs}] {step.run}: {what}")

    def work(self, what: str) -> None:
        self._bar.update(self._task, completed=1.0, description=what)


@contextmanager
def listening() -> Iterator[Listener]:
    """A listener that shows progress while the block lasts."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    percent = TextColumn("{task.percentage:>3.0f}%")
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), percent, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _Bar(bar)


@contextmanager
def working() -> Iterator[Callable[[str], None] | None]:
    """In a terminal, says what is being done until it is done."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status("") as status:
        yield lambda what: status.update(escape(what))
