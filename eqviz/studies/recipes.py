"""Recipes: which networks to train, on what and how, as a TOML file.

name = "digits"                        # also: description = "..."
seeds = [0, 1]
[data]
source = "digits"                      # train_split, test_split, train_limit, test_limit, root, seed
normalisation = { mean = [0.3], std = [0.4] }     # left out: computed from the training images
[training]
epochs = 25                            # batch_size, optimiser, momentum, learning_rate, weight_decay, schedule,
rotation = { mean = 45, std = 20 }     # crop, mirror, quarter_turns, precision, monitor_images
[checkpoints]
early = [1, 2]                         # besides epoch 0 (untrained) and the last one; every = N
[[runs]]
model = "p4cnn"
input_size = 16                        # or "16x20"; also: label, group, variants
arguments = { channels = 8 }
[[variants]]                           # every run is trained in every variant, or in those that its `variants` names
name = "fewer"
data = { train_limit = 500 }           # values of [data] and [training] that it replaces
[presets.quick.training]               # `quick`, `paper` and `tiny`: values that replace those above
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
from eqviz.models.registry import model_group, model_names
from eqviz.studies.settings import (
    MOST_SEED,
    CheckpointSettings,
    DataSettings,
    TrainingSettings,
    read_arguments,
    read_normalisation,
)
from eqviz.studies.sizes import parse_size
from eqviz.studies.toml_tables import TomlTable, did_you_mean, read_toml, short
from eqviz.tables import format_size

PRESETS = ("quick", "paper", "tiny")
"""The names a preset may have: minutes on a few cores, the published protocol, and seconds, which shows nothing."""

_WHOLE_VALUES = ("schedule", "rotation", "normalisation", "arguments")
"""Tables that a preset replaces as one value, not key by key."""

_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")

_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""File names that Windows keeps to itself."""


@dataclass(frozen=True)
class Variant:
    """One `[[variants]]` entry: what the networks are trained on and how. A recipe without any has one, without a name.

    `normalisation` None is that of the training images.
    """

    name: str
    data: DataSettings
    normalisation: Normalisation | None
    training: TrainingSettings


@dataclass(frozen=True)
class RunTemplate:
    """One `[[runs]]` entry: a model at an input size (height, width), for every seed; without `variants`, in all."""

    model: str
    input_size: tuple[int, int]
    arguments: Mapping[str, Any]
    label: str
    group: str
    variants: tuple[str, ...]


@dataclass(frozen=True)
class RunSpec:
    """One network to train, and on what and how; `name` is its folder."""

    name: str
    model: str
    input_size: tuple[int, int]
    arguments: Mapping[str, Any]
    group: str
    seed: int
    variant: Variant

    @property
    def data(self) -> DataSettings:
        """Which images it is trained on."""
        return self.variant.data

    @property
    def training(self) -> TrainingSettings:
        """How it is trained."""
        return self.variant.training


@dataclass(frozen=True)
class Recipe:
    """What to train, on what and how. Read one with :func:`load_recipe`."""

    name: str
    description: str
    variants: tuple[Variant, ...]
    checkpoints: CheckpointSettings
    seeds: tuple[int, ...]
    runs: tuple[RunTemplate, ...]
    file: str
    preset: str | None = None

    def with_data_root(self, root: str) -> "Recipe":
        """The same recipe with the files of its data sets in another folder."""
        moved = (replace(variant, data=replace(variant.data, root=root)) for variant in self.variants)
        return replace(self, variants=tuple(moved))

    def expand(self) -> tuple[RunSpec, ...]:
        """Every run: seed by seed, each variant with all its models in the order of the recipe.

        >>> [run.name for run in demo_recipe().expand()][:2]
        ['p4cnn-16-seed0', 'p4cnn-15-seed0']
        """
        return tuple(
            RunSpec(
                _folder_name(run, variant, seed), run.model, run.input_size, run.arguments, run.group, seed, variant
            )
            for seed in self.seeds
            for variant in self.variants
            for run in self.runs
            if not run.variants or variant.name in run.variants
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
    checkpoints = table.table("checkpoints", optional=True)
    recipe = Recipe(
        name=name,
        description=description,
        variants=_read_variants(table),
        checkpoints=CheckpointSettings.read(checkpoints),
        seeds=seeds,
        runs=tuple(_read_run(run) for run in table.tables("runs")),
        file=table.file,
        preset=preset,
    )
    for part in (table, checkpoints):
        part.finish()
    _check_together(recipe, table)
    return recipe


def _read_variants(table: TomlTable) -> tuple[Variant, ...]:
    data, training = table.table("data"), table.table("training")
    plain = _read_variant("", data, training)
    if not table.has("variants"):
        return (plain,)
    variants: list[Variant] = []
    for entry in table.tables("variants"):
        name = _for_a_folder(entry, "name", entry.text("name"))
        if name.lower() in [variant.name.lower() for variant in variants]:
            raise entry.refuse("name", "a name of its own for every variant")
        over = (
            _over(data, entry.table("data", optional=True)),
            _over(training, entry.table("training", optional=True)),
        )
        entry.finish()
        variants.append(_read_variant(name, *over))
    return tuple(variants)


def _over(base: TomlTable, overlay: TomlTable) -> TomlTable:
    return TomlTable(_overlaid(base.values, overlay.values), overlay.file, overlay.path)


def _read_variant(name: str, data: TomlTable, training: TomlTable) -> Variant:
    found = Variant(name, DataSettings.read(data), _read_normalisation(data), TrainingSettings.read(training))
    for part in (data, training):
        part.finish()
    if not found.data.labels:
        raise data.refuse("labels", "labels, to train on", fix="leave it out")
    return found


def _read_normalisation(data: TomlTable) -> Normalisation | None:
    if not data.has("normalisation"):
        return None
    table = data.table("normalisation")
    found = read_normalisation(table)
    table.finish()
    return found


def _read_run(table: TomlTable) -> RunTemplate:
    model = table.choice("model", model_names())
    size = parse_size(table.raw("input_size", "an input size such as 28 or '28x32'"), table.about("input_size"))
    arguments = read_arguments(table.table("arguments", optional=True))
    for key in ("in_channels", "classes"):
        if key in arguments:
            raise table.refuse("arguments", f"no {key}, which follows from the data", fix="remove it")
    label = _for_a_folder(table, "label", table.text("label", model))
    name = table.text("group", model_group(model))
    try:
        measured = group(name).name
    except EqvizError as error:
        raise table.refuse("group", error.expected) from None
    variants = table.texts("variants", ())
    table.finish()
    return RunTemplate(model, size, arguments, label, measured, variants)


def _for_a_folder(table: TomlTable, key: str, name: str) -> str:
    """`name`, if a folder can be called by it on every system."""
    if not _FOLDER_NAME.fullmatch(name) or name.endswith(".") or _RESERVED.fullmatch(name):
        raise table.refuse(key, "letters, digits, '.', '_' and '-' that make a folder name", repr(name))
    return name


def _folder_name(run: RunTemplate, variant: Variant, seed: int) -> str:
    named = f"{run.label}-{variant.name}" if variant.name else run.label
    return f"{named}-{format_size(run.input_size)}-seed{seed}"


def _check_together(recipe: Recipe, table: TomlTable) -> None:
    """What no key shows alone: unknown variants, runs that share a folder, quarter turns of what is not square."""
    seen: dict[str, int] = {}
    known = [variant.name for variant in recipe.variants]
    for place, run in enumerate(recipe.runs, 1):
        unknown = [name for name in run.variants if name not in known]
        if unknown:
            raise EqvizError(
                table.about(f"runs[{place}].variants"), expected=f"variants among {', '.join(filter(None, known))}",
                found=short(unknown[0]), fix=did_you_mean(unknown[0], known),
            )  # fmt: skip
        for variant in recipe.variants:
            if not run.variants or variant.name in run.variants:
                _check_one(recipe, table, place, run, variant, seen)
    for variant in recipe.variants:
        late = [epoch for epoch in recipe.checkpoints.early if epoch > variant.training.epochs]
        if late and recipe.preset is None:
            raise table.refuse("checkpoints", f"early epochs up to the last, {variant.training.epochs}", str(late))


def _check_one(
    recipe: Recipe, table: TomlTable, place: int, run: RunTemplate, variant: Variant, seen: dict[str, int]
) -> None:
    name = _folder_name(run, variant, recipe.seeds[0])
    if name.lower() in seen:
        raise EqvizError(
            table.about(f"runs[{place}]"), expected="each model and input size once, or a label to tell runs apart",
            found=f"the same folder {name} as runs[{seen[name.lower()]}]", fix="add label = '...' or remove it",
        )  # fmt: skip
    seen[name.lower()] = place
    if variant.training.quarter_turns and run.input_size[0] != run.input_size[1]:
        raise EqvizError(
            table.about(f"runs[{place}].input_size"), expected="square images, for quarter turns",
            found=str(format_size(run.input_size)), fix="choose a square size or quarter_turns = false",
        )  # fmt: skip
