"""What is in checkpoints: of as few files as will do, the names and shapes of their weights and what else they say."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from eqviz.checkpoints.names import WRAPPERS
from eqviz.checkpoints.reading import Checkpoint, read_checkpoint
from eqviz.errors import EqvizError

Shapes = dict[str, tuple[int, ...]]
"""Names of tensors, in their order, and their shapes."""


@dataclass(frozen=True)
class Look:
    """What one file says: the `places` of its state dicts, the best first, whose `shapes` these are, without the
    prefixes of wrappers.
    """

    path: str
    places: tuple[str, ...]
    shapes: Shapes
    hyperparameters: Mapping[str, Any]
    epoch: int | None

    @cached_property
    def architecture(self) -> frozenset[tuple[str, tuple[int, ...]]]:
        """What two checkpoints of one network have in common."""
        counters = ("num_batches_tracked",)
        return frozenset((name, shape) for name, shape in self.shapes.items() if not name.endswith(counters))


@dataclass
class Looker:
    """Opens files below `root`, each once; remembers what it saw and, in `failed`, why a file could not be read.

    `tell` is told which file is being opened.
    """

    root: Path
    tell: Callable[[str], None] | None = None
    failed: dict[str, str] = field(default_factory=dict)
    _seen: dict[str, Look] = field(default_factory=dict)

    def look(self, path: str) -> Look | None:
        """What is in a file; None for one that cannot be read."""
        if path not in self._seen and path not in self.failed:
            try:
                self._seen[path] = _look(path, self.checkpoint(path))
            except EqvizError as error:
                self.failed[path] = f"expected {error.expected}; found {error.found}; {error.fix}"
        return self._seen.get(path)

    def seen(self, path: str) -> Look | None:
        """What was seen in a file before; None for one that was not opened or could not be read."""
        return self._seen.get(path)

    def checkpoint(self, path: str) -> Checkpoint:
        """The file itself. Raises EqvizError for one that cannot be read, or that lies elsewhere."""
        full = self.root / path
        if self.tell is not None:
            self.tell(f"opening {printable(path)}")
        if not Path(os.path.realpath(full)).is_relative_to(self.root.resolve()):  # Path.resolve raises for loops
            raise EqvizError(
                str(full), expected="a checkpoint inside the folder", found="a link that leads out of it",
                fix="copy the file into the folder",
            )  # fmt: skip
        return read_checkpoint(full)


def _look(path: str, checkpoint: Checkpoint) -> Look:
    place = next(iter(checkpoint.states), None)
    if place is None:
        raise EqvizError(path, expected="weights", found="no weights", fix="remove it")
    shapes = {name: tuple(tensor.shape) for name, tensor in checkpoint.states[place].items()}
    return Look(path, tuple(checkpoint.states), unwrapped(shapes), flat(checkpoint.hyperparameters), checkpoint.epoch)


def unwrapped(shapes: Shapes) -> Shapes:
    """Names without the prefixes that DataParallel, torch.compile and Lightning put before all of them.

    >>> unwrapped({"module._orig_mod.fc.weight": (10, 2)})
    {'fc.weight': (10, 2)}
    """
    while shapes:
        first = {name.partition(".")[0] for name in shapes if "." in name}
        if len(first) != 1 or not first <= {*WRAPPERS, "model"} or any("." not in name for name in shapes):
            break
        shapes = {name.partition(".")[2]: shape for name, shape in shapes.items()}
    return shapes


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings within settings as one table; of settings that have the same name the outermost counts.

    >>> flat({"model": {"channels": 2, "seed": 1}, "seed": 0})
    {'seed': 0, 'channels': 2}
    """
    found = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    for inner in values.values():
        if isinstance(inner, Mapping):
            for key, value in flat(inner).items():
                found.setdefault(key, value)
    return found


def printable(text: str) -> str:
    r"""`text` in one line, with control characters and halves of characters as Python writes them.

    >>> print(printable(f"a{chr(10)}b"))
    a\nb
    """
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
