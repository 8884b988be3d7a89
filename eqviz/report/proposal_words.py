"""What `eqviz init` understood of a folder, in a few lines."""

from collections.abc import Mapping
from itertools import islice

from eqviz.studies.foreign.looking import printable
from eqviz.studies.foreign.proposals import Proposal, Table

_MOST = 10
_OF_ACCURACY = ("normalisation",)
"""Keys whose guesses matter little where no accuracy is measured: they stand in the file alone."""


def proposal_in_words(proposal: Proposal) -> str:
    """Each pattern with its network, what of it is guessed, and which files were left out and why."""
    files = sum(len(table.files) for table in proposal.tables)
    count = len(proposal.tables)
    lines = [f"{files} {_plural('checkpoint', files)} in {count} {_plural('pattern', count)}"]
    for table in proposal.tables:
        lines += _table(table)
    if proposal.left_out:
        lines += ["", "left out:", *_left_out(proposal.left_out)]
    return "\n".join(lines)


def _table(table: Table) -> list[str]:
    values = table.values
    why = next(entry.why for entry in table.entries if entry.key == "model")
    lines = [f"  {printable(values['files'])} ({len(table.files)} {_plural('file', len(table.files))})"]
    if table.missing is None:
        arguments = ", ".join(f"{key}={value!r}" for key, value in values.get("arguments", {}).items())
        why = f"{values['model']}({arguments}), {why}"
    lines.append(f"    model: {printable(why)}")
    lines += [f"    {printable(note)}" for note in table.notes]
    small = () if values.get("data", {}).get("labels", True) else _OF_ACCURACY
    guesses = [entry for entry in table.guesses if entry.key not in small] if table.missing is None else []
    return lines + [f"    guessed: {entry.key} = {printable(_shown(entry.value))}, {entry.why}" for entry in guesses]


def _shown(value: object) -> str:
    """A value without what is beside the point: of data only the source."""
    return str(value["source"] if isinstance(value, Mapping) and "source" in value else value)


def _left_out(left_out: Mapping[str, str]) -> list[str]:
    lines = [f"  {printable(path)}: {printable(why)}" for path, why in islice(left_out.items(), _MOST)]
    return lines + ([f"  and {len(left_out) - _MOST} more"] if len(left_out) > _MOST else [])


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
