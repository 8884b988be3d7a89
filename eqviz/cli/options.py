"""Options that several commands share, each bundle in one decorator."""

import functools
from collections.abc import Callable
from typing import Any

import rich_click as click

Command = Callable[..., Any]


import_option = click.option(
    "--import", "imports", metavar="MODULE", multiple=True,
    help="Import a module of yours first, which registers models; repeatable.",
)  # fmt: skip

device_option = click.option("--device", metavar="D", default="auto", help="auto, cpu, cuda or mps [auto]")


def _count(name: str, default: int, help: str) -> Callable[[Command], Command]:
    return click.option(name, metavar="N", type=click.IntRange(min=1), default=default, help=f"{help} [{default}]")


def _not_zero(context: click.Context, option: click.Parameter, value: int) -> int:
    if value == 0:
        raise click.BadParameter("0 is neither -1 nor 1 or more.")
    return value


_EVERY = ("10", "30", "90")
"""Degrees that lead through all four quarter turns."""


def _angles(context: click.Context, option: click.Parameter, value: str) -> tuple[float, ...]:
    return tuple(float(angle) for angle in range(0, 360, int(value)))


def _fill(context: click.Context, option: click.Parameter, value: str) -> float | str:
    if value == "trained":
        return value
    number: float = click.FloatRange(0, 1)(value, option, context)
    return number


_MEASURING = (
    "group", "data", "limit", "orbit_images", "analysis_images", "layers", "angles", "fill", "mask", "balanced",
    "published", "epochs", "device", "jobs", "imports",
)  # fmt: skip
"""The options in `measuring`, by the names of their settings; beside them `--data-root`, there called `root`."""


def measuring_options(command: Command) -> Command:
    """What to measure, and on what. The command gets a dictionary `measuring`."""
    options: list[Callable[[Command], Command]] = [
        click.option("--group", metavar="G", help="Group to measure under: p4, p4m, C4, D4, D2, C8 [each run's own]"),
        click.option("--data", metavar="NAME|PATH", help="Test images: a data set, folder or .npz [each run's own]"),
        click.option("--data-root", metavar="DIR", help="Folder with the files of a named data set."),
        _count("--limit", 1000, "Test images for the accuracy, spread evenly over the classes."),
        _count("--orbit-images", 128, "How many of them are followed through the layers."),
        click.option(
            "--analysis-images", metavar="N", type=click.IntRange(min=1),
            help="Images for each analysis in depth, such as patching or probes [each its own number]",
        ),
        click.option("--layers", metavar="GLOB", default="*", help="Layers to follow, such as 'conv*,pool' [*]"),
        click.option(
            "--every", "angles", metavar="DEG", type=click.Choice(list(_EVERY)), default="10", callback=_angles,
            help="Degrees between the rotations that the accuracy is measured at: 10, 30 or 90 [10]",
        ),
        click.option(
            "--fill", metavar="V|trained", default="0", callback=_fill,
            help="What turns in from outside a rotated picture: 0 black to 1 white, or as in training [0]",
        ),
        click.option("--mask", is_flag=True, help="Hide everything outside the inscribed disc."),
        click.option(
            "--balanced", is_flag=True,
            help="Accuracy balanced over the classes, the mean of theirs, in summaries and figures.",
        ),
        click.option("--published", metavar="FILE", help="Published numbers (csv) to compare with, and to draw."),
        click.option("--epochs", type=click.Choice(["last", "all"]), default="last", help="Saved epochs [last]"),
        device_option,
        click.option(
            "--jobs", metavar="N", type=click.IntRange(min=-1), callback=_not_zero, default=1,
            help="Checkpoints measured at a time; -1 for one a core [1]",
        ),
        import_option,
    ]  # fmt: skip

    @functools.wraps(command)
    def wrapped(**values: Any) -> Any:
        measuring = {name: values.pop(name) for name in _MEASURING}
        measuring["root"] = values.pop("data_root")
        return command(measuring=measuring, **values)

    decorated: Command = wrapped
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


runs_argument = click.argument("ckpt_dir", type=click.Path())


def output_option(default: str) -> Callable[[Command], Command]:
    """`-o DIR` with a default."""
    return click.option("-o", "--output", metavar="DIR", default=default, show_default=True, help="Where to write.")


def table_formats(default: tuple[str, ...], flag: str = "--format") -> Callable[[Command], Command]:
    """`--format csv|md|tex`, repeatable."""
    return click.option(
        flag, "table_formats", type=click.Choice(["csv", "md", "tex"]), multiple=True, default=default,
        show_default=True, help="Format of the tables; repeatable.",
    )  # fmt: skip
