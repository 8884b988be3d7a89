"""Draws the gallery: every figure from the tables that lie beside it, and the page that shows them.

    python figures/gallery.py              # what `make figures` runs
    python figures/gallery.py --only 02    # one experiment; the page is written again all the same

Nothing is trained or measured, and torch is not needed. The same tables give the same files, byte for byte.
"""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from demo import DEMO
from entries import Entry, Experiment
from matplotlib.figure import Figure
from page import page
from paper import PAPER
from reading import FOLDER, NoTableError, Results

from eqviz.plots.labels import Network, networks
from eqviz.plots.theme import theme

EXPERIMENTS: tuple[Experiment, ...] = (DEMO, *PAPER)
METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""Of each format of the pictures: without dates and versions, so that the same tables give the same files."""


def results(folder: Path = FOLDER) -> dict[str, Results]:
    """The results of every experiment that has tables, by its slug."""
    found = {one.slug: Results(folder / one.slug) for one in EXPERIMENTS}
    return {slug: result for slug, result in found.items() if result.names}


def styles(found: dict[str, Results]) -> tuple[Network, ...]:
    """One look for every network, the same in all figures, from the networks of all experiments."""
    listed = [result.table("networks", every_epoch=True) for result in found.values() if "networks" in result.names]
    return networks(pd.concat(listed, ignore_index=True)) if listed else ()


def draw(entry: Entry, result: Results, looks: Sequence[Network]) -> dict[str, bytes]:
    """The files of a figure, by their names. Raises NoTableError for tables that are not there."""
    with theme():
        made = entry.figure(result, looks)
        if entry.lettered:
            letter(made)
        files = {}
        for ending, metadata in METADATA.items():
            buffer = io.BytesIO()
            made.savefig(buffer, format=ending, metadata=metadata)
            files[f"{entry.name}.{ending}"] = buffer.getvalue()
    return files


def letter(made: Figure) -> None:
    """Letters before the titles of the panels of a figure, unless it has one panel, or letters already."""
    panels = [ax for ax in made.axes if ax.get_visible() and ax.axison and ax.get_label() != "<colorbar>"]
    titles = [ax.get_title(loc="left") for ax in panels]
    if len(panels) < 2 or any(title.startswith("$\\mathbf") for title in titles):
        return
    for place, (ax, title) in enumerate(zip(panels, titles, strict=True)):
        sign = f"$\\mathbf{{{chr(ord('a') + place)}}}$"
        if title:
            # set_title would change its size and its distance from the panel
            ax._left_title.set_text(f"{sign}  {title}")  # type: ignore[attr-defined]  # matplotlib has no public name
        else:
            ax.annotate(
                sign, (0, 1), xytext=(-22, 4), xycoords="axes fraction", textcoords="offset points", va="bottom"
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the figures whose tables are there, and write the page."""
    parser = argparse.ArgumentParser(description="Draw the gallery again from its tables.")
    parser.add_argument("--only", metavar="NN", help="the experiment that starts so, such as 02")
    parser.add_argument("--tables", metavar="DIR", type=Path, default=FOLDER, help="where the tables are [figures]")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, default=FOLDER, help="where to write [figures]")
    chosen = parser.parse_args(arguments)
    found = results(chosen.tables)
    looks = styles(found)
    for experiment in EXPERIMENTS:
        if chosen.only and not experiment.slug.startswith(chosen.only):
            continue
        if experiment.slug not in found:
            say(f"{experiment.slug}: no tables yet; `{experiment.command}` computes them")
            continue
        target = chosen.output / experiment.slug
        target.mkdir(parents=True, exist_ok=True)
        for entry in experiment.figures:
            try:
                files = draw(entry, found[experiment.slug], looks)
            except NoTableError as missing:
                say(f"{experiment.slug}/{entry.name}: left out, {missing}")
                continue
            for name, content in files.items():
                (target / name).write_bytes(content)
    (chosen.output / "README.md").write_text(page(EXPERIMENTS, found), encoding="utf-8")
    return 0


def say(line: str) -> None:
    """A line for whoever runs this."""
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
