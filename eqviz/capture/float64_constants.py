"""Constants that a steerable library makes in float32, whatever the dtype of its weights, made in float64 instead."""

from collections.abc import Mapping, Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from eqviz.fields.geometric_tensors import is_steerable_module


class _Float64Constants(TorchFunctionMode):
    _MAKING = (torch.empty, torch.zeros, torch.ones)

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        keywords = dict(kwargs or {})
        single = (keywords.get("dtype") or torch.get_default_dtype()) is torch.float32
        counted = func is Tensor.to and not args[0].is_floating_point() and keywords.get("dtype") is torch.float32
        if (func in self._MAKING and single) or counted:
            keywords["dtype"] = torch.float64
        return func(*args, **keywords)


def make_constants_in_float64(model: nn.Module) -> None:
    """Have the modules of e2cnn and escnn in a float64 model put their results into float64 tensors, for good.

    Their pools, gates and filter expansions write into `torch.empty(..., dtype=torch.float)` and the like: in a float64
    network everything behind them would be rounded to float32, or fail. Each module becomes one of a class derived from
    its own, of the same name.
    """
    for module in model.modules():
        if is_steerable_module(module):
            module.__class__ = _in_float64(module)


_derived: dict[Any, Any] = {}


def _in_float64(module: nn.Module) -> Any:
    """The derived class, made once for each class."""
    own: Any = type(module)
    if own not in _derived and not hasattr(own, "makes_float64_constants"):

        @wraps(own.forward)
        def forward(self: nn.Module, *inputs: Any, **keywords: Any) -> Any:
            with _Float64Constants():
                return own.forward(self, *inputs, **keywords)

        @wraps(own.train)
        def train(self: nn.Module, mode: bool = True) -> Any:
            with _Float64Constants():
                return own.train(self, mode)

        members: dict[str, Any] = {"forward": forward, "train": train, "makes_float64_constants": True}
        _derived[own] = type(own.__name__, (own,), {**members, "__module__": own.__module__})
    return _derived.get(own, own)
