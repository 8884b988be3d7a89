"""`eqviz runs`: what is in a folder."""

import rich_click as click

from eqviz.cli.options import import_option, runs_argument


@click.command()
@runs_argument
@import_option
def runs(ckpt_dir: str, imports: tuple[str, ...]) -> int:
    """What is in CKPT_DIR: every run with its model, input size, group, seed, saved epochs and data; and what could not
    be understood, with the reason. The exit status is 2 where a run cannot be used.

    \b
      eqviz runs eqviz-demo/runs
      eqviz runs checkpoints --import my_models
    """
    from eqviz.report.terminal import survey_in_words
    from eqviz.studies.extensions import import_modules
    from eqviz.studies.finding import survey

    import_modules(imports)
    found = survey(ckpt_dir)
    click.echo(survey_in_words(found))
    return 2 if found.faults or not found.runs else 0
