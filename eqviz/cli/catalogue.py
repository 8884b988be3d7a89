"""`eqviz list`: the names that other commands take."""

import rich_click as click


@click.command("list")
@click.argument("what", type=click.Choice(["models", "data", "analyses", "figures"]))
def list_command(what: str) -> None:
    """The models, data sets, analyses (tables) or figures that eqviz knows.

    \b
      eqviz list models
    """
    from eqviz.report.terminal import catalogue

    click.echo(catalogue(what))
