"""The page of the gallery, figures/README.md: claims, experiments, figures, numbers beside the paper's."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from claims import CLAIMS, Claim
from entries import Entry, Experiment
from reading import NoTableError, Results

from eqviz.plots.labels import network_label, seeds_label
from eqviz.plots.regimes import in_order

HEAD = """# The gallery

Every figure on this page is drawn by `make figures` from the csv tables that lie beside it, in well under a minute and
without torch. The tables were computed from checkpoints by one command an experiment (`make results-02 DATA=folder`),
which trains the networks of a recipe in [analyses](../analyses) and measures them; `provenance.json` beside them says
with which versions, when, on what, and from which weights. A pdf lies beside every png. The numbers in what was
shown are computed from the tables, and the tests hold the claims against them.

Networks look the same in all figures: P4 is blue, P4M red to amber, plain networks (Z2) black and grey; exact sizes are
dark with a solid line, misfitting ones lighter and dashed.
"""

_WIDTH = 120

PAPER = "[the paper](https://arxiv.org/abs/2308.11316)"


def page(experiments: Sequence[Experiment], found: Mapping[str, Results]) -> str:
    """The whole page, as Markdown."""
    parts = [HEAD, *_claims(found)]
    for experiment in experiments:
        parts += _section(experiment, found.get(experiment.slug))
    lines = "\n".join(parts).rstrip().split("\n")
    return "\n".join(wrapped(line) for line in lines) + "\n"


def wrapped(line: str) -> str:
    """A line of text or of a list, broken at 120 letters; tables, headings and pictures stay as they are."""
    if re.match(r"[|#<!]", line) or len(line) <= _WIDTH:
        return line
    indent = "  " if line.startswith("- ") else ""
    return textwrap.fill(line, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _claims(found: Mapping[str, Results]) -> list[str]:
    head = ["## What was shown, claim by claim\n", f"The claims are those of {PAPER}.\n"]
    return [*head, *(_claim(claim, found) for claim in CLAIMS)]


def _claim(claim: Claim, found: Mapping[str, Results]) -> str:
    """A claim, what was shown of it and what was not."""
    lines = []
    waiting = dict.fromkeys(slug for slug, _ in claim.checks if slug not in found)
    for slug, check in claim.checks:
        if slug in waiting:
            continue
        place = f"([{slug[:2]}](#{anchor(slug)}))"
        try:
            finding = check(found[slug])
        except NoTableError as missing:
            lines.append(f"- **not computed** {place}: {missing}")
            continue
        lines.append(f"- {'shown' if finding.holds else '**not shown**'} {place}: {finding.sentence}")
    later = [f"- no results yet ([{slug[:2]}](#{anchor(slug)}))" for slug in waiting]
    left = f"- not shown here: {claim.left}"
    return "\n".join([f"**{claim.name}. {claim.text}**\n", *lines, *later, left, ""])


def anchor(slug: str) -> str:
    """The place of an experiment on the page."""
    return f"experiment-{slug[:2]}"


def _section(experiment: Experiment, result: Results | None) -> list[str]:
    head = [
        f'<a id="{anchor(experiment.slug)}"></a>\n',
        f"## {experiment.slug[:2]} {experiment.title}\n",
        f"**{experiment.question}**\n",
        f"{experiment.design}\n",
    ]
    if result is None:
        return [*head, f"No results yet: `{experiment.command}` computes them.\n"]
    shown = [text for entry in experiment.figures if (text := _figure(experiment, entry, result))]
    return [*head, _made(experiment, result), *_beside_published(result), *shown]


def _made(experiment: Experiment, result: Results) -> str:
    """By which commands the tables were made, when and with what."""
    record = result.record
    lines = [f"Tables and figures: `{experiment.command}`, then `make figures`."]
    if record:
        environment = record["environment"]
        packages = environment["packages"]
        lines.append(
            f"Measured on {environment['created'][:10]} with eqviz {environment['eqviz']}, torch {packages['torch']} "
            f"({len(record['runs'])} runs, {len(record['seeds'])} seed{'s' if len(record['seeds']) != 1 else ''}): "
            f"[provenance.json]({experiment.slug}/provenance.json)."
        )
        lines += [f"Note: {remark}" for remark in record["remarks"]]
    printed = sorted(path.name for path in (result.folder / "tables").glob("*_table.*"))
    if printed:
        links = ", ".join(f"[{name}]({experiment.slug}/tables/{name})" for name in printed)
        lines.append(f"For print: {links}.")
    return "\n".join(lines) + "\n"


def _figure(experiment: Experiment, entry: Entry, result: Results) -> str:
    try:
        caption = entry.caption(result)
        for name in entry.also:
            result.table(name)
    except NoTableError:
        return ""
    place = f"{experiment.slug}/{entry.name}"
    return f"### {entry.title}\n\n![{entry.title}]({place}.png)\n\n{caption} ([pdf]({place}.pdf))\n"


def _beside_published(result: Results) -> list[str]:
    """Our numbers beside the paper's: accuracy in %, mean and standard deviation over seeds; a row a network."""
    try:
        rows = result.table("published_comparison")
    except NoTableError:
        return []
    rows = rows[rows["published_n_seeds"] == rows["published_n_seeds"].mode().max()]
    metrics = list(dict.fromkeys(rows["metric"]))
    regimes = in_order([str(regime) for regime in rows["regime"]])
    ordered = rows.sort_values("regime", key=lambda column: column.map(regimes.index), kind="stable")
    lines = [
        f"Accuracy in %, mean ± standard deviation over {seeds_label(rows['n_seeds'])} here, and below it in {PAPER}, "
        f"over {seeds_label(rows['published_n_seeds'])}; in bold where our mean lies inside the published 95% interval "
        f"({int(rows['within'].sum())} of {len(rows)}).\n",
        f"| training | network | | {' | '.join(metrics)} |",
        f"|---|---|---|{'---|' * len(metrics)}",
    ]
    for (regime, model, size), part in ordered.groupby(["regime", "model", "input_size"], sort=False):
        by_metric = {row["metric"]: row for row in part.to_dict("records")}
        cells = [by_metric.get(metric) for metric in metrics]
        name = network_label(str(model), size if isinstance(size, int | str) else int(size))
        lines.append(f"| {regime} | {name} | here | {' | '.join(_cell(cell, '') for cell in cells)} |")
        lines.append(f"| | | published | {' | '.join(_cell(cell, 'published_') for cell in cells)} |")
    return [*lines, ""]


def _cell(row: Mapping[Any, Any] | None, prefix: str) -> str:
    """Mean and standard deviation in %; ours in bold where it lies inside the published interval."""
    if row is None:
        return ""
    mean, std = row[f"{prefix}mean"], row[f"{prefix}std"]
    text = f"{100 * mean:.2f}" + ("" if pd.isna(std) else f" ± {100 * std:.2f}")
    return f"**{text}**" if not prefix and row["within"] else text
