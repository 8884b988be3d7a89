"""`eqviz demo`: the tour, from training to figures."""

import os

import rich_click as click

from eqviz.cli.options import output_option
from eqviz.cli.progress import training_line
from eqviz.cli.study import command_line, opened


@click.command()
@output_option("eqviz-demo")
def demo(output: str) -> None:
    """Train small networks on scikit-learn's digits and make every figure: one pixel of input size decides.

    Writes DIR/runs (checkpoints) and DIR/report (figures and tables). Run again, it goes on where it stopped.

    \b
      eqviz demo -o eqviz-demo
    """
    from eqviz.report.build import writable_folder, write_report
    from eqviz.report.terminal import networks_in_words
    from eqviz.studies.recipes import demo_recipe
    from eqviz.studies.training import train_recipe

    writable_folder(f"{output}/report")
    jobs = min(4, os.cpu_count() or 1)
    train_recipe(
        demo_recipe(), f"{output}/runs", resume=True, device="cpu", jobs=jobs,
        progress=training_line,
    )  # fmt: skip
    with opened(f"{output}/runs", {"device": "cpu", "jobs": jobs}) as (runs, listener):
        written = write_report(runs, f"{output}/report", command=command_line(), on_work=listener.work)
        summary = networks_in_words(runs.networks())
    click.echo(summary)
    click.echo(f"{len(written)} files in {output}/report; open {output}/report/index.html")
