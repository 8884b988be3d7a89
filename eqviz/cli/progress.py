"""Progress on standard error: a bar in a terminal, a line for each step elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import rich_click as click

if TYPE_CHECKING:
    from rich.progress import Progress

    from eqviz.studies.stepping import Step

_RUNS, _TWINS = 0.6, 0.3
"""The shares of the bar that measuring the runs and their untrained twins have; the rest is drawing."""


class Listener(Protocol):
    """Told of the steps of measuring, and in a few words of the work that comes after."""

    def step(self, step: "Step") -> None:
        """A step of measuring."""

    def work(self, what: str) -> None:
        """Work after measuring, such as `drawing accuracy_overview`."""


class _Lines:
    def step(self, step: "Step") -> None:
        what = {"done": f"epoch {step.epoch}", "twin done": "untrained twin"}.get(step.kind)
        if what is not None:
            state = "from the cache" if step.reused else "measured"
            click.echo(f"[{step.place}/{step.runs}] {step.run}, {what}: {state}", err=True)

    def work(self, what: str) -> None:
        click.echo(what, err=True)


class _Bar:
    def __init__(self, bar: "Progress") -> None:
        self._bar = bar
        self._task = bar.add_task("measuring", total=1.0)

    def step(self, step: "Step") -> None:
        part = {"symmetry": 0.4 * step.fraction, "accuracy": 0.4 + 0.6 * step.fraction, "done": 1.0}.get(step.kind)
        share = (step.place - 1 + (step.fraction if part is None else part)) / step.runs
        if part is not None:
            self._show(_RUNS * share, f"{step.run}, epoch {step.epoch}: {step.kind}")
        elif step.kind == "sizes":
            self._show(_RUNS + _TWINS, f"{step.run}: other input sizes")
        else:
            self._show(_RUNS + _TWINS * share, f"{step.run}: untrained twin")

    def work(self, what: str) -> None:
        self._show(_RUNS + _TWINS, what)

    def _show(self, done: float, what: str) -> None:
        self._bar.update(self._task, completed=done, description=what)


@contextmanager
def listening() -> Iterator[Listener]:
    """A listener that shows progress while the block lasts."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    percent = TextColumn("{task.percentage:>3.0f}%")
    columns = (TextColumn("{task.description}"), BarColumn(), percent, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _Bar(bar)
