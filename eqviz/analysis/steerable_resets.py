"""Drawing the weights of a steerable library's modules anew, which have no `reset_parameters()`."""

import sys
from typing import Any

import torch
from torch import Tensor, nn

from eqviz.capture.steerable_kinds import library_of, steerable_kind


def reset_steerable(module: nn.Module) -> None:
    """Draw the weights of a module of e2cnn or escnn as its constructor does, in place; nothing for other modules.

    Filters by the library's own `init.generalized_he_init`, their biases 0; scales, shifts and statistics of a batch
    norm 1 and 0; offsets of norms 0, those of gates from a normal distribution. What is none of these stays as it is.
    """
    weights, expansion = getattr(module, "weights", None), getattr(module, "basisexpansion", None)
    initialise: Any = getattr(sys.modules.get(f"{library_of(module)}.nn.init"), "generalized_he_init", None)
    if isinstance(weights, Tensor) and expansion is not None and initialise is not None:
        drawn = torch.zeros(weights.shape)
        initialise(drawn, expansion)
        weights.copy_(drawn)
        if isinstance(getattr(module, "bias", None), Tensor):
            module.bias.zero_()  # type: ignore[operator]  # a parameter
    kind = steerable_kind(module)
    for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
        value = next((value for of, end, value in _START if of == kind and name.endswith(end)), None)
        if value is not None:
            tensor.fill_(value)
        elif kind == "activation" and name == "bias":  # of the gates
            tensor.normal_()


_START = (
    ("normalisation", "weight", 1), ("normalisation", "running_var", 1), ("normalisation", "bias", 0),
    ("normalisation", "running_mean", 0), ("activation", "log_bias", 0),
)  # fmt: skip
"""What the parameters and buffers of layers of a kind begin with, by the end of their names."""
