"""`eqviz runs`: what is in a folder."""

import rich_click as click

from eqviz.cli.options import import_option, runs_argument


@click.command()
@runs_argument
@import_option
def runs(ckpt_dir: str, imports: tuple[str, ...]) -> None:
    """What is in CKPT_DIR: every run with its model, input size, group, seed, saved epochs and data.

    \b
      eqviz runs eqviz-demo/runs
    """
    from eqviz.report.terminal import runs_in_words
    from eqviz.studies.extensions import import_modules
    from eqviz.studies.run_folders import find_runs

    import_modules(imports)
    click.echo(runs_in_words(find_runs(ckpt_dir)))
