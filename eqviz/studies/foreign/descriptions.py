"""The description of a folder of checkpoints that eqviz did not write: `eqviz.toml`.

Nothing in it makes eqviz import or run code: models are names that must be registered already, file names are patterns
without regular expressions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eqviz.checkpoints.fitting import Reading
from eqviz.data.images import Normalisation
from eqviz.errors import EqvizError
from eqviz.fields.field_types import field_type
from eqviz.studies.adapters import Adapter
from eqviz.studies.foreign.patterns import FilePattern
from eqviz.studies.settings import MOST_EPOCHS, MOST_SEED, DataSettings, read_arguments, read_group, read_normalisation
from eqviz.studies.sizes import parse_size
from eqviz.studies.toml_tables import TomlTable, read_toml

DESCRIPTION = "eqviz.toml"
FORMAT = 1
"""The version of `eqviz.toml`; eqviz reads this one and refuses later ones."""

_LONGEST_LABEL = 100


@dataclass(frozen=True)
class Description:
    """One table `[[runs]]`: which files are checkpoints of which network, and what it was trained on.

    `input_size`, `seed` and `epoch` are None where they stand in the file names; `about` names the table in errors.
    """

    files: FilePattern
    model: str
    arguments: Mapping[str, Any]
    input_size: tuple[int, int] | None
    group: str
    data: DataSettings
    normalisation: Normalisation
    seed: int | None = None
    epoch: int | None = None
    label: str = ""
    regime: str = "unknown"
    adapter: Adapter = field(default_factory=Adapter)
    about: str = DESCRIPTION


def read_descriptions(path: Path) -> tuple[Description, ...]:
    """The tables `[[runs]]` of an `eqviz.toml`. Models are not looked up yet.

    Raises EqvizError, naming the file and the key, for what is missing, unknown or of a wrong type, patterns that
    cannot be, and a later format.
    """
    return parse_descriptions(read_toml(path), str(path))


def parse_descriptions(values: Mapping[str, Any], file: str) -> tuple[Description, ...]:
    """The descriptions in the contents of an `eqviz.toml`; `file` names it in errors, which are those of
    :func:`read_descriptions`.
    """
    table = TomlTable(values, file)
    if table.whole("format", 1, 10**6, FORMAT) > FORMAT:
        raise table.refuse("format", f"format {FORMAT} or earlier", fix="update eqviz")
    table.text("eqviz", "")
    found = tuple(_read(part) for part in table.tables("runs"))
    table.finish()
    return found


def _read(table: TomlTable) -> Description:
    files = FilePattern(table.text("files"), table.about("files"))
    normalisation = table.table("normalisation")
    found = Description(
        files=files,
        model=table.text("model", ""),
        arguments=read_arguments(table.table("arguments", optional=True)),
        input_size=_input_size(table, files),
        group=read_group(table),
        data=_data(table.table("data")),
        normalisation=read_normalisation(normalisation),
        seed=_number(table, files, "seed", MOST_SEED),
        epoch=_number(table, files, "epoch", MOST_EPOCHS),
        label=table.text("label", "", longest=_LONGEST_LABEL),
        regime=table.text("regime", "unknown"),
        adapter=Adapter(reading=_reading(table), fields=_fields(table), output=_output(table)),
        about=table.about(),
    )
    for part in (table, normalisation):
        part.finish()
    return found


def _input_size(table: TomlTable, files: FilePattern) -> tuple[int, int] | None:
    if "size" in files.names:
        _only_once(table, "input_size", "size")
        return None
    return parse_size(table.raw("input_size", "an input size such as 28 or '28x32'"), table.about("input_size"))


def _number(table: TomlTable, files: FilePattern, key: str, most: int) -> int | None:
    if key in files.names:
        _only_once(table, key, key)
        return None
    return table.maybe_whole(key, 0, most)


def _only_once(table: TomlTable, key: str, placeholder: str) -> None:
    if table.has(key):
        raise table.refuse(key, f"no such key beside {{{placeholder}}} in files", fix="remove one of them")


def _data(table: TomlTable) -> DataSettings:
    settings = DataSettings.read(table)
    table.finish()
    return settings


def _reading(table: TomlTable) -> Reading:
    rename = _texts_by_name(table, "rename")
    place = table.text("weights") if table.has("weights") else None
    return Reading(place=place, rename=rename, ignore=table.texts("ignore", ()))


def _fields(table: TomlTable) -> dict[str, str]:
    found = _texts_by_name(table, "fields")
    for glob, name in found.items():
        try:
            field_type(name)
        except EqvizError as error:
            raise EqvizError(
                table.about(f"fields.{glob}"), expected=error.expected, found=error.found, fix=error.fix
            ) from None
    return found


def _texts_by_name(table: TomlTable, key: str) -> dict[str, str]:
    """A table of short texts, which may be empty."""
    inner = table.table(key, optional=True)
    for name, text in inner.values.items():
        if not isinstance(text, str) or len(text) > _LONGEST_LABEL or len(name) > _LONGEST_LABEL:
            raise inner.refuse(name, f"text of at most {_LONGEST_LABEL} characters")
    return dict(inner.values)


def _output(table: TomlTable) -> str | int | None:
    if not table.has("output"):
        return None
    if isinstance(table.values["output"], str):
        return table.text("output")
    return table.whole("output", 0, 1000)
