"""`eqviz init`: a description of checkpoints that eqviz did not write."""

import shlex
import sys
from contextlib import redirect_stdout
from pathlib import Path

import rich_click as click

from eqviz.cli.options import import_option, runs_argument
from eqviz.cli.progress import working


@click.command()
@runs_argument
@click.option("--model", metavar="NAME", help="The network of all checkpoints: a registered name, or one of --import.")
@click.option(
    "--set", "settings", metavar="KEY=VALUE", multiple=True,
    help="Argument to build the model with, such as head=flatten; repeatable.",
)  # fmt: skip
@click.option("--input-size", metavar="N|HxW", help="Size of the images [by the files, else guessed]")
@click.option("--group", metavar="G", help="Group to measure under: p4, p4m, C4, ... [the network's own, else C4]")
@click.option("--data", metavar="NAME|PATH", help="What it was trained on: a data set, folder or .npz [by the files]")
@click.option("--data-root", metavar="DIR", help="Folder with the files of a named data set.")
@click.option(
    "--infer-fields", "infer", is_flag=True,
    help="Find by evidence how the group acts on layers that do not say it, and write it down.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace an eqviz.toml that is there.")
@click.option("--dry-run", is_flag=True, help="Write the description to standard output instead.")
@import_option
def init(
    ckpt_dir: str, model: str | None, settings: tuple[str, ...], input_size: str | None, group: str | None,
    data: str | None, data_root: str | None, infer: bool, force: bool, dry_run: bool, imports: tuple[str, ...],
) -> None:  # fmt: skip
    """Look at the checkpoints in CKPT_DIR and write CKPT_DIR/eqviz.toml, which says what they are.

    Names of files, of tensors and their shapes, and settings that the files hold tell the network, its arguments,
    seeds, epochs, input sizes and data. What is only a guess is marked as one. Nothing in the files is run.

    \b
      eqviz init checkpoints
      eqviz init checkpoints --import my_models --data cifar10
      eqviz init checkpoints --import my_models --model MyNet --set width=16 --input-size 32 --dry-run
    """
    from eqviz.report.proposal_words import proposal_in_words
    from eqviz.studies.extensions import import_modules
    from eqviz.studies.foreign.proposals import Asked
    from eqviz.studies.foreign.proposing import propose
    from eqviz.studies.foreign.writing import check_free, proposal_as_toml, write_proposal
    from eqviz.studies.run_folders import existing_folder
    from eqviz.studies.sizes import parse_size
    from eqviz.studies.targets import parse_arguments

    import_modules(imports)
    if not dry_run:
        check_free(existing_folder(Path(ckpt_dir)), force=force)
    asked = Asked(
        model or "", None, parse_arguments(settings),
        None if input_size is None else parse_size(input_size, "--input-size"), group, data, data_root, infer,
    )  # fmt: skip
    with redirect_stdout(sys.stderr), working() as tell:  # networks may print, and are not to spoil the result
        found = propose(ckpt_dir, asked, tell)
    click.echo(proposal_in_words(found), err=dry_run)
    if dry_run:
        click.echo(proposal_as_toml(found), nl=False)
        return
    path = write_proposal(found, force=force)
    again = [part for name in imports for part in ("--import", name)]
    click.echo(f"wrote {path}; next: {shlex.join(['eqviz', 'runs', ckpt_dir, *again])}")
