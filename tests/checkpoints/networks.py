"""A small network, its weights, and files that hold them."""

from pathlib import Path

import torch
from torch import nn

from eqviz.checkpoints.fitting import Reading, fit_state
from eqviz.checkpoints.reading import Checkpoint


class Net(nn.Module):
    def __init__(self, width=2):
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, 3, 3, bias=False)
        self.fc = nn.Linear(3, 10)


def weights(seed=0):
    torch.manual_seed(seed)
    state = Net().state_dict()
    return {name: torch.rand_like(value) if value.is_floating_point() else value for name, value in state.items()}


def checkpoint(**states):
    """A checkpoint with these state dicts; `bare` is the file itself."""
    places = {"" if key == "bare" else key: state for key, state in states.items()}
    return Checkpoint(Path("a.pth"), "torch", places, {}, None)


def fitted(state, wanted, reading=None, **more):
    return fit_state(checkpoint(bare=state), wanted, "net", reading or Reading(), **more)


def same(one, other):
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def of_dtype(state, dtype):
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}


def under(prefix, state):
    return {prefix + name: value for name, value in state.items()}
