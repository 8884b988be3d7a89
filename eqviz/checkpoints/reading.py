"""A checkpoint of any kind: which state dicts are in the file, and what else it says about the network."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor


@dataclass(frozen=True)
class Checkpoint:
    """What is in a file of weights.

    `states` are the state dicts by their place in the file, best first: "" (the file itself), "state_dict", "model",
    "ema.shadow", ...; tensors are on the CPU and not checked for their values, which :func:`fit_state` does.
    `hyperparameters` holds plain values only (text, numbers, booleans, lists and dictionaries of these); `epoch` is
    None where the file does not say it. `format` is "safetensors", "torch" or "torch, before 1.6".
    """

    path: Path
    format: str
    states: Mapping[str, Mapping[str, Tensor]]
    hyperparameters: Mapping[str, Any]
    epoch: int | None


def read_checkpoint(path: Path) -> Checkpoint:
    """The state dicts in a file of weights, whatever its name: safetensors, or torch's own formats.

    Nothing in the file is run. Raises EqvizError for everything that is wrong with it.
    """
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:9] == b"{":
        return Checkpoint(path, "safetensors", {"": load_file(path)}, {}, None)
    content = torch.load(path, map_location="cpu", weights_only=True)
    states = {"": content} if all(isinstance(value, Tensor) for value in content.values()) else content
    states = {place: state for place, state in states.items() if isinstance(state, Mapping)}
    return Checkpoint(path, "torch", states, {}, None)
