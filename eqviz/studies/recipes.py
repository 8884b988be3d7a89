"""Recipes: which networks to train, on what and how, as a TOML file.

name = "digits"                        # also: description = "..."
seeds = [0, 1]
[data]
source = "digits"                      # train_split, test_split, train_limit, test_limit, root, seed
normalisation = { mean = [0.3], std = [0.4] }     # left out: computed from the training images
[training]
epochs = 25                            # batch_size, optimiser, momentum, learning_rate, weight_decay,
rotation = { mean = 45, std = 20 }     # schedule, quarter_turns, monitor_images
[checkpoints]
early = [1, 2]                         # besides epoch 0 (untrained) and the last one; every = N
[[runs]]
model = "p4cnn"
input_size = 16                        # or "16x20"; also: label, group
arguments = { channels = 8 }
[presets.quick.training]               # `quick` and `paper`: values that replace those above
epochs = 3
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from eqviz.data.images import Normalisation
from eqviz.errors import EqvizError
from eqviz.groups.group import group
from eqviz.models.registry import MODELS, model_group
from eqviz.studies.settings import (
    MOST_SEED,
    CheckpointSettings,
    DataSettings,
    TrainingSettings,
    read_arguments,
    read_normalisation,
)
from eqviz.studies.sizes import parse_size
from eqviz.studies.toml_tables import TomlTable, did_you_mean, read_toml
from eqviz.tables import format_size

PRESETS = ("quick", "paper")
"""The names a preset may have."""

_WHOLE_VALUES = ("schedule", "rotation", "normalisation", "arguments")
"""Tables that a preset replaces as one value, not key by key."""

_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""File names that Windows keeps to itself."""


@dataclass(frozen=True)
class RunTemplate:
    """One `[[runs]]` entry: a model at an input size (height, width), for every seed of the recipe."""

    model: str
    input_size: tuple[int, int]
    arguments: Mapping[str, Any]
    label: str
    group: str


@dataclass(frozen=True)
class RunSpec:
    """One network to train; `name` is its folder."""

    name: str
    model: str
    input_size: tuple[int, int]
    arguments: Mapping[str, Any]
    group: str
    seed: int


@dataclass(frozen=True)
class Recipe:
    """What to train, on what and how. Read one with :func:`load_recipe`."""

    name: str
    description: str
    data: DataSettings
    normalisation: Normalisation | None
    training: TrainingSettings
    checkpoints: CheckpointSettings
    seeds: tuple[int, ...]
    runs: tuple[RunTemplate, ...]
    file: str
    preset: str | None = None

    def with_data_root(self, root: str) -> "Recipe":
        """The same recipe with the files of its data set in another folder."""
        return replace(self, data=replace(self.data, root=root))

    def expand(self) -> tuple[RunSpec, ...]:
        """Every run: seed by seed, each with all models in the order of the recipe.

        >>> [run.name for run in demo_recipe().expand()][:2]
        ['p4cnn-16-seed0', 'p4cnn-15-seed0']
        """
        return tuple(
            RunSpec(_folder_name(run, seed), run.model, run.input_size, run.arguments, run.group, seed)
            for seed in self.seeds
            for run in self.runs
        )


def load_recipe(path: str | Path, preset: str | None = None) -> Recipe:
    """The recipe in a TOML file, with the values of `preset` in place of its own.

    Raises EqvizError, naming the file and the key, for a file that cannot be read, unknown keys, wrong types, values
    out of range, unknown models and groups, runs that would share a folder, and a preset that the file does not have.
    """
    return parse_recipe(read_toml(Path(path)), str(path), preset)


def demo_recipe() -> Recipe:
    """The recipe of `eqviz demo`: small networks on scikit-learn's digits."""
    with as_file(files("eqviz.studies").joinpath("demo.toml")) as path:
        return parse_recipe(read_toml(path), "demo.toml")


def parse_recipe(values: Mapping[str, Any], file: str, preset: str | None = None) -> Recipe:
    """The recipe in a TOML document; `file` is its name in errors. Raises EqvizError as :func:`load_recipe` does.

    The file is checked as it is and with each of its presets, whichever is asked for.
    """
    plain = {key: value for key, value in values.items() if key != "presets"}
    recipes: dict[str | None, Recipe] = {None: _read_recipe(TomlTable(plain, file), None)}
    presets = TomlTable(values, file).table("presets", optional=True)
    for name in presets.values:
        if name not in PRESETS:
            raise EqvizError(
                presets.about(), expected=f"presets {' and '.join(PRESETS)}", found=repr(name),
                fix=did_you_mean(name, PRESETS),
            )  # fmt: skip
        overlay = presets.table(name)
        if "presets" in overlay.values:
            raise overlay.refuse("presets", "no presets within presets")
        recipes[name] = _read_recipe(TomlTable(_overlaid(plain, overlay.values), f"{file} (preset {name})"), name)
    if preset not in recipes:
        held = ", ".join(str(name) for name in recipes if name) or "no presets"
        raise EqvizError(file, expected=f"a preset {preset!r}", found=held, fix="add it or leave out --preset")
    return recipes[preset]


def _overlaid(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `overlay`: tables key by key, everything else as a whole."""
    merged = dict(base)
    for key, value in overlay.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict) and key not in _WHOLE_VALUES
        merged[key] = _overlaid(base[key], value) if both else value
    return merged


def _read_recipe(table: TomlTable, preset: str | None) -> Recipe:
    name, description = table.text("name", longest=100), table.text("description", "")
    seeds = table.wholes("seeds", 0, MOST_SEED, (0,))
    if not seeds:
        raise table.refuse("seeds", "one or more seeds")
    data = table.table("data")
    training, checkpoints = table.table("training"), table.table("checkpoints", optional=True)
    recipe = Recipe(
        name=name,
        description=description,
        data=DataSettings.read(data),
        normalisation=_read_normalisation(data),
        training=TrainingSettings.read(training),
        checkpoints=CheckpointSettings.read(checkpoints),
        seeds=seeds,
        runs=tuple(_read_run(run) for run in table.tables("runs")),
        file=table.file,
        preset=preset,
    )
    for part in (table, data, training, checkpoints):
        part.finish()
    _check_together(recipe, table)
    return recipe


def _read_normalisation(data: TomlTable) -> Normalisation | None:
    if not data.has("normalisation"):
        return None
    table = data.table("normalisation")
    found = read_normalisation(table)
    table.finish()
    return found


def _read_run(table: TomlTable) -> RunTemplate:
    model = table.choice("model", list(MODELS))
    size = parse_size(table.raw("input_size", "an input size such as 28 or '28x32'"), table.about("input_size"))
    arguments = read_arguments(table.table("arguments", optional=True))
    for key in ("in_channels", "classes"):
        if key in arguments:
            raise table.refuse("arguments", f"no {key}, which follows from the data", fix="remove it")
    label = table.text("label", model)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", label) or label.endswith(".") or _RESERVED.fullmatch(label):
        raise table.refuse("label", "letters, digits, '.', '_' and '-' that make a folder name", repr(label))
    name = table.text("group", model_group(model))
    try:
        measured = group(name).name
    except EqvizError as error:
        raise table.refuse("group", error.expected) from None
    table.finish()
    return RunTemplate(model, size, arguments, label, measured)


def _folder_name(run: RunTemplate, seed: int) -> str:
    return f"{run.label}-{format_size(run.input_size)}-seed{seed}"


def _check_together(recipe: Recipe, table: TomlTable) -> None:
    """What no key shows alone: runs that share a folder, quarter turns of images that are not square."""
    seen: dict[str, int] = {}
    for place, run in enumerate(recipe.runs, 1):
        name = _folder_name(run, recipe.seeds[0])
        if name.lower() in seen:
            raise EqvizError(
                table.about(f"runs[{place}]"), expected="each model and input size once, or a label to tell runs apart",
                found=f"the same folder {name} as runs[{seen[name.lower()]}]", fix="add label = '...' or remove it",
            )  # fmt: skip
        seen[name.lower()] = place
        if recipe.training.quarter_turns and run.input_size[0] != run.input_size[1]:
            raise EqvizError(
                table.about(f"runs[{place}].input_size"), expected="square images, for quarter turns",
                found=str(format_size(run.input_size)), fix="choose a square size or quarter_turns = false",
            )  # fmt: skip
    late = [epoch for epoch in recipe.checkpoints.early if epoch > recipe.training.epochs]
    if late and recipe.preset is None:
        raise table.refuse("checkpoints", f"early epochs up to the last, {recipe.training.epochs}", str(late))
