"""`eqviz list`: the names that other commands take."""

import rich_click as click

from eqviz.cli.options import import_option


@click.command("list")
@click.argument("what", type=click.Choice(["models", "data", "analyses", "figures"]))
@import_option
def list_command(what: str, imports: tuple[str, ...]) -> None:
    """The models, data sets, analyses (tables) or figures that eqviz knows.

    Models are eqviz's own, those that installed packages offer, and those of your modules.

    \b
      eqviz list models
      eqviz list models --import my_models
    """
    from eqviz.report.terminal import catalogue
    from eqviz.studies.extensions import import_modules

    import_modules(imports)
    click.echo(catalogue(what))
