"""`eqviz analyse`, `eqviz figures`, `eqviz tables`: from checkpoints to results."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import rich_click as click

from eqviz.cli.options import measuring_options, output_option, runs_argument, table_formats
from eqviz.cli.progress import Listener, listening
from eqviz.errors import one_line

if TYPE_CHECKING:
    from eqviz.studies.runs import Runs


@contextmanager
def opened(ckpt_dir: str, options: dict[str, Any]) -> "Iterator[tuple[Runs, Listener]]":
    """The runs of a folder, with progress; says on the way out how much came from the cache."""
    from eqviz.studies.runs import open_runs

    with listening() as listener:
        runs = open_runs(ckpt_dir, on_step=listener.step, **options)
        yield runs, listener
    told = f"{len(runs.checkpoints)} checkpoints, {runs.reused} of them from the cache in {runs.cache.folder}"
    click.echo(one_line(told), err=True)


def command_line() -> str:
    """The command as it was typed, which `run` hands on to the command."""
    context = click.get_current_context(silent=True)
    return str(context.obj if context else "eqviz")


only_tables = click.option(
    "--only", metavar="NAME", multiple=True, help="Make this table only; repeatable. See `eqviz list analyses`."
)


@click.command()
@runs_argument
@click.option("-o", "--output", metavar="DIR", help="Also write the tables as csv to DIR/tables.")
@only_tables
@measuring_options
def analyse(ckpt_dir: str, output: str | None, only: tuple[str, ...], measuring: dict[str, Any]) -> None:
    """Measure every checkpoint in CKPT_DIR and keep the results in its cache.

    \b
      eqviz analyse runs/ --group p4 --only patching_summary --only probes
    """
    from eqviz.report.build import make_tables, write_tables

    with opened(ckpt_dir, measuring) as (runs, listener):
        if output is None:
            make_tables(runs, only=only, on_work=listener.work)
            return
        write_tables(runs, output, ["csv"], only=only, command=command_line(), on_work=listener.work)
    click.echo(f"tables in {output}/tables")


@click.command()
@runs_argument
@output_option("eqviz-report")
@click.option(
    "--only", metavar="NAME", multiple=True, help="Make this figure only; repeatable. See `eqviz list figures`."
)
@click.option(
    "--format", "formats", type=click.Choice(["pdf", "png", "svg"]), multiple=True, default=("pdf", "png"),
    show_default=True, help="Format of the figures; repeatable.",
)  # fmt: skip
@table_formats(("csv", "md", "tex"), "--table-format")
@measuring_options
def figures(
    ckpt_dir: str, output: str, only: tuple[str, ...], formats: tuple[str, ...], table_formats: tuple[str, ...],
    measuring: dict[str, Any],
) -> None:  # fmt: skip
    """Figures, tables and a page that shows them, from the checkpoints in CKPT_DIR. Measures what is not cached.

    \b
      eqviz figures runs/ -o report --format pdf --format png --group p4
    """
    from eqviz.report.build import write_report

    with opened(ckpt_dir, measuring) as (runs, listener):
        written = write_report(
            runs, output, only=only, formats=formats, table_formats=table_formats, command=command_line(),
            on_work=listener.work,
        )  # fmt: skip
    click.echo(f"{len(written)} files in {output}; open {output}/index.html")


@click.command()
@runs_argument
@output_option("eqviz-report")
@only_tables
@table_formats(("csv", "md", "tex"))
@click.option(
    "--digits", metavar="N", type=click.IntRange(1, 17), help="Significant digits of numbers in csv files [all]"
)
@measuring_options
def tables(
    ckpt_dir: str, output: str, only: tuple[str, ...], table_formats: tuple[str, ...], digits: int | None,
    measuring: dict[str, Any],
) -> None:  # fmt: skip
    """Every table, from the checkpoints in CKPT_DIR, and DIR/provenance.json. Measures what is not cached.

    \b
      eqviz tables runs/ -o report --only patching --format csv --format tex
    """
    from eqviz.report.build import write_tables

    with opened(ckpt_dir, measuring) as (runs, listener):
        written = write_tables(
            runs, output, table_formats, only=only, digits=digits, command=command_line(), on_work=listener.work
        )
    click.echo(f"{len(written) - 1} tables in {output}/tables, how they were made in {output}/provenance.json")
