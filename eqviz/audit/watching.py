"""Watching every operation of torch that depends on the image."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

from eqviz.audit.interpretation import Interpretation, arguments
from eqviz.audit.layout import CannotFollow
from eqviz.audit.rules.pads import circular_pad
from eqviz.audit.rules.registry import follow
from eqviz.audit.values import Snapshot, Value


class Watcher(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not type its base class
    """Follows every operation that depends on the image."""

    def __init__(self, interpretation: Interpretation, mode: FakeTensorMode, *, values: bool, digests: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the same
        self.interpretation = interpretation
        self.snapshots: list[Snapshot] = []
        self.operations: list[str] = []
        self.constants: list[str] = []
        self.paused = False
        self._tainted: dict[int, Tensor] = {}  # constants into which activations were written, by storage
        self._mode = mode
        self._values = values
        self._digests = digests and values

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        keywords = dict(kwargs or {})
        tensors = [item for item in tree_flatten((args, keywords))[0] if isinstance(item, Tensor)]
        for tensor in tensors:
            self.written_before(tensor)
        active = any(self.interpretation.known(item) for item in tensors)
        if active or self.paused or any(isinstance(t, FakeTensor) for t in tensors) or (tensors and not self._values):
            out = func(*self._shapes(args), **self._shapes(keywords))
        else:
            out = func(*args, **keywords)
        if not active or self.paused:
            return out
        name = func._schema.name.split("::")[1]
        if name in _FILLED:  # takes only the shape of an activation
            given = arguments(func, args, keywords)
            return torch.full(
                tuple(out.shape), given.get("fill_value", _FILLED[name]), dtype=out.dtype, device=out.device
            )
        self._follow(func, args, keywords, out)
        return out

    def written_before(self, tensor: Tensor) -> None:
        """Constants into which activations were written are known no more than that."""
        new = bool(self._tainted) and not self.interpretation.known(tensor)
        if new and tensor.untyped_storage()._cdata in self._tainted:
            self.interpretation.remember(tensor, self.interpretation.opaque(tuple(tensor.shape)))

    def _shapes(self, items: Any) -> Any:
        return tree_map_only(Tensor, self._without_numbers, items)

    def _without_numbers(self, tensor: Tensor) -> Tensor:
        return tensor if isinstance(tensor, FakeTensor) else self._mode.from_tensor(tensor)

    def _follow(self, func: Any, args: Sequence[Any], keywords: Mapping[str, Any], out: Any) -> None:
        tensors = [item for item in tree_flatten(out)[0] if isinstance(item, Tensor)]
        if not tensors and not func._schema.is_mutable:
            return
        trace = self.interpretation
        trace.next()
        self.operations.append(self._described(func, args, keywords))
        targets = _written(func, args, keywords)
        in_place = bool(targets)
        if targets and not (len(targets) == 1 and targets[0] is args[0] and trace.known(args[0]) and tensors):
            self._into_memory(func, args, keywords, tensors, targets)
            return
        try:
            found = follow(trace, func, args, keywords, out)
            if in_place:
                self._written(func, tensors[0], found[0])
            for tensor, value in zip(tensors, found, strict=False):
                trace.remember(tensor, value)
            for tensor in tensors[len(found) :]:
                trace.remember(tensor, trace.opaque(tuple(tensor.shape)))
        except CannotFollow as reason:
            self._unknown(func, args, keywords, tensors, str(reason), in_place=in_place)
        except _RULE_FAILED as error:
            self._unknown(func, args, keywords, tensors, f"its rule failed: {error}", in_place=in_place)

    def _into_memory(
        self, func: Any, args: Any, keywords: Any, tensors: Sequence[Tensor], targets: Sequence[Tensor]
    ) -> None:
        """Activations are written into tensors that are given: constants, `out=`, lists of tensors."""
        trace = self.interpretation
        self._unknown(func, args, keywords, tensors, "it writes into memory that is given to it", in_place=False)
        for target in targets:
            if not trace.known(target):
                self._tainted[target.untyped_storage()._cdata] = target
            trace.remember(target, trace.opaque(tuple(target.shape)))
            for other in trace.sharing_memory(target):
                trace.remember(other, trace.opaque(tuple(other.shape)))

    def _described(self, func: Any, args: Any, keywords: Any) -> str:
        """The operation with its numbers and the shapes of its constants, but for what lays out space."""
        name = func._schema.name.split("::")[1].rstrip("_")
        parts = [str(func)]
        for item in tree_flatten((args, keywords))[0]:
            if not isinstance(item, Tensor):
                parts += [repr(item)] if name not in _LAYING_OUT else []
            elif not self.interpretation.known(item):
                parts.append(str(tuple(item.shape)))
                self.constants += [_digest(item)] if self._digests else []
        return " ".join(parts)

    def _written(self, func: Any, tensor: Tensor, new: Value) -> None:
        """After a change in place: what is known now of other tensors on the same memory."""
        trace = self.interpretation
        for other in trace.sharing_memory(tensor):
            place = (other.shape, other.stride(), other.storage_offset())
            whole = tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()
            if place == (tensor.shape, tensor.stride(), tensor.storage_offset()):
                trace.remember(other, new)
            elif func._schema.name in _EVERY_NUMBER and whole:
                trace.remember(other, trace.changed(trace.value(other)))
            else:
                trace.remember(other, trace.opaque(tuple(other.shape)))

    def _unknown(
        self, func: Any, args: Any, keywords: Any, tensors: Sequence[Tensor], reason: str, *, in_place: bool
    ) -> None:
        trace = self.interpretation
        given = [item for item in tree_flatten((args, keywords))[0] if trace.known(item)]
        name = func._schema.name.split("::")[1].strip("_")
        values = trace.unknown(name, [trace.value(t) for t in given], [tuple(t.shape) for t in tensors], reason)
        for tensor, value in zip(tensors, values, strict=True):
            trace.remember(tensor, value)
            for other in trace.sharing_memory(tensor) if in_place else ():
                trace.remember(other, trace.opaque(tuple(other.shape)))


_LAYING_OUT = frozenset({
    "view", "_unsafe_view", "reshape", "expand", "slice", "select", "narrow", "permute", "transpose", "t",
    "unsqueeze", "squeeze", "constant_pad_nd", "roll", "flip", "reflection_pad2d", "replication_pad2d",
    "convolution", "max_pool2d_with_indices", "avg_pool2d", "_adaptive_avg_pool2d", "adaptive_max_pool2d",
    "im2col", "unfold", "as_strided", "native_group_norm", "split", "split_with_sizes", "upsample_nearest2d",
    "_upsample_nearest_exact2d", "upsample_bilinear2d", "upsample_bicubic2d", "_upsample_bilinear2d_aa",
    "_upsample_bicubic2d_aa",
})  # fmt: skip
"""Operations whose numbers say how space is laid out; what they do to rows and columns is followed and compared."""

_RULE_FAILED = (LookupError, TypeError, ValueError, RuntimeError)
"""What a rule raises that met something it was not made for."""


def _digest(constant: Tensor) -> str:
    """What tells one constant from another."""
    if isinstance(constant, FakeTensor) or constant.is_meta:
        return ""
    numbers = constant.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.blake2b(numbers.tobytes(), digest_size=16).hexdigest()


def _written(func: Any, args: Sequence[Any], keywords: Mapping[str, Any]) -> list[Tensor]:
    """The tensors that an operation writes into."""
    schema = func._schema.arguments
    given = {argument.name: value for argument, value in zip(schema, args, strict=False)} | dict(keywords)
    marked = [a.name for a in schema if a.alias_info is not None and a.alias_info.is_write]
    return [item for name in marked for item in tree_flatten(given.get(name))[0] if isinstance(item, Tensor)]


_FILLED = {
    "new_zeros": 0, "zeros_like": 0, "new_ones": 1, "ones_like": 1, "new_full": 0, "full_like": 0, "new_empty": 0,
    "empty_like": 0, "new_empty_strided": 0,
}  # fmt: skip
"""Operations that make a constant in the shape of an activation, and what it is filled with."""

_EVERY_NUMBER = frozenset({"aten::relu_", "aten::clamp_", "aten::clamp_min_", "aten::leaky_relu_", "aten::hardtanh_"})
"""Changes in place that do the same to every number, so that a view of the same numbers is known as well."""


class FunctionWatcher(TorchFunctionMode):
    """Sees circular pads as what they are; torch takes them apart into writes to memory."""

    def __init__(self, watcher: Watcher) -> None:
        super().__init__()
        self._watcher = watcher

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        keywords = dict(kwargs or {})
        if func is not F.pad:
            return func(*args, **keywords)
        named = dict(zip(("input", "pad", "mode", "value"), args, strict=False)) | keywords
        trace = self._watcher.interpretation
        if named.get("mode") != "circular" or not trace.known(named["input"]):
            return func(*args, **keywords)
        self._watcher.paused = True
        try:
            out = func(*args, **keywords)
        finally:
            self._watcher.paused = False
        trace.next()
        given = {"self": named["input"], "padding": list(named["pad"])}
        try:
            trace.remember(out, circular_pad(trace, given))
        except CannotFollow as reason:
            source = trace.value(named["input"])
            trace.remember(out, trace.unknown("pad(circular)", [source], [tuple(out.shape)], str(reason))[0])
        return out
