"""`eqviz train`: from a recipe to a folder of runs."""

import rich_click as click

from eqviz.cli.options import device_option, import_option
from eqviz.cli.progress import training_line


@click.command()
@click.argument("recipe", type=click.Path())
@click.option("-o", "--output", metavar="CKPT_DIR", required=True, help="Folder for the runs, one folder each.")
@click.option(
    "--preset",
    type=click.Choice(["quick", "paper", "tiny"]),
    help="Values that the recipe offers: quick takes minutes on a few cores, tiny seconds.",
)
@click.option("--data-root", metavar="DIR", help="Folder with the files of a named data set.")
@click.option("--resume", is_flag=True, help="Go on with runs that were interrupted.")
@device_option
@click.option("--jobs", metavar="N", type=click.IntRange(min=1), default=1, show_default=True, help="Runs at a time.")
@click.option(
    "--devices", metavar="N", type=click.IntRange(min=1), default=1, show_default=True,
    help="GPUs that share every batch of a run.",
)  # fmt: skip
@click.option(
    "--workers", metavar="N", type=click.IntRange(min=0), default=0, show_default=True,
    help="Processes, for each device, that read pictures which memory cannot hold (ImageNet).",
)  # fmt: skip
@import_option
def train(
    recipe: str, output: str, preset: str | None, data_root: str | None, resume: bool, device: str, jobs: int,
    devices: int, workers: int, imports: tuple[str, ...],
) -> None:  # fmt: skip
    """Train every model, input size and seed of RECIPE, a TOML file. Finished runs are skipped.

    \b
      eqviz train analyses/02_mnist_rotation.toml -o runs --preset quick
    """
    from eqviz.studies.extensions import import_modules
    from eqviz.studies.recipes import load_recipe
    from eqviz.studies.training import train_recipe

    import_modules(imports)
    chosen = load_recipe(recipe, preset)
    if data_root is not None:
        chosen = chosen.with_data_root(data_root)
    trained = train_recipe(
        chosen, output, resume=resume, device=device, devices=devices, workers=workers, jobs=jobs,
        progress=training_line,
    )  # fmt: skip
    click.echo(f"{len(trained)} runs in {output}; next: eqviz figures {output}")
