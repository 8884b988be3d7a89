"""A proposal as the text of an `eqviz.toml`, with a comment for every key that needs one."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eqviz.errors import EqvizError
from eqviz.studies.atomic import replacing
from eqviz.studies.foreign.descriptions import DESCRIPTION, FORMAT, read_descriptions
from eqviz.studies.foreign.looking import printable
from eqviz.studies.foreign.proposals import Entry, Proposal, Table

_HEADER = """\
# What eqviz understands of the checkpoints in this folder. `eqviz runs` on it shows the same in words, and what is
# not understood. Check above all what is marked as guessed; correct it here.
#
# Each table [[runs]] is one network: its files, how it is built, and what it was trained on. In `files`, {seed},
# {epoch} and {size} are numbers and {label} is the name of the network in tables and figures; * is anything.
"""
_WIDTH, _LONGEST = 110, 500
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f"}


def write_proposal(proposal: Proposal, *, force: bool = False) -> Path:
    """Write the `eqviz.toml` of a proposal, whole or not at all; returns its path.

    Raises EqvizError where there is one already, unless `force`.
    """
    path = proposal.root / DESCRIPTION
    check_free(proposal.root, force=force)
    with replacing(path) as beside:
        beside.write_text(proposal_as_toml(proposal), encoding="utf-8")
        read_descriptions(beside)  # what cannot be read again is not worth writing
    return path


def check_free(root: Path, *, force: bool = False) -> None:
    """Raise EqvizError where a folder has an `eqviz.toml` that must not be replaced."""
    path = root / DESCRIPTION
    if path.is_dir():
        raise EqvizError(str(path), expected="a place for a file", found="a folder", fix="move it away")
    if not force and (path.exists() or path.is_symlink()):
        raise EqvizError(
            str(path), expected="no such file yet", found="one that may have been edited",
            fix="edit it, look at another proposal with --dry-run, or replace it with --force",
        )  # fmt: skip


def proposal_as_toml(proposal: Proposal) -> str:
    """The text of the file.

    Nothing that a file name or a checkpoint says can end a comment or a text early.
    """
    parts = [_HEADER + f"\nformat = {FORMAT}\n"]
    parts += [_table(table) for table in proposal.tables]
    if proposal.left_out:
        shown = [f"# {printable(path)}: {printable(why)}"[:_LONGEST] for path, why in proposal.left_out.items()]
        more = [f"# and {len(shown) - 100} more"] if len(shown) > 100 else []
        parts.append("\n".join(["# Not described:", *shown[:100], *more, ""]))
    return "\n".join(parts)


def _table(table: Table) -> str:
    lines = [_comment(note) for note in table.notes]
    lines.append("[[runs]]")
    for entry in table.entries:
        lines += _entry(entry)
    if table.fields:
        lines += ["# how the group acts on layers that do not say it, by evidence", "[runs.fields]"]
        for entry in table.fields:
            lines += _entry(entry)
    lines += [_comment(told) for told in table.undecided]
    return "\n".join([*lines, ""])


def _entry(entry: Entry) -> list[str]:
    """The line of an entry with its reason, which stands above it where it is long."""
    line = f"{'# ' if entry.hint else ''}{_key(entry.key)} = {_value(entry.value)}"
    why = " ".join(filter(None, ["guessed:" if entry.guessed else "", entry.why]))
    if not why:
        return [line]
    beside = f"{line}  {_comment(why)}"
    return [beside] if len(beside) <= _WIDTH else [_comment(why), line]


def _comment(text: str) -> str:
    return f"# {printable(' '.join(text.split()))}"[:_LONGEST]


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(str(key))} = {_value(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    return repr(value)  # whole numbers and floats, nan and inf too, are written as in Python


def _text(text: str) -> str:
    """A basic string of TOML: quotes, backslashes and everything that is no printing character escaped."""
    return '"' + "".join(_ESCAPES.get(sign) or (sign if sign.isprintable() else _code(sign)) for sign in text) + '"'


def _code(sign: str) -> str:
    return f"\\u{ord(sign):04x}" if ord(sign) < 0x10000 else f"\\U{ord(sign):08x}"
