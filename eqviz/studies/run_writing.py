"""Writing a run folder while training, and reading back where an interrupted run stands."""

from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from eqviz.checkpoints.file_kinds import kind_of
from eqviz.checkpoints.torch_files import load_torch
from eqviz.errors import EqvizError
from eqviz.studies.atomic import replacing
from eqviz.studies.batches import TrainingData
from eqviz.studies.recipes import Recipe, RunSpec
from eqviz.studies.run_folders import METRIC_COLUMNS, METRICS, RECORD, RESUME, Run, read_run, weights_name
from eqviz.studies.run_records import FORMAT
from eqviz.studies.settings import same_settings
from eqviz.studies.toml_tables import read_toml, write_toml
from eqviz.studies.weights import write_weights

_STATE_KEYS = {"epoch", "network", "optimiser", "schedule", "rows"}


def open_run(spec: RunSpec, folder: Path, *, resume: bool) -> str:
    """Where the run in `folder` stands: `new`, `unfinished` or `finished`.

    Raises EqvizError for a folder that holds something else or a run of other settings, and for an unfinished run
    unless `resume`.
    """
    if not folder.exists():
        return "new"
    if not folder.is_dir():
        raise EqvizError(str(folder), expected="a run folder", found="a file", fix="choose another output folder")
    if not (folder / RECORD).is_file():
        held = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
        if set(held) <= {weights_name(0)}:  # interrupted before its first line of record
            return "new"
        raise EqvizError(
            str(folder), expected="nothing or a run of this recipe", found=f"{held[0]} and no run.toml",
            fix="choose another output folder",
        )  # fmt: skip
    run = read_run(folder)
    difference = same_settings(_settings(spec), _recorded(run))
    if difference is not None:
        raise EqvizError(
            str(folder), expected="a run of this recipe", found=f"a run with another {difference}",
            fix="choose another output folder",
        )  # fmt: skip
    if run.finished:
        return "finished"
    if not resume:
        raise EqvizError(
            str(folder), expected="nothing or a finished run",
            found=f"a run that stopped before epoch {spec.training.epochs}",
            fix="go on with --resume or choose another output folder",
        )  # fmt: skip
    return "unfinished"


def _settings(spec: RunSpec) -> dict[str, Any]:
    """The settings of a run that the recipe fixes, as they stand in `run.toml`."""
    return {
        "model": spec.model,
        "group": spec.group,
        "input_size": list(spec.input_size),
        "seed": spec.seed,
        "epochs": spec.training.epochs,
        "arguments": dict(spec.arguments),
        "data": spec.data.as_table(),
        "training": spec.training.as_table(),
    }


def _recorded(run: Run) -> dict[str, Any]:
    """The same settings of a run that is there, without what follows from the data; what it does not say is usual."""
    return {
        "model": run.model,
        "group": run.group,
        "input_size": list(run.input_size),
        "seed": run.seed,
        "epochs": run.planned_epochs,
        "arguments": {k: v for k, v in run.arguments.items() if k not in ("in_channels", "classes")},
        "data": run.data.as_table(),
        "training": {} if run.training is None else run.training.as_table(),
    }


class RunWriter:
    """The folder of one run while it trains: `start`, then `after_epoch` as often as needed, then `finish`.

    `done` is the last complete epoch, `rows` the metrics so far. Every file is written whole or not at all.
    """

    def __init__(
        self, recipe: Recipe, spec: RunSpec, folder: Path, data: TrainingData, arguments: dict[str, Any]
    ) -> None:
        self.recipe = recipe
        self.spec = spec
        self.folder = folder
        self.data = data
        self.arguments = arguments
        self.saved = recipe.checkpoints.epochs(spec.training.epochs)
        self.done = 0
        self.rows: list[dict[str, float]] = []

    def start(self, network: nn.Module, untrained_accuracy: Callable[[], float]) -> dict[str, Any] | None:
        """The state to resume from, the weights of which are put into `network`; None for a new run, which is begun.

        Raises EqvizError for a state that cannot be read, and when the training images are no longer the same.
        """
        record = self._record(network)
        if (self.folder / RECORD).is_file():
            self._check_same_data(record)
        if (self.folder / RESUME).is_file():
            state = read_state(self.folder / RESUME)
            self._restore(network, state)
            return state
        self.folder.mkdir(parents=True, exist_ok=True)
        accuracy = untrained_accuracy()
        self.rows = [dict(zip(METRIC_COLUMNS, (0, float("nan"), float("nan"), accuracy, 0.0, 0.0), strict=True))]
        write_weights(self.folder / weights_name(0), network)
        self._write_metrics()
        write_toml(self.folder / RECORD, record)
        return None

    def _check_same_data(self, record: dict[str, Any]) -> None:
        difference = same_settings(
            {key: record[key] for key in ("data", "normalisation")},
            {key: read_toml(self.folder / RECORD).get(key, {}) for key in ("data", "normalisation")},
        )
        if difference is not None:
            raise EqvizError(
                str(self.folder), expected="the data its training began with", found=f"another {difference}",
                fix="bring the data back or choose another output folder",
            )  # fmt: skip

    def _restore(self, network: nn.Module, state: dict[str, Any]) -> None:
        try:
            network.load_state_dict(state["network"])
            self.done, self.rows = int(state["epoch"]), [dict(row) for row in state["rows"]]
            consistent = 1 <= self.done <= self.spec.training.epochs and len(self.rows) == self.done + 1
        except (RuntimeError, TypeError, ValueError, AttributeError):
            consistent = False
        if not consistent:
            raise _broken_state(self.folder / RESUME, "a state of another run")

    def after_epoch(self, network: nn.Module, result: Any, optimisation: dict[str, Any]) -> None:
        """Save what this epoch leaves: weights if asked for, its metrics, and the state to resume from."""
        self.done = result.epoch
        self.rows.append(asdict(result))
        if self.done in self.saved:
            write_weights(self.folder / weights_name(self.done), network)
        self._write_metrics()
        if self.done < self.spec.training.epochs:
            state = {"epoch": self.done, "network": network.state_dict(), "rows": self.rows, **optimisation}
            with replacing(self.folder / RESUME) as beside:
                torch.save(state, beside)

    def finish(self) -> None:
        """Remove the state to resume from: the run is complete."""
        (self.folder / RESUME).unlink(missing_ok=True)

    def _write_metrics(self) -> None:
        with replacing(self.folder / METRICS) as beside:
            pd.DataFrame(self.rows, columns=list(METRIC_COLUMNS)).to_csv(beside, index=False)

    def _record(self, network: nn.Module) -> dict[str, Any]:
        settings = _settings(self.spec)
        return {
            "format": FORMAT,
            "eqviz": _own_version(),
            "recipe": self.recipe.name,
            "regime": self.spec.training.regime,
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "train_images": self.data.count,
            **settings,
            "arguments": self.arguments,
            "data": {**settings["data"], "fingerprint": self.data.fingerprint},
            "normalisation": {"mean": list(self.data.normalisation.mean), "std": list(self.data.normalisation.std)},
        }


def read_state(path: Path) -> dict[str, Any]:
    """The state of an interrupted run, on the CPU; read as numbers only. Raises EqvizError for any other file."""
    try:
        state = load_torch(path, *kind_of(path))
    except EqvizError as error:
        raise _broken_state(path, error.found) from None
    if not isinstance(state, dict) or set(state) != _STATE_KEYS:
        raise _broken_state(path, "something else")
    return state


def _broken_state(path: Path, found: str) -> EqvizError:
    return EqvizError(
        str(path),
        expected="the state of an interrupted run",
        found=found,
        fix="delete the run folder and train it again",
    )


def _own_version() -> str:
    try:
        return version("eqviz")
    except PackageNotFoundError:
        return "unknown"
