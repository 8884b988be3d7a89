"""What is proposed for an `eqviz.toml`: tables of entries, each with its reason and how sure it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from eqviz.studies.foreign.descriptions import DESCRIPTION, FORMAT, Description, parse_descriptions
from eqviz.studies.foreign.networks import NotFound


@dataclass(frozen=True)
class Asked:
    """What a user says of a folder beforehand; None and empty where eqviz is to find out.

    `constructor` makes the networks in place of a model by name; `infer_fields` has field types found by evidence.
    """

    model: str = ""
    constructor: Callable[..., Any] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    input_size: tuple[int, int] | None = None
    group: str | None = None
    data: str | None = None
    data_root: str | None = None
    infer_fields: bool = False


@dataclass(frozen=True)
class Entry:
    """One key of a table, its value, and why it is that.

    `guessed` where it is no more than likely; a `hint` is written as a comment.
    """

    key: str
    value: Any
    why: str = ""
    guessed: bool = False
    hint: bool = False


@dataclass(frozen=True)
class Table:
    """One table [[runs]] for some `files`: its entries in their order, and `fields`, from layers to field types.

    `notes` stand above it, `undecided` below; `missing` is set where no network was found for it.
    """

    files: tuple[str, ...]
    entries: tuple[Entry, ...]
    fields: tuple[Entry, ...] = ()
    notes: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()
    missing: NotFound | None = None

    @cached_property
    def values(self) -> dict[str, Any]:
        """The table as it is read from the file."""
        values = {entry.key: entry.value for entry in self.entries if not entry.hint}
        fields = {entry.key: entry.value for entry in self.fields}
        return values | ({"fields": fields} if fields else {})

    @property
    def guesses(self) -> tuple[Entry, ...]:
        """The entries that are no more than likely."""
        return tuple(entry for entry in self.entries if entry.guessed)


@dataclass(frozen=True)
class Proposal:
    """What an `eqviz.toml` of the folder `root` could say; `left_out` are files that no table describes, and why."""

    root: Path
    tables: tuple[Table, ...]
    left_out: Mapping[str, str]

    @property
    def values(self) -> dict[str, Any]:
        """The contents of the file."""
        return {"format": FORMAT, "runs": [table.values for table in self.tables]}

    def descriptions(self) -> tuple[Description, ...]:
        """The tables as they are read from the file; errors speak of them as of what `eqviz init` would write."""
        return parse_descriptions(self.values, f"{self.root}, as {DESCRIPTION} would describe it")
