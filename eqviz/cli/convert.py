"""`eqviz convert`: files that are not read safely, made into files that are; only for those who trust them."""

from pathlib import Path

import rich_click as click

from eqviz.errors import EqvizError


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--trust", is_flag=True, help="You know who made FILE: whatever code is in it may run, with your rights.")
@click.option("-o", "--output", metavar="OUT", type=click.Path(path_type=Path), help="Where to write [beside FILE]")
@click.option("--weights", metavar="PLACE", help="Which weights, of several in FILE, such as ema [the best]")
def convert(file: Path, trust: bool, output: Path | None, weights: str | None) -> None:
    """Write the weights in FILE as safetensors, which every command reads, with its settings and epoch.

    For files of torch.save that hold more than tensors and plain values: whole models, objects of other packages. To
    read those, Python has to import and run what the file says. eqviz does so nowhere else, and here only with --trust.
    An existing file is never overwritten.

    \b
      eqviz convert --trust whole-model.pth
      eqviz convert --trust last.ckpt -o last.safetensors --weights ema
    """
    if not trust:
        raise EqvizError(
            "convert", expected="--trust", found="none",
            fix=f"unpickling {file} may run any code that is in it, so say --trust only if you know who made it",
        )  # fmt: skip
    from eqviz.checkpoints.conversion import convert as convert_file

    click.echo(f"{convert_file(file, output, weights=weights)}: written")
