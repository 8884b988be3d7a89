"""A run and its folder: `run.toml`, weights as `epoch-0025.safetensors` for each saved epoch, and `metrics.csv`.

Nothing in it makes eqviz import or run code: the model is a name that must be registered already, and weights are
plain numbers. Runs of other people's, which `eqviz.toml` describes, are runs too: they have an `Adapter` and the
`files` of their epochs.
"""

import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from eqviz.checkpoints.fitting import fit_state
from eqviz.checkpoints.reading import read_checkpoint
from eqviz.data.images import Normalisation
from eqviz.errors import EqvizError
from eqviz.models.construction import construct
from eqviz.models.fetching import refuse_fetching
from eqviz.models.registry import build_model, is_own
from eqviz.studies.adapters import Adapter
from eqviz.studies.run_records import read_record
from eqviz.studies.settings import DataSettings, TrainingSettings
from eqviz.studies.streams import own_randomness, stream_seed
from eqviz.studies.toml_tables import short
from eqviz.studies.weights import read_weights

RECORD = "run.toml"
METRICS = "metrics.csv"
RESUME = "resume.pt"
METRIC_COLUMNS = ("epoch", "train_loss", "train_accuracy", "test_accuracy", "learning_rate", "seconds")

_BUILDING = threading.Lock()
"""Fresh weights come from torch's one generator: no other thread may draw from it meanwhile."""
_WEIGHTS = re.compile(r"epoch-(\d{4,6})\.safetensors")


@dataclass(frozen=True)
class Run:
    """One training run on disk; `arguments` are all keyword arguments of the model, `epochs` the saved ones.

    `input_size` is (height, width) in pixels; `planned_epochs`, `parameters`, `train_images` and `training` are None
    where the folder does not say. A run of other people's has an `adapter` and the `files` of its epochs, and is
    described in the file `record`; `label` is what its network is called in tables and figures.
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
    label: str = ""
    adapter: Adapter | None = None
    files: Mapping[int, Path] | None = None
    described_in: str = ""

    @property
    def finished(self) -> bool:
        """Whether its last epoch is saved and nothing is left to resume."""
        complete = self.planned_epochs is None or self.planned_epochs in self.epochs
        return complete and (self.adapter is not None or not (self.folder / RESUME).exists())

    @property
    def record(self) -> str:
        """Where it is described: its `run.toml`, or a table of an `eqviz.toml`."""
        return self.described_in or str(self.folder / RECORD)

    def weights_path(self, epoch: int | None = None) -> Path:
        """The weights of a saved epoch; of the last one if None. Raises EqvizError for an epoch that is not saved."""
        wanted = self.epochs[-1] if epoch is None else epoch
        if wanted not in self.epochs:
            raise EqvizError(
                f"run {self.name}", expected=f"a saved epoch: {', '.join(map(str, self.epochs))}",
                found=f"epoch {short(wanted)}", fix="choose one of these",
            )  # fmt: skip
        path = self.folder / weights_name(wanted) if self.files is None else self.files[wanted]
        real = Path(os.path.realpath(path))  # Path.resolve raises for links in a circle
        if not real.is_relative_to(self.folder.resolve()):
            raise EqvizError(
                str(path), expected="weights inside the run folder", found=f"a link to {real}",
                fix="copy the file into the folder",
            )  # fmt: skip
        return path

    def state_dict(self, epoch: int | None = None) -> dict[str, Tensor]:
        """The weights of a saved epoch, the last one if None, checked against the model.

        Raises EqvizError for files that cannot be read, weights that do not fit, and values that are not finite.
        """
        return self._state_for(self.architecture(), epoch)

    def _state_for(self, model: nn.Module, epoch: int | None) -> dict[str, Tensor]:
        path, wanted = self.weights_path(epoch), model.state_dict()
        if self.adapter is None:
            return read_weights(path, wanted, self.model)
        derived = set(model.eval().state_dict()) - set(wanted)  # what some layers make of their weights in eval mode
        return fit_state(read_checkpoint(path), wanted, self.model, self.adapter.reading, derived=derived)

    def architecture(self) -> nn.Module:
        """The network without the values of its weights: on torch's meta device where it is one of eqviz's.

        Raises EqvizError for arguments the model does not take.
        """
        if not self._own:
            return self._built(None)
        with torch.device("meta"):
            return self._fresh()

    def build(self, epoch: int | None = None) -> nn.Module:
        """The network with the weights of a saved epoch (the last one if None), on the CPU, in eval mode.

        Raises EqvizError as :meth:`state_dict` does, and for arguments the model does not take. Leaves torch's random
        state as it was.
        """
        if self._own:
            state = self.state_dict(epoch)
            model = self._built(None)
        else:  # building it may be slow, or leave something behind: once is enough
            model = self._built(None)
            state = self._state_for(model.train(), epoch)
        model.train().load_state_dict(state)
        return model.eval()

    def untrained(self) -> nn.Module:
        """The network as training starts with it: fresh weights from the run's seed, on the CPU, in eval mode.

        Raises EqvizError for arguments the model does not take. Leaves torch's random state as it was.
        """
        return self._built(stream_seed(self.seed, "weights")).eval()

    @property
    def _own(self) -> bool:
        return is_own(self.model) and (self.adapter is None or self.adapter.constructor is None)

    def _built(self, seed: int | None) -> nn.Module:
        with _BUILDING, own_randomness():
            if seed is not None:
                torch.manual_seed(seed)
            return self._fresh()

    def _fresh(self) -> nn.Module:
        try:
            if not self._own:
                refuse_fetching(self.record, self.arguments)
            if self.adapter is None:
                return build_model(self.model, **self.arguments)
            made = self.adapter.constructor
            model = (
                build_model(self.model, **self.arguments)
                if made is None
                else construct(f"model {self.model}", made, self.arguments)
            )
            return self.adapter.apply(model)
        except EqvizError as error:
            raise EqvizError(
                f"{self.record}: {error.about}", expected=error.expected, found=error.found, fix=error.fix
            ) from error

    def metrics(self) -> pd.DataFrame:
        """One row an epoch: epoch, train_loss (nats), train_accuracy, test_accuracy (0..1), learning_rate, seconds.

        Row 0 is the untrained network. Raises EqvizError for a file that is missing or broken, and for runs that eqviz
        did not train.
        """
        if self.adapter is not None:
            raise EqvizError(
                f"run {self.name}", expected=f"{METRICS} of a run that eqviz trained", found="a checkpoint of others'",
                fix="do without its learning curve",
            )  # fmt: skip
        path = self.folder / METRICS
        try:
            if path.exists() and not path.is_file():  # reading a pipe would wait for ever
                raise ValueError("no file")
            table = pd.read_csv(path, dtype={"epoch": int, **dict.fromkeys(METRIC_COLUMNS[1:], float)})
            if not isinstance(table.index, pd.RangeIndex):
                raise ValueError("more values than columns")
            return table.loc[:, list(METRIC_COLUMNS)]
        except (OSError, ValueError, KeyError, OverflowError) as error:
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
    folder = existing_folder(Path(folder))
    if not (folder / RECORD).is_file():
        raise EqvizError(
            str(folder), expected="a run (run.toml and weights such as epoch-0025.safetensors)", found="no run.toml",
            fix="make one with `eqviz train RECIPE -o FOLDER`",
        )  # fmt: skip
    record = read_record(folder / RECORD)
    return Run(folder=folder, name=folder.resolve().name, epochs=_saved_epochs(folder), **record)


def existing_folder(folder: Path) -> Path:
    """`folder`, if it is there. Raises EqvizError otherwise."""
    if folder.is_dir():
        return folder
    found = "a file" if folder.exists() else "no such folder"
    raise EqvizError(
        str(folder), expected="a folder of runs", found=found, fix="give the folder that holds the checkpoints"
    )


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
