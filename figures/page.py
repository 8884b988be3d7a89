"""The page of the gallery, figures/README.md: claims, experiments, figures, numbers beside the paper's."""

from collections.abc import Mapping, Sequence

from claims import CLAIMS, Claim
from entries import Entry, Experiment
from reading import NoTableError, Results

from eqviz.plots.labels import network_label

HEAD = """# The gallery

Every figure on this page is drawn by `make figures` from the csv tables that lie beside it, in well under a minute and
without torch. The tables were computed from checkpoints by one command an experiment (`make results-02 DATA=folder`),
which trains the networks of a recipe in [analyses](../analyses) and measures them; `provenance.json` beside them says
with which versions, when, on what, and from which weights. A pdf lies beside every png. The numbers in what was
shown are computed from the tables, and the tests hold the claims against them.

Networks look the same in all figures: P4 is blue, P4M red to amber, plain networks (Z2) black and grey; exact sizes are
dark with a solid line, misfitting ones lighter and dashed.
"""

PAPER = "[the paper](https://arxiv.org/abs/2308.11316)"


def page(experiments: Sequence[Experiment], found: Mapping[str, Results]) -> str:
    """The whole page, as Markdown."""
    parts = [HEAD, *_claims(found)]
    for experiment in experiments:
        parts += _section(experiment, found.get(experiment.slug))
    return "\n".join(parts).rstrip() + "\n"


def _claims(found: Mapping[str, Results]) -> list[str]:
    head = ["## What was shown, claim by claim\n", f"The claims are those of {PAPER}.\n"]
    return [*head, *(_claim(claim, found) for claim in CLAIMS)]


def _claim(claim: Claim, found: Mapping[str, Results]) -> str:
    """A claim, what was shown of it and what was not."""
    lines = []
    for slug, check in claim.checks:
        try:
            finding = check(found[slug])
        except (KeyError, NoTableError):
            continue
        sign = "shown" if finding.holds else "**not shown**"
        lines.append(f"- {sign} ([{slug[:2]}](#{anchor(slug)})): {finding.sentence}")
    left = f"- not shown here: {claim.left}"
    return "\n".join([f"**{claim.name}. {claim.text}**\n", *(lines or ["- no results yet"]), left, ""])


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
    """Our numbers beside the paper's: accuracy in %, mean and standard deviation over seeds."""
    try:
        rows = result.table("published_comparison")
    except NoTableError:
        return []
    lines = [
        f"Accuracy in %, mean ± standard deviation over seeds: here, and in {PAPER}; in bold where our mean lies "
        "inside the published 95% interval.\n",
        "| training | network | metric | here | seeds | published | seeds | difference |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows.to_dict("records"):
        ours = f"{100 * row['mean']:.2f}" + ("" if row["std"] != row["std"] else f" ± {100 * row['std']:.2f}")
        lines.append(
            f"| {row['regime']} | {network_label(row['model'], row['input_size'])} | {row['metric']} "
            f"| {f'**{ours}**' if row['within'] else ours} | {row['n_seeds']} "
            f"| {100 * row['published_mean']:.2f} ± {100 * row['published_std']:.2f} | {row['published_n_seeds']} "
            f"| {100 * row['difference']:+.2f} |"
        )
    return [*lines, ""]
