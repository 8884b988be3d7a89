"""A run folder: `run.toml`, weights as `epoch-0025.safetensors` for each saved epoch, and `metrics.csv`.

Nothing in it makes eqviz import or run code: the model is a name that must be registered already, and weights are
plain numbers.
"""

import os
import re
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from eqviz.data.images import Normalisation
from eqviz.errors import EqvizError
from eqviz.models.registry import build_model
from eqviz.studies.run_records import read_record
from eqviz.studies.settings import DataSettings, TrainingSettings
from eqviz.studies.streams import own_randomness, stream_seed
from eqviz.studies.toml_tables import short
from eqviz.studies.weights import read_weights

RECORD = "run.toml"
METRICS = "metrics.csv"
RESUME = "resume.pt"
METRIC_COLUMNS = ("epoch", "train_loss", "train_accuracy", "test_accuracy", "learning_rate", "seconds")

_DEPTH = 6
_BUILDING = threading.Lock()
"""Fresh weights come from torch's one generator: no other thread may draw from it meanwhile."""
_WEIGHTS = re.compile(r"epoch-(\d{4,6})\.safetensors")


@dataclass(frozen=True)
class Run:
    """One training run on disk; `arguments` are all keyword arguments of the model, `epochs` the saved ones.

    `input_size` is (height, width) in pixels; `planned_epochs`, `parameters`, `train_images` and `training` are None
    where the folder does not say.
    """

    folder: Path
    name: str
    model: str
    arguments: Mapping[str, Any]
    input_size: tuple[int, int]
    group: str
    data: DataSettings
    normalisation: Normalisation
    seed: int
    regime: str
    recipe: str
    epochs: tuple[int, ...]
    planned_epochs: int | None = None
    parameters: int | None = None
    train_images: int | None = None
    training: TrainingSettings | None = None

    @property
    def finished(self) -> bool:
        """Whether its last epoch is saved and nothing is left to resume."""
        complete = self.planned_epochs is None or self.planned_epochs in self.epochs
        return complete and not (self.folder / RESUME).exists()

    def weights_path(self, epoch: int | None = None) -> Path:
        """The weights of a saved epoch; of the last one if None. Raises EqvizError for an epoch that is not saved."""
        wanted = self.epochs[-1] if epoch is None else epoch
        if wanted not in self.epochs:
            raise EqvizError(
                f"run {self.name}", expected=f"a saved epoch: {', '.join(map(str, self.epochs))}",
                found=f"epoch {short(wanted)}", fix="choose one of these",
            )  # fmt: skip
        path = self.folder / weights_name(wanted)
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise EqvizError(
                str(path), expected="weights inside the run folder", found=f"a link to {path.resolve()}",
                fix="copy the file into the folder",
            )  # fmt: skip
        return path

    def state_dict(self, epoch: int | None = None) -> dict[str, Tensor]:
        """The weights of a saved epoch, the last one if None, checked against the model.

        Raises EqvizError for files that cannot be read, weights that do not fit, and values that are not finite.
        """
        path = self.weights_path(epoch)
        return read_weights(path, self.architecture().state_dict(), self.model)

    def architecture(self) -> nn.Module:
        """The network on torch's meta device: its modules and the shapes of its weights, without their values.

        Raises EqvizError for arguments the model does not take.
        """
        with torch.device("meta"):
            return self._fresh()

    def build(self, epoch: int | None = None) -> nn.Module:
        """The network with the weights of a saved epoch (the last one if None), on the CPU, in eval mode.

        Raises EqvizError as :meth:`state_dict` does, and for arguments the model does not take. Leaves torch's random
        state as it was.
        """
        state = self.state_dict(epoch)
        with _BUILDING, own_randomness():
            model = self._fresh()
        model.load_state_dict(state)
        return model.eval()

    def untrained(self) -> nn.Module:
        """The network as training starts with it: fresh weights from the run's seed, on the CPU, in eval mode.

        Raises EqvizError for arguments the model does not take. Leaves torch's random state as it was.
        """
        with _BUILDING, own_randomness():
            torch.manual_seed(stream_seed(self.seed, "weights"))
            return self._fresh().eval()

    def _fresh(self) -> nn.Module:
        try:
            return build_model(self.model, **self.arguments)
        except EqvizError as error:
            raise EqvizError(
                f"{self.folder / RECORD}: {error.about}", expected=error.expected, found=error.found, fix=error.fix
            ) from error

    def metrics(self) -> pd.DataFrame:
        """One row an epoch: epoch, train_loss (nats), train_accuracy, test_accuracy (0..1), learning_rate, seconds.

        Row 0 is the untrained network. Raises EqvizError for a file that is missing or broken.
        """
        path = self.folder / METRICS
        try:
            table = pd.read_csv(path, dtype={"epoch": int, **dict.fromkeys(METRIC_COLUMNS[1:], float)})
            return table.loc[:, list(METRIC_COLUMNS)]
        except (OSError, ValueError, KeyError) as error:
            found = "no such file" if isinstance(error, FileNotFoundError) else str(error).split("\n")[0][:200]
            raise EqvizError(
                str(path), expected=f"columns {', '.join(METRIC_COLUMNS)}", found=found, fix="train the run again"
            ) from None


def weights_name(epoch: int) -> str:
    """The file name of an epoch's weights.

    >>> weights_name(25)
    'epoch-0025.safetensors'
    """
    return f"epoch-{epoch:04d}.safetensors"


def read_run(folder: str | Path) -> Run:
    """The run in a folder. Weights are not read yet.

    Raises EqvizError for a folder that is missing or holds no run, and for a `run.toml` that is broken: missing keys,
    wrong types, a model that is not registered, a later format.
    """
    folder = _existing(Path(folder))
    if not (folder / RECORD).is_file():
        raise _no_run(folder, "no run.toml")
    record = read_record(folder / RECORD)
    return Run(folder=folder, name=folder.resolve().name, epochs=_saved_epochs(folder), **record)


def find_runs(folder: str | Path) -> tuple[Run, ...]:
    """All runs in a folder and the folders in it (six deep), sorted by path; runs of equal name are told apart by path.

    Hidden folders are skipped. Raises EqvizError for a folder that is missing or holds no run, and as :func:`read_run`.
    """
    root = _existing(Path(folder))
    runs = [read_run(found) for found in sorted(_run_folders(root))]
    if not runs:
        raise _no_run(root, "none" if any(root.iterdir()) else "an empty folder")
    often = Counter(run.name for run in runs)
    return tuple(
        replace(run, name=run.folder.relative_to(root).as_posix()) if often[run.name] > 1 else run for run in runs
    )


def _run_folders(root: Path) -> list[Path]:
    found, seen = [], set()
    for parent, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(parent)
        depth = len(Path(parent).relative_to(root).parts)
        if RECORD in names and real not in seen:
            found.append(Path(parent))
        if real in seen or RECORD in names or depth >= _DEPTH:
            folders.clear()
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
    return found


def _existing(folder: Path) -> Path:
    if folder.is_dir():
        return folder
    found = "a file" if folder.exists() else "no such folder"
    raise EqvizError(
        str(folder), expected="a folder of runs", found=found, fix="give the folder `eqviz train` wrote to"
    )


def _no_run(folder: Path, found: str) -> EqvizError:
    return EqvizError(
        str(folder), expected="a run (run.toml and weights such as epoch-0025.safetensors) in it or below it",
        found=found, fix="make one with `eqviz train RECIPE -o FOLDER`",
    )  # fmt: skip


def _saved_epochs(folder: Path) -> tuple[int, ...]:
    matches = (_WEIGHTS.fullmatch(path.name) for path in folder.iterdir())
    epochs = tuple(
        sorted(int(match.group(1)) for match in matches if match and weights_name(int(match[1])) == match[0])
    )
    if not epochs:
        raise EqvizError(
            str(folder), expected="weights such as epoch-0025.safetensors", found="none beside run.toml",
            fix="copy them there or train the run again",
        )  # fmt: skip
    return epochs
