"""The record of a run, `run.toml`: what was trained, on what and how."""

from pathlib import Path
from typing import Any

from eqviz.models.registry import find_model, unknown_model
from eqviz.studies.settings import (
    MOST_EPOCHS,
    MOST_IMAGES,
    MOST_SEED,
    DataSettings,
    TrainingSettings,
    read_arguments,
    read_group,
    read_normalisation,
)
from eqviz.studies.sizes import parse_size
from eqviz.studies.toml_tables import TomlTable, read_toml

FORMAT = 1
"""The version of `run.toml`; eqviz reads this one and refuses later ones."""


def read_record(path: Path) -> dict[str, Any]:
    """The attributes of a :class:`eqviz.studies.run_folders.Run` that its `run.toml` fixes.

    `format`, `model`, `group`, `input_size`, `data.source` and `normalisation` must be there. Raises EqvizError, naming
    the file and the key, for what is missing, unknown or of a wrong type, models that are not registered and a later
    format.
    """
    table = TomlTable(read_toml(path), str(path))
    _check_format(table)
    training = _training(table.table("training")) if table.has("training") else None
    normalisation = table.table("normalisation")
    record = {
        "model": _model(table),
        "arguments": read_arguments(table.table("arguments", optional=True)),
        "input_size": parse_size(table.raw("input_size", "an input size"), table.about("input_size")),
        "group": read_group(table),
        "data": _data(table.table("data")),
        "normalisation": read_normalisation(normalisation),
        "seed": table.whole("seed", 0, MOST_SEED, 0),
        "regime": table.text("regime", training.regime if training else "unknown"),
        "recipe": table.text("recipe", ""),
        "planned_epochs": table.maybe_whole("epochs", 1, MOST_EPOCHS),
        "parameters": table.maybe_whole("parameters", 1, 10**12),
        "train_images": table.maybe_whole("train_images", 1, MOST_IMAGES),
        "training": training,
    }
    table.text("eqviz", "")
    for part in (table, normalisation):
        part.finish()
    return record


def _check_format(table: TomlTable) -> None:
    version = table.whole("format", 1, 10**6)
    if version > FORMAT:
        raise table.refuse("format", f"format {FORMAT} or earlier", str(version), "update eqviz")


def _model(table: TomlTable) -> str:
    name = table.text("model")
    if find_model(name) is None:
        raise unknown_model(table.about("model"), name)
    return name


def _training(table: TomlTable) -> TrainingSettings:
    settings = TrainingSettings.read(table)
    table.finish()
    return settings


def _data(table: TomlTable) -> DataSettings:
    settings = DataSettings.read(table)
    if table.has("fingerprint"):
        table.text("fingerprint")
    table.finish()
    return settings
