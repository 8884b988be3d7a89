"""Progress on standard error: a bar in a terminal, a line for each step elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import rich_click as click

if TYPE_CHECKING:
    from eqviz.studies.runs import OnStep, Step


@contextmanager
def measuring() -> "Iterator[OnStep]":
    """A listener for the steps of measuring."""
    if not sys.stderr.isatty():
        yield _line
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("measuring", total=1.0)

        def listen(step: "Step") -> None:
            part = {"accuracy": 0.6 * step.fraction, "symmetry": 0.6 + 0.4 * step.fraction}.get(step.kind, 1.0)
            shown = f"{step.run}, epoch {step.epoch}: {step.kind}"
            bar.update(task, completed=(step.place - 1 + part) / step.runs, description=shown)

        yield listen


def _line(step: "Step") -> None:
    if step.kind == "done":
        state = "from the cache" if step.reused else "measured"
        click.echo(f"[{step.place}/{step.runs}] {step.run}, epoch {step.epoch}: {state}", err=True)
