"""How results were made, as `provenance.json` says it: of a report, and of a folder of tables that others will read."""

import json
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

import pandas as pd

from eqviz.errors import NoAnswerError
from eqviz.report.figure_kinds import DrawnFigure
from eqviz.studies.derived import DERIVED
from eqviz.studies.provenance import environment, file_fingerprint
from eqviz.studies.run_folders import Run
from eqviz.studies.runs import Runs
from eqviz.tables import SCHEMAS, format_size

_MEASURED_FROM = {
    "accuracy_summary": "accuracy", "accuracy_overview": "accuracy", "networks": "accuracy",
    "equivariance_summary": "equivariance", "spectrum_summary": "equivariance", "subgroups_summary": "equivariance",
    "subgroups": "equivariance", "spectrum": "equivariance", "verdict": "equivariance",
}  # fmt: skip
"""Tables without a number of images, by the table that has it."""


def report_record(runs: Runs, figures: Sequence[DrawnFigure], command: str) -> dict[str, Any]:
    """Where a report comes from: command, environment, settings, every checkpoint, figures and their captions."""
    checkpoints = [
        {
            "run": run.name,
            "epoch": epoch,
            **_weights(runs, run, epoch),
            "model": run.model,
            "arguments": dict(run.arguments),
            "input_size": list(run.input_size),
            "seed": run.seed,
            "data": asdict(run.data),
            "normalisation": asdict(run.normalisation),
            "test_images": measured.images,
            "test_images_sha256": measured.data,
            "orbit_images": measured.symmetry.single.images,
            "device": measured.device,
            "dtype": measured.symmetry.single.dtype,
            "from_cache": list(measured.reused),
        }
        for (run, epoch), measured in zip(runs.checkpoints, runs.measured(), strict=True)
    ]
    layers = runs.skipped_layers()
    skipped = {f"{row.run}: {row.layer}": row.reason for row in layers.itertuples()}
    skipped |= {f"{run}: {name}": why for name, reasons in runs.unanswered().items() for run, why in reasons.items()}
    return {
        "command": command or " ".join(sys.argv),
        "environment": environment(),
        "settings": asdict(runs.settings),
        "checkpoints": checkpoints,
        "skipped": skipped,
        "no_accuracy": runs.no_accuracy(),
        "figures": [{"file": drawn.stem, "title": drawn.title, "caption": drawn.caption} for drawn in figures],
    }


def tables_record(
    runs: Runs, tables: Mapping[str, pd.DataFrame], command: str, remarks: Sequence[str] = ()
) -> dict[str, Any]:
    """Where tables come from: command, environment, settings, what each table rests on, every run and its protocol.

    Fit to be published: folders of this machine are left out, or named from the working directory. Nothing is measured
    for it. Runs trained in the same way share a row of `protocols`, which they name by its place.
    """
    protocols: list[dict[str, Any]] = []
    listed = []
    for run, epoch in runs.checkpoints:
        if (protocol := _protocol(run)) not in protocols:
            protocols.append(protocol)
        listed.append({**_run(runs, run, epoch), "protocol": protocols.index(protocol)})
    return {
        "command": portable_command(command or shlex.join(sys.argv)),
        "environment": environment(),
        "settings": portable_value({key: value for key, value in asdict(runs.settings).items() if key != "root"}),
        "seeds": sorted({run.seed for run in runs}),
        "tables": {name: {"rows": len(table), **_images(runs, name, table)} for name, table in tables.items()},
        "remarks": [portable_value(remark) for remark in remarks],
        "protocols": protocols,
        "runs": listed,
    }


def _weights(runs: Runs, run: Run, epoch: int) -> dict[str, str]:
    path = run.weights_path(epoch)
    return {"weights": path.relative_to(runs.folder).as_posix(), "weights_sha256": file_fingerprint(path)}


def _run(runs: Runs, run: Run, epoch: int) -> dict[str, Any]:
    """What is known of a run without measuring it."""
    return {
        "run": run.name,
        "model": run.model,
        "arguments": dict(run.arguments),
        "parameters": run.parameters,
        "input_size": format_size(run.input_size),
        "group": run.group,
        "seed": run.seed,
        "epoch": epoch,
        **_weights(runs, run, epoch),
    }


def _protocol(run: Run) -> dict[str, Any]:
    """On what a run was trained and how."""
    return {
        "recipe": run.recipe,
        "regime": run.regime,
        "epochs": run.planned_epochs,
        "train_images": run.train_images,
        "data": portable_value({key: value for key, value in run.data.as_table().items() if key != "root"}),
        "training": None if run.training is None else run.training.as_table(),
        "normalisation": asdict(run.normalisation),
    }


def _images(runs: Runs, name: str, table: pd.DataFrame) -> dict[str, int]:
    """How many images a table rests on, where it or a table that was made for it says so."""
    seen = [name]
    for source in seen:
        if "n" in SCHEMAS.get(source, ()):
            try:
                counts = (table if source == name else runs.table(source))["n"].dropna()
            except NoAnswerError:
                seen.append("equivariance")  # there is no accuracy
                continue
            return {"images": int(counts.max())} if len(counts) else {}
        behind = DERIVED[source].sources if source in DERIVED else ()
        seen += [*behind, _MEASURED_FROM[source]] if source in _MEASURED_FROM else behind
    return {}


_PATH = re.compile(r"(?<![\w.~/\\])(?!//[^/])(?:~|[A-Za-z]:)?[\\/][^\s'\"(),;:]+")
"""A path from a root or a home on, within other text."""


def portable(text: str, base: Path | None = None) -> str:
    """A path as another machine may read it: from `base` (the working directory) on, or its last part alone.

    >>> portable("/data/cells.npz", Path("/home/me")), portable("/home/me/runs/a", Path("/home/me")), portable("mnist")
    ('cells.npz', 'runs/a', 'mnist')
    """
    here = Path.cwd() if base is None else base
    path: PurePath = PureWindowsPath(text) if re.match(r"[A-Za-z]:[\\/]", text) else Path(text)
    if not path.is_absolute() and not text.startswith("~"):
        return text
    if isinstance(path, Path) and path.is_relative_to(here):
        return path.relative_to(here).as_posix()
    return path.name


def portable_command(command: str) -> str:
    """A command line whose paths are `portable`.

    >>> portable_command("eqviz tables /data/runs -o figures --data=/data/cells.npz --only runs")
    'eqviz tables runs -o figures --data=cells.npz --only runs'
    """
    return shlex.join(_portable_word(word) for word in shlex.split(command))


def _portable_word(word: str) -> str:
    option, equals, value = word.partition("=")
    return f"{option}={portable(value)}" if equals and option.startswith("-") else portable(word)


def portable_value(value: Any) -> Any:
    """A value of JSON without folders of this machine: paths within its texts are `portable`, addresses stay.

    >>> portable_value({"remarks": ["run a: /home/me/x.npz: found '~/b/c' and 1/2 (https://example.org/a)"]})
    {'remarks': ["run a: x.npz: found 'c' and 1/2 (https://example.org/a)"]}
    """
    if isinstance(value, str):
        return _PATH.sub(lambda found: portable(found[0]), value)
    if isinstance(value, Mapping):
        return {key: portable_value(item) for key, item in value.items()}
    if isinstance(value, Iterable):
        return [portable_value(item) for item in value]
    return value


def as_json(record: Mapping[str, Any]) -> bytes:
    """The record as a file."""
    return (json.dumps(record, indent=2, default=str) + "\n").encode(errors="replace")
