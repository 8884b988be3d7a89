"""From a description to runs: which files are which epoch of which run."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from eqviz.errors import EqvizError, printable
from eqviz.models.registry import find_model, unknown_model
from eqviz.studies.foreign.descriptions import Description
from eqviz.studies.run_folders import Run
from eqviz.studies.sizes import parse_size
from eqviz.tables import format_size

SUFFIXES = (".pth.tar", ".pt.tar", ".safetensors", ".ckpt", ".pth", ".pt", ".tar", ".bin")
"""Endings of files that are taken for checkpoints, longest first."""

FIRST_EPOCH = 1
"""The epoch of a checkpoint that nothing tells the epoch of: it is trained, and 0 is the untrained network."""


@dataclass(frozen=True)
class _Match:
    path: str
    values: Mapping[str, str]


def is_checkpoint(name: str) -> bool:
    """Whether a file of that name is taken for a checkpoint.

    >>> is_checkpoint("model_best.pth.tar"), is_checkpoint("events.out"), is_checkpoint("optimiser.PT")
    (True, False, True)
    """
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def stem(path: str) -> str:
    """A path without the ending that makes it a checkpoint.

    >>> stem("a/model_best.pth.tar")
    'a/model_best'
    """
    ending = next((suffix for suffix in SUFFIXES if path.lower().endswith(suffix)), "")
    return path[: len(path) - len(ending)] or path


def described_runs(
    root: Path, files: Sequence[str], description: Description, constructor: Callable[..., Any] | None = None
) -> list[Run]:
    """The runs that one description finds among `files`, paths below the folder `root`, in their order.

    Files that differ in nothing but the epoch, the step and what stands for `*` are one run. `constructor` makes the
    network in place of the model that is named. Raises EqvizError for a model that is not known, a pattern that no file
    matches, and two files of one epoch.
    """
    description = _with_constructor(description, constructor)
    if not description.model:
        raise EqvizError(
            f"{description.about}.model", expected="a registered model, or one of a module given with --import",
            found="none yet", fix="fill it in",
        )  # fmt: skip
    if find_model(description.model) is None and constructor is None:
        raise unknown_model(f"{description.about}.model", description.model)
    runs: dict[tuple[tuple[str, str], ...], dict[int, _Match]] = {}
    for path in files:
        values = description.files.match(path)
        if values is None:
            continue
        epoch = _epoch(values, description)
        same = tuple((name, value) for name, value in values.items() if not _within_a_run(name))
        found = runs.setdefault(same, {})
        if epoch in found:
            raise EqvizError(
                f"{description.about}.files", expected="one file for every epoch of a run",
                found=f"{found[epoch].path} and {path}", fix="make the pattern tell them apart",
            )  # fmt: skip
        found[epoch] = _Match(path, values)
    if not runs:
        some = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
        raise EqvizError(
            f"{description.about}.files", expected=f"files that match {description.files.text!r}",
            found=f"none; there are {some}" if files else "no checkpoint in the folder", fix="correct the pattern",
        )  # fmt: skip
    return [_run(root, description, epochs) for epochs in runs.values()]


def _within_a_run(placeholder: str) -> bool:
    return placeholder in ("epoch", "step") or placeholder.startswith("*")


def _with_constructor(description: Description, constructor: Callable[..., Any] | None) -> Description:
    if constructor is None:
        return description
    name = description.model or str(getattr(constructor, "__name__", type(constructor).__name__))
    return replace(description, model=name, adapter=replace(description.adapter, constructor=constructor))


def _epoch(values: Mapping[str, str], description: Description) -> int:
    if "epoch" in values:
        return int(values["epoch"][:9])
    return FIRST_EPOCH if description.epoch is None else description.epoch


def _run(root: Path, description: Description, matches: Mapping[int, _Match]) -> Run:
    epochs = tuple(sorted(matches))
    last = matches[epochs[-1]]
    files = {epoch: root / match.path for epoch, match in matches.items()}
    if description.input_size is None:
        size = parse_size(last.values["size"], f"{root / last.path}: {{size}}")
    else:
        size = description.input_size
    return Run(
        folder=root,
        name=_name(root, description, last),
        model=description.model,
        arguments=description.arguments,
        input_size=size,
        group=description.group,
        data=description.data,
        normalisation=description.normalisation,
        seed=int(last.values["seed"][:9]) if "seed" in last.values else description.seed or 0,
        regime=description.regime,
        recipe="",
        epochs=epochs,
        label=last.values.get("label", description.label),
        adapter=description.adapter,
        files=files,
        described_in=description.about,
    )  # fmt: skip


def _name(root: Path, description: Description, last: _Match) -> str:
    """The path of its last file without ending, epoch and what goes with it; that of the folder if nothing is left."""
    changing = [name for name, text in last.values.items() if name in ("epoch", "step") or _is_metric(name, text)]
    kept = stem(description.files.without(changing, last.path))
    return root.resolve().name if kept in SUFFIXES else PurePosixPath(kept).as_posix()


def _is_metric(placeholder: str, text: str) -> bool:
    """Whether that is a number with a point in place of a `*`, such as a loss."""
    return placeholder.startswith("*") and text.count(".") == 1 and text.replace(".", "").isdigit()


def apart(runs: Sequence[Run]) -> list[Run]:
    """The runs with names that tell them apart: of those called alike, the input size and then a number are added.

    In names, labels and regimes, which come from strangers and go to terminals, pages and tables, what is no printing
    character is spelt out.
    """
    runs = [
        replace(run, name=printable(run.name), label=printable(run.label), regime=printable(run.regime)) for run in runs
    ]
    names = [run.name for run in runs]
    sized = [f"{run.name}-{format_size(run.input_size)}" if names.count(run.name) > 1 else run.name for run in runs]
    found: list[Run] = []
    for place, name in enumerate(sized):
        earlier = sized[:place].count(name)
        found.append(replace(runs[place], name=f"{name}-{earlier + 1}" if sized.count(name) > 1 else name))
    return found


def checkpoint_files(root: Path, deep: int, leave_out: Sequence[Path] = ()) -> list[str]:
    """Paths, with `/`, of files below `root` that are taken for checkpoints, sorted; hidden folders are skipped.

    So are the folders in `leave_out` and those more than `deep` below. Links are followed, each folder once.
    """
    found, seen = [], {path.resolve() for path in leave_out}
    for parent, folders, names in os.walk(root, followlinks=True):
        real = Path(parent).resolve()
        below = Path(parent).relative_to(root)
        if real in seen or len(below.parts) >= deep:
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if real not in seen:
            found += [(below / name).as_posix() for name in sorted(names) if is_checkpoint(name)]
        seen.add(real)
    return sorted(found)
