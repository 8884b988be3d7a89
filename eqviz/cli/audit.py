"""`eqviz audit`: which operation will break the symmetry, what survives, which sizes are safe."""

import os
import shutil
import sys
from contextlib import redirect_stdout
from typing import Any

import rich_click as click

from eqviz.cli.options import device_option, import_option
from eqviz.cli.progress import working


@click.command()
@click.argument("target")
@click.option("--input-size", metavar="N|HxW", help="Size of the images [a run's own]; a model's name needs it.")
@click.option("--group", metavar="G", help="Group to audit under: p4, p4m, C4, D4, D2, ... [the network's own]")
@click.option("--sizes", metavar="A:B", help="Also say which square sizes from A to B are safe; both are included.")
@click.option("--verify", is_flag=True, help="Measure too, in float32 and float64, as it is and with random weights.")
@click.option(
    "--fix", type=click.Choice(["pad", "resize"]),
    help="Also audit the network with its input padded or resized to the nearest safe size.",
)  # fmt: skip
@click.option(
    "--infer-fields",
    "infer",
    is_flag=True,
    help="Find by evidence how the group acts on layers that do not say it, and audit with that.",
)
@click.option("--channels", metavar="N", type=click.IntRange(min=1), help="Channels of the images [the network's own]")
@click.option("--epoch", metavar="N", type=click.IntRange(min=0), help="Saved epoch of a run [the last]")
@click.option(
    "--set", "settings", metavar="KEY=VALUE", multiple=True,
    help="Argument to build the model with, such as head=flatten; repeatable.",
)  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="List the operations and layers that are exact too.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object (schema 1) and nothing else.")
@device_option
@import_option
def audit(
    target: str, settings: tuple[str, ...], epoch: int | None, imports: tuple[str, ...], everything: bool,
    as_json: bool, **options: Any,
) -> int:  # fmt: skip
    """Will TARGET break the symmetry, and where? It is traced once, without images; nothing is trained.

    TARGET is a folder of runs (every network in it, with its trained weights) or the name of a model: a registered
    one (`eqviz list models`), or a class or function in a module given with --import, with random weights.

    \b
      eqviz audit p4resnet44 --input-size 32
      eqviz audit p4resnet44 --input-size 32 --sizes 28:41 --fix resize
      eqviz audit eqviz-demo/runs --verify
      eqviz audit MyNet --import my_models --input-size 64 --json

    Exit status: 0 exact, 3 approximate (a symmetry is broken), 4 undecided (something could not be predicted, or
    prediction and measurement disagree), 2 for a mistake in the command; of several networks, the highest.
    """
    from eqviz.report.audit_json import audits_as_json, worst_status
    from eqviz.report.audit_words import audits_in_words
    from eqviz.report.verdict_words import disagreements_in_words
    from eqviz.studies.target_audits import audit_targets, read_options
    from eqviz.studies.targets import find_targets, parse_arguments

    asked = read_options(**options)
    with redirect_stdout(sys.stderr), working() as progress:  # networks may print, and are not to spoil the result
        targets = find_targets(
            target, arguments=parse_arguments(settings), channels=options["channels"], epoch=epoch, imports=imports
        )
        found = audit_targets(targets, **asked, progress=progress)
    for line in (line for one in found for line in disagreements_in_words(one)):
        click.secho(f"eqviz: DISAGREEMENT: {line}", err=True, fg="red", bold=True)
    if as_json:
        click.echo(audits_as_json(found))
    else:
        click.echo(audits_in_words(found, **_terminal(), everything=everything))
    return worst_status(found)


def _terminal() -> dict[str, Any]:
    """Width and colour of standard output: unbroken and plain unless it is a terminal; NO_COLOR is respected."""
    if not sys.stdout.isatty():
        return {"width": None, "colour": False}
    colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return {"width": shutil.get_terminal_size().columns, "colour": colour}
