"""A checkpoint of any kind: which state dicts are in the file, and what else it says about the network."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from eqviz.checkpoints.contents import epoch, find_states, hyperparameters, is_average
from eqviz.checkpoints.file_kinds import kind_of, not_weights
from eqviz.checkpoints.safetensors_files import load_safetensors
from eqviz.checkpoints.torch_files import load_torch
from eqviz.checkpoints.wording import shown, some
from eqviz.errors import EqvizError


@dataclass(frozen=True)
class Checkpoint:
    """What is in a file of weights.

    `format` is "safetensors", "torch" or "torch, before 1.6". `states` are the state dicts by their place in the file,
    best first: "" (the file itself), "state_dict", "model", "ema.shadow", ...; tensors are on the CPU, as they are in
    the file, and not checked for their values, which :func:`eqviz.checkpoints.fitting.fit_state` does.
    `hyperparameters` holds plain values only (text, numbers, booleans, lists and dictionaries of these); `epoch` is
    None where the file does not say it.
    """

    path: Path
    format: str
    states: Mapping[str, Mapping[str, Tensor]]
    hyperparameters: Mapping[str, Any]
    epoch: int | None


def read_checkpoint(path: Path) -> Checkpoint:
    """The state dicts in a file of weights, whatever its name: safetensors, or the formats of torch.save since 0.1.10.

    Nothing in the file is run or imported. Raises EqvizError for everything that is wrong with it: no file, no weights,
    broken, cut off, declaring more than it holds, naming anything but tensors and plain values.

    >>> import tempfile, torch
    >>> path = Path(tempfile.mkdtemp()) / "model.pth.tar"
    >>> torch.save({"state_dict": torch.nn.Linear(2, 1).state_dict(), "epoch": 25}, path)
    >>> checkpoint = read_checkpoint(path)
    >>> checkpoint.format, {place: list(state) for place, state in checkpoint.states.items()}, checkpoint.epoch
    ('torch', {'state_dict': ['weight', 'bias']}, 25)
    """
    path = Path(path)
    kind, size = kind_of(path)
    if kind == "safetensors":
        tensors, content = load_safetensors(path)
        states, settings = {"": tensors} if tensors else {}, hyperparameters(content, all_else=True)
    else:
        content = load_torch(path, kind, size)
        states, settings = find_states(content), hyperparameters(content)
    if not states:
        raise no_weights(path)
    return Checkpoint(path, kind, states, settings, epoch(content))


def states_at(
    path: Path, states: Mapping[str, Mapping[str, Tensor]], place: str | None
) -> Mapping[str, Mapping[str, Tensor]]:
    """Those of the state dicts in the file `path` that are meant by a place; all of them by None.

    A place means the state dict there, or else all that lie within it, or else, if it is a word for averages such as
    "ema", all averages. Raises EqvizError if there is none.

    >>> list(states_at(Path("a.pth"), {"state_dict": {}, "model_ema": {}}, "ema"))
    ['model_ema']
    """
    if place is None:
        return states
    chosen = {key: state for key, state in states.items() if key == place}
    chosen = chosen or {key: state for key, state in states.items() if key.startswith(f"{place}.")}
    if not chosen and is_average(place):
        chosen = {key: state for key, state in states.items() if is_average(key)}
    if not chosen:
        raise EqvizError(
            str(path), expected=f"weights at {shown(place)!r}",
            found=f"them at {some([repr(shown(key)) for key in states])}", fix="choose one of these places",
        )  # fmt: skip
    return chosen


def no_weights(path: Path) -> EqvizError:
    """The error for a file that holds no state dict."""
    return not_weights(path, "no named weights in it", "save the model's state_dict()")
