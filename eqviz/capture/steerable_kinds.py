"""What the modules of steerable libraries are: told by where in the library their class is defined."""

import re
from collections.abc import Iterator

from torch import nn

from eqviz.fields.geometric_tensors import is_steerable_module

_PLACE = re.compile(r"(?!torch\.)([\w.]+)\.nn\.modules\.(\w+)")
_KINDS = {
    "r2_conv": "convolution", "conv": "convolution", "pooling": "pooling", "invariantmaps": "pooling",
    "batchnormalization": "normalisation", "nonlinearities": "activation", "dropout": "dropout", "linear": "linear",
    "r2upsampling": "other", "rdupsampling": "other", "restriction_module": "other", "reshuffle_module": "other",
    "disentangle_module": "other", "masking_module": "other", "identity_module": "other",
}  # fmt: skip
"""Kinds of layers by the part of e2cnn or escnn, `NAME.nn.modules.PART`, that defines them."""


def steerable_kind(module: nn.Module) -> str | None:
    """The kind of a single layer of a steerable library; None for its containers and for all other modules.

    >>> steerable_kind(nn.ReLU()) is None
    True
    """
    if not is_steerable_module(module):
        return None
    return next((_KINDS.get(part) for _, part in _places(module)), None)


def library_of(module: nn.Module) -> str:
    """The name of the library that defines a module of its own, such as `e2cnn`; "" for other modules."""
    return next((library for library, _ in _places(module)), "") if is_steerable_module(module) else ""


def _places(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Library and part that define the classes of a module, from its own to its most general one."""
    for own in type(module).__mro__:
        place = _PLACE.match(own.__module__)
        if place:
            yield place.group(1), place.group(2)


def is_steerable_sequence(module: nn.Module) -> bool:
    """Whether this is the library's sequence of modules, which passes on what its last one gives."""
    return is_steerable_module(module) and type(module).forward.__qualname__ == "SequentialModule.forward"


def inner_parts(model: nn.Module) -> set[str]:
    """The paths of modules that a steerable library's layers are made of, and that are no layers themselves.

    Such are the expansions of filters in their bases, and the batch norm on fields of one size, laid out on an axis of
    their own.
    """
    layers = [path for path, module in model.named_modules() if steerable_kind(module) is not None]
    return {
        path for path, module in model.named_modules()
        if any(path.startswith(f"{layer}.") for layer in layers) and not is_steerable_module(module)
    }  # fmt: skip
