"""Watching functions of torch that are followed as what they are, not by the operations that torch makes of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from eqviz.audit.layout import CannotFollow
from eqviz.audit.rules.choices import each_repeated
from eqviz.audit.rules.pads import circular_pad
from eqviz.audit.watching import Watcher


class FunctionWatcher(TorchFunctionMode):
    """Sees as what they are functions that torch takes apart: circular pads, positions repeated."""

    def __init__(self, watcher: Watcher) -> None:
        super().__init__()
        self._watcher = watcher

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        keywords = dict(kwargs or {})
        if self._watcher.paused:
            return func(*args, **keywords)
        if func is F.pad:
            named = dict(zip(("self", "pad", "mode", "value"), args, strict=False)) | keywords
            given = {"self": named.get("self", named.get("input")), "padding": list(named["pad"])}
            if named.get("mode") == "circular" and self._watcher.depends(given["self"]):
                return self._as_one(func, args, keywords, "pad(circular)", circular_pad, given)
        elif func in (Tensor.tolist, Tensor.numpy) and self._watcher.depends(args[0]):
            raise DataDependentOutputException(func)
        elif func in (torch.repeat_interleave, Tensor.repeat_interleave):
            given = {
                "repeats": None,
                "dim": None,
                **dict(zip(("self", "repeats", "dim"), args, strict=False)),
                **keywords,
            }
            given["self"] = given.get("self", given.get("input"))
            if self._watcher.depends(given["self"]):
                return self._as_one(func, args, keywords, "repeat_interleave", each_repeated, given)
        return func(*args, **keywords)

    def _as_one(
        self, func: Any, args: Sequence[Any], keywords: Mapping[str, Any], name: str, rule: Any, given: dict[str, Any]
    ) -> Any:
        """The function followed by a rule of its own, not by the operations that it is made of."""
        trace = self._watcher.interpretation
        self._watcher.paused = True
        try:
            out = func(*args, **keywords)
        finally:
            self._watcher.paused = False
        trace.next()
        self._watcher.operations.append(f"{name} {given.get('repeats', '')}")
        try:
            trace.remember(out, rule(trace, given))
        except CannotFollow as reason:
            source = trace.value(given["self"])
            trace.remember(out, trace.unknown(name, [source], [tuple(out.shape)], str(reason))[0])
        return out
