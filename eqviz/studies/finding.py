"""All runs in a folder: those that eqviz trained, and those that an `eqviz.toml` describes."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eqviz.checkpoints.reading import read_checkpoint
from eqviz.errors import EqvizError
from eqviz.studies.foreign.described_runs import apart, checkpoint_files, described_runs
from eqviz.studies.foreign.descriptions import DESCRIPTION, Description, read_descriptions
from eqviz.studies.run_folders import RECORD, Run, existing_folder, read_run

DEPTH = 6
"""How deep below a folder runs are looked for."""


def find_runs(folder: str | Path, constructor: Callable[..., Any] | None = None) -> tuple[Run, ...]:
    """All runs in a folder and the folders in it (six deep): eqviz's own, sorted by path, then those described.

    A folder with an `eqviz.toml` describes the checkpoints below it. Runs of equal name are told apart. Hidden folders
    are skipped. `constructor` makes the networks of described runs in place of the models named there.
    Raises EqvizError for a folder that is missing or holds no run, and for anything wrong with a `run.toml` or an
    `eqviz.toml`.
    """
    root = existing_folder(Path(folder))
    own, descriptions = records(root)
    runs = [read_run(found) for found in own]
    often = Counter(run.name for run in runs)
    runs = [replace(run, name=_below(root, run.folder)) if often[run.name] > 1 else run for run in runs]
    for path in descriptions:
        for part in read_descriptions(path):
            runs += _of_description(root, path, own, part, constructor)
    if not runs:
        raise _none(root)
    return tuple(apart(runs))


def _of_description(
    root: Path, path: Path, own: list[Path], part: Description, constructor: Callable[..., Any] | None
) -> list[Run]:
    """The runs of one table of the description at `path`; their names start with its folder, seen from `root`."""
    files = checkpoint_files(path.parent, DEPTH, own)
    found = described_runs(path.parent, files, part, constructor)
    prefix = _below(root, path.parent)
    return [replace(run, name=f"{prefix}/{run.name}") for run in found] if prefix != "." else found


Reasons = list[tuple[str, str]]
"""Paths or names of runs, and what is wrong with each, in a line."""


@dataclass(frozen=True)
class Survey:
    """What is in a folder: `runs` that were understood, `faults` of those that cannot be used, `strangers`: checkpoints
    that nothing describes. The latter two are pairs of a path, or the name of a run, and the reason in a line.
    """

    runs: tuple[Run, ...]
    faults: tuple[tuple[str, str], ...]
    strangers: tuple[tuple[str, str], ...]


def survey(folder: str | Path) -> Survey:
    """What is understood of a folder and what is not; of described runs the weights of the last epoch are read.

    Raises EqvizError for a folder that is missing or holds nothing that looks like a run; everything else is told.
    """
    root = existing_folder(Path(folder))
    own, descriptions = records(root)
    runs, faults, taken = _understood(root, own, descriptions)
    strangers = [path for path in checkpoint_files(root, DEPTH, own) if os.path.realpath(root / path) not in taken]
    if not runs and not faults and not strangers:
        raise _none(root)
    used = []
    for run in apart(runs):
        fault = _fault(run)
        faults += [(run.name, fault)] if fault else []
        used += [] if fault else [run]
    why = _NO_PATTERN if descriptions else _NO_DESCRIPTION
    looked = [(path, _unreadable(root / path) or why) for path in strangers[:_LOOKED_INTO]]
    return Survey(tuple(used), tuple(faults), (*looked, *((path, why) for path in strangers[_LOOKED_INTO:])))


_NO_PATTERN = f"no table [[runs]] of an {DESCRIPTION} has a pattern that it matches"
_NO_DESCRIPTION = f"no {DESCRIPTION} describes it; `eqviz init` writes one"


_LOOKED_INTO = 20
"""Checkpoints that nothing describes, of which it is told whether they could be read at all."""


def _unreadable(path: Path) -> str:
    """Why a checkpoint cannot be read; empty if it can."""
    try:
        read_checkpoint(path)
    except EqvizError as error:
        return _reason(error, path)
    return ""


def _understood(root: Path, own: list[Path], descriptions: list[Path]) -> tuple[list[Run], Reasons, set[str]]:
    """The runs in a folder, what is wrong with run folders and tables of descriptions, and the files that are
    described.
    """
    runs: list[Run] = []
    faults: Reasons = []
    taken: set[str] = set()
    for found in own:
        try:
            runs.append(read_run(found))
        except EqvizError as error:
            faults.append((_below(root, found), str(error)))
    for path in descriptions:
        try:
            parts = read_descriptions(path)
        except EqvizError as error:
            faults.append((_below(root, path), _reason(error, path)))
            continue
        files = checkpoint_files(path.parent, DEPTH, own)
        for part in parts:
            taken |= {os.path.realpath(path.parent / file) for file in files if part.files.match(file) is not None}
            try:
                runs += _of_description(root, path, own, part, None)
            except EqvizError as error:
                faults.append((_below(root, path), _reason(error, path)))
    return runs, faults, taken


def _reason(error: EqvizError, path: Path) -> str:
    """What is wrong with a file, without its path in front."""
    return str(error).removeprefix(f"{path}: ")


def _fault(run: Run) -> str:
    """Why the network of a described run cannot be built or its weights do not fit; empty if all is well."""
    if run.adapter is None:
        return ""
    try:
        run.build()
    except EqvizError as error:
        return str(error)
    return ""


def records(root: Path) -> tuple[list[Path], list[Path]]:
    """What tells of runs: folders with a `run.toml`, and files called `eqviz.toml`, both sorted.

    Links are followed, each folder once.
    """
    own, descriptions, seen = [], [], set()
    for parent, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(parent)
        depth = len(Path(parent).relative_to(root).parts)
        if real not in seen and RECORD in names:
            own.append(Path(parent))
        elif real not in seen and DESCRIPTION in names:
            descriptions.append(Path(parent) / DESCRIPTION)
        if real in seen or RECORD in names or depth >= DEPTH:
            folders.clear()
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
    return sorted(own), sorted(descriptions)


def _below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _none(root: Path) -> EqvizError:
    """The error for a folder without runs."""
    files = checkpoint_files(root, DEPTH)
    if files:
        some = ", ".join(files[:3]) + (" ..." if len(files) > 3 else "")
        return EqvizError(
            str(root), expected=f"an {DESCRIPTION} that describes the checkpoints",
            found=f"none, and {len(files)} checkpoints ({some})", fix=f"write it with `eqviz init {root}`",
        )  # fmt: skip
    return EqvizError(
        str(root), expected="a run (run.toml and weights such as epoch-0025.safetensors) in it or below it",
        found="none" if any(root.iterdir()) else "an empty folder",
        fix="make one with `eqviz train RECIPE -o FOLDER`, or give a folder of checkpoints",
    )  # fmt: skip
