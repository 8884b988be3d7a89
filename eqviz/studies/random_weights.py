"""Weights in general position: a fresh network hides what its constants would break once they are trained."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from eqviz.capture.steerable_filters import expand_anew
from eqviz.fields.geometric_tensors import is_steerable_module


def in_general_position(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """The network that `build` makes after seeding with `seed`, in eval mode, with every constant drawn at random.

    Fresh scales are 1, fresh biases and statistics 0 or 1, and branches may be scaled by 0: all the same for every
    channel and orientation, so that a fresh network can look exact where the trained one is not. Parameters and running
    statistics whose entries are all equal are drawn from 0.5 to 1.5 (from -0.5 to 0.5 where they were 0); others stay
    as the model drew them. Torch's random state is left as it was.

    >>> bool(in_general_position(lambda: nn.BatchNorm2d(8)).weight.unique().numel() == 8)
    True
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = build()
        for tensor in _trained(model):
            if _constant(tensor):
                tensor.copy_(torch.rand(tensor.shape) + (-0.5 if float(tensor.flatten()[0]) == 0 else 0.5))
        expand_anew(model)
    return model.eval()


def _trained(model: nn.Module) -> list[Tensor]:
    """What training changes: parameters and running statistics, but no single number that is kept fixed.

    Means of a steerable library's own layers stay too: one that does not lie in the invariant part of its field, as no
    training leaves it, would break the symmetry.
    """
    lazy = nn.parameter.is_lazy
    statistics = [
        tensor for module in model.modules() for name, tensor in module.named_buffers(recurse=False)
        if name.startswith("running_") or (name.endswith("running_var") and is_steerable_module(module))
    ]  # fmt: skip
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad or parameter.dim()]
    return [tensor for tensor in (*parameters, *statistics) if not lazy(tensor)]


def _constant(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.numel() > 0 and bool((tensor == tensor.flatten()[0]).all())
