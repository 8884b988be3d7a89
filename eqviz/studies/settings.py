"""What a network was trained on and how: the settings that recipes and run folders share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eqviz.data.images import CHANNELS, Normalisation
from eqviz.data.splits import SPLITS
from eqviz.errors import EqvizError
from eqviz.groups.group import group
from eqviz.studies.toml_tables import TomlTable, is_whole

MOST_IMAGES = 10**9
MOST_EPOCHS = 100_000
MOST_SEED = 2**31 - 1
MOST_PADDING = 256

PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed"}
"""Of the arithmetic while training, with lightning's words for it."""

_MONITORED = 2000


@dataclass(frozen=True)
class DataSettings:
    """Which images: a source and root as for :func:`eqviz.data.registry.load_images`, and a split and limit for each
    use.

    A limit keeps that many images, chosen by `seed` and not by the seed of a run: all runs see the same images. With
    `stream` training reads pictures from their files in every epoch, as it does ImageNet in any case. `channels` (1 or
    3) makes grey images of coloured ones or the other way round. Without `labels` there are images alone: nothing can
    be trained on them, and no accuracy measured.
    """

    source: str
    train_split: str = "train"
    test_split: str = "test"
    train_limit: int | None = None
    test_limit: int | None = None
    root: str | None = None
    seed: int = 0
    stream: bool = False
    channels: int | None = None
    labels: bool = True

    @classmethod
    def read(cls, table: TomlTable) -> "DataSettings":
        """From a TOML table, the keys being the attributes. Raises EqvizError for values that cannot be."""
        return cls(
            source=table.text("source"),
            train_split=table.choice("train_split", SPLITS, "train"),
            test_split=table.choice("test_split", SPLITS, "test"),
            train_limit=table.maybe_whole("train_limit", 1, MOST_IMAGES),
            test_limit=table.maybe_whole("test_limit", 1, MOST_IMAGES),
            root=table.text("root") if table.has("root") else None,
            seed=table.whole("seed", 0, MOST_SEED, 0),
            stream=table.flag("stream", False),
            channels=_channels(table),
            labels=table.flag("labels", True),
        )

    def as_table(self) -> dict[str, Any]:
        """As a TOML table; what is None is left out, and `labels` where there are some, as ever."""
        known = {key: value for key, value in vars(self).items() if value is not None}
        return known if not self.labels else {key: value for key, value in known.items() if key != "labels"}


def _channels(table: TomlTable) -> int | None:
    found = table.maybe_whole("channels", min(CHANNELS), max(CHANNELS))
    if found not in (None, *CHANNELS):
        raise table.refuse("channels", "1 (grey) or 3 (colour)")
    return found


@dataclass(frozen=True)
class Schedule:
    """How the learning rate changes: `none`, `steps`, `milestones` or `one_cycle`.

    It is multiplied by `gamma` every `step` epochs (`steps`) or after each of the epochs in `milestones`; `one_cycle`
    rises to the recipe's learning rate and falls to nothing over the whole run (torch's OneCycleLR).
    """

    kind: str = "none"
    step: int = 0
    milestones: tuple[int, ...] = ()
    gamma: float = 1.0

    @classmethod
    def read(cls, table: TomlTable, key: str) -> "Schedule":
        """From `"none"`, `"one_cycle"`, `{step, gamma}` or `{milestones, gamma}`; EqvizError for anything else."""
        if not table.has(key) or isinstance(table.values[key], str):
            return cls(table.choice(key, ("none", "one_cycle"), "none"))
        if not isinstance(table.values[key], dict):
            raise table.refuse(key, '"none", "one_cycle", {step, gamma} or {milestones, gamma}')
        inner = table.table(key)
        if inner.has("milestones") == inner.has("step"):
            raise table.refuse(key, "either step or milestones, with gamma")
        if inner.has("step"):
            found = cls("steps", step=inner.whole("step", 1, MOST_EPOCHS), gamma=inner.number("gamma", 1e-6, 1.0))
        else:
            epochs = tuple(sorted(inner.wholes("milestones", 1, MOST_EPOCHS)))
            found = cls("milestones", milestones=epochs, gamma=inner.number("gamma", 1e-6, 1.0))
        inner.finish()
        return found

    def as_value(self) -> Any:
        """As :meth:`read` reads it."""
        if self.kind == "steps":
            return {"step": self.step, "gamma": self.gamma}
        if self.kind == "milestones":
            return {"milestones": list(self.milestones), "gamma": self.gamma}
        return self.kind


@dataclass(frozen=True)
class Rotation:
    """How training images are turned: `upright`, `uniform` or `normal`.

    `uniform` turns every image once, by one uniform angle for the whole run; `normal` turns every batch by one angle
    drawn from N(mean, std), in degrees.

    >>> print(Rotation("normal", 45.0, 20.0))
    N(45, 20)
    """

    kind: str = "upright"
    mean: float = 0.0
    std: float = 0.0

    @classmethod
    def read(cls, table: TomlTable, key: str) -> "Rotation":
        """From `"upright"`, `"uniform"` or `{mean, std}` in degrees. Raises EqvizError for anything else."""
        if not table.has(key) or isinstance(table.values[key], str):
            return cls(table.choice(key, ("upright", "uniform"), "upright"))
        if not isinstance(table.values[key], dict):
            raise table.refuse(key, '"upright", "uniform" or {mean, std} in degrees')
        inner = table.table(key)
        found = cls("normal", inner.number("mean", -360, 360), inner.number("std", 0, 360))
        inner.finish()
        return found

    def as_value(self) -> Any:
        """As :meth:`read` reads it."""
        return {"mean": self.mean, "std": self.std} if self.kind == "normal" else self.kind

    def __str__(self) -> str:
        return f"N({self.mean:g}, {self.std:g})" if self.kind == "normal" else self.kind


@dataclass(frozen=True)
class TrainingSettings:
    """How networks are trained: cross entropy, Adam or SGD, `batch_size` images at a time for `epochs` epochs.

    Images are cropped at random after `crop` black pixels were added on every side, flipped left-right at random with
    `mirror`, turned by `rotation`, and by random quarter turns with `quarter_turns`, in this order.
    `monitor_images` is how many test images, upright, the accuracy after each epoch is measured on. With `precision`
    `bfloat16` convolutions are computed in mixed precision while training; weights are and stay float32.
    """

    epochs: int
    batch_size: int = 64
    optimiser: str = "adam"
    momentum: float = 0.0
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: Schedule = Schedule()
    rotation: Rotation = Rotation()
    crop: int = 0
    mirror: bool = False
    quarter_turns: bool = False
    precision: str = "float32"
    monitor_images: int = _MONITORED

    @classmethod
    def read(cls, table: TomlTable) -> "TrainingSettings":
        """From a TOML table, the keys being the attributes. Raises EqvizError for values that cannot be."""
        found = cls(
            epochs=table.whole("epochs", 1, MOST_EPOCHS),
            batch_size=table.whole("batch_size", 2, 1_000_000, 64),
            optimiser=table.choice("optimiser", ("adam", "sgd"), "adam"),
            momentum=table.number("momentum", 0, 0.9999, 0.0),
            learning_rate=table.number("learning_rate", 1e-9, 100, 1e-3),
            weight_decay=table.number("weight_decay", 0, 10, 0.0),
            schedule=Schedule.read(table, "schedule"),
            rotation=Rotation.read(table, "rotation"),
            crop=table.whole("crop", 0, MOST_PADDING, 0),
            mirror=table.flag("mirror", False),
            quarter_turns=table.flag("quarter_turns", False),
            precision=table.choice("precision", tuple(PRECISIONS), "float32"),
            monitor_images=table.whole("monitor_images", 1, MOST_IMAGES, _MONITORED),
        )
        if found.optimiser == "adam" and table.has("momentum"):
            raise table.refuse(
                "momentum", "momentum only with optimiser sgd", fix="remove it, or set optimiser = 'sgd'"
            )
        if any(epoch >= found.epochs for epoch in found.schedule.milestones):
            raise table.refuse("schedule", f"milestones before the last epoch, {found.epochs}")
        return found

    def as_table(self) -> dict[str, Any]:
        """As :meth:`read` reads it."""
        values = {**vars(self), "schedule": self.schedule.as_value(), "rotation": self.rotation.as_value()}
        if self.optimiser == "adam":
            del values["momentum"]
        return values

    @property
    def regime(self) -> str:
        """How training images were turned, in a few words.

        >>> TrainingSettings(5, quarter_turns=True).regime
        'upright, quarter turns'
        """
        return f"{self.rotation}, quarter turns" if self.quarter_turns else str(self.rotation)


@dataclass(frozen=True)
class CheckpointSettings:
    """Which epochs are saved: 0 (untrained), the `early` ones, every `every`-th and the last.

    >>> CheckpointSettings(early=(1, 2), every=5).epochs(12)
    (0, 1, 2, 5, 10, 12)
    """

    early: tuple[int, ...] = ()
    every: int | None = None

    @classmethod
    def read(cls, table: TomlTable) -> "CheckpointSettings":
        """From a TOML table, the keys being the attributes. Raises EqvizError for values that cannot be."""
        return cls(table.wholes("early", 1, MOST_EPOCHS, ()), table.maybe_whole("every", 1, MOST_EPOCHS))

    def epochs(self, last: int) -> tuple[int, ...]:
        """The saved epochs of a run of `last` epochs, in order; early ones beyond its end are left out."""
        regular = range(0, last, self.every) if self.every else ()
        return tuple(sorted({0, last, *regular, *(epoch for epoch in self.early if epoch < last)}))


def read_group(table: TomlTable) -> str:
    """The name of the group under `group`. Raises EqvizError, with the key, for one that does not exist."""
    try:
        return group(table.text("group")).name
    except EqvizError as error:
        raise EqvizError(table.about("group"), expected=error.expected, found=error.found, fix=error.fix) from None


def read_normalisation(table: TomlTable) -> Normalisation:
    """Mean and standard deviation for each channel. Raises EqvizError unless there are as many of both."""
    mean, std = table.numbers("mean", -100, 100), table.numbers("std", 1e-6, 100)
    if len(mean) != len(std):
        raise table.refuse("std", f"as many numbers as mean has, {len(mean)}")
    return Normalisation(mean, std)


def read_arguments(table: TomlTable) -> dict[str, Any]:
    """Keyword arguments of a model: text, true or false, and numbers within +-4096 (or lists of up to 64 of them).

    Raises EqvizError for anything else: no sane network needs it, and a network of that size would fill the memory.
    """
    for key, value in table.values.items():
        items = value if isinstance(value, list) else [value]
        if not key.isidentifier() or len(items) > 64 or not all(_plain(item) for item in items):
            raise table.refuse(key, "text, true or false, or numbers from -4096 to 4096")
    return dict(table.values)


def _plain(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= 256
    return isinstance(value, bool) or is_whole(value, -4096, 4096) or (isinstance(value, float) and abs(value) <= 4096)


def same_settings(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str | None:
    """The first key (dotted) in which two tables differ, or None.

    >>> same_settings({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}})
    'b.c'
    """
    for key in dict.fromkeys([*ours, *theirs]):
        mine, other = ours.get(key), theirs.get(key)
        if isinstance(mine, Mapping) and isinstance(other, Mapping):
            inner = same_settings(mine, other)
            if inner is not None:
                return f"{key}.{inner}"
        elif mine != other:
            return str(key)
    return None
