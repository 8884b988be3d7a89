"""Watching every operation of torch that depends on the image."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

from eqviz.audit.interpretation import Interpretation, arguments
from eqviz.audit.layout import CannotFollow
from eqviz.audit.rules.linear import has_values
from eqviz.audit.rules.registry import AT_RANDOM, NUMBER_BY_NUMBER, RANDOM, follow
from eqviz.audit.values import Snapshot
from eqviz.audit.writes import PUTTING, RULE_FAILED, Writes


class Watcher(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not type its base class
    """Follows every operation that depends on the image."""

    def __init__(self, interpretation: Interpretation, mode: FakeTensorMode, *, values: bool, digests: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the same
        self.interpretation = interpretation
        self.snapshots: list[Snapshot] = []
        self.operations: list[str] = []
        self.constants: list[str] = []
        self.paused = False
        self._reading = False
        self._tainted: dict[int, Tensor] = {}  # constants into which activations were written, by storage
        self._writes = Writes(interpretation)
        self._mode = mode
        self._values = values
        self._digests = digests and values

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        keywords = dict(kwargs or {})
        tensors = [item for item in tree_flatten((args, keywords))[0] if isinstance(item, Tensor)]
        if self.paused:
            return func(*args, **keywords) if self._reading else func(*self._shapes(args), **self._shapes(keywords))
        targets = _written(func, args, keywords)
        if not targets and len(tensors) == 1 and _is_view(func) and self._writes.waiting(tensors[0]) is not None:
            out = func(*args, **keywords)
            self._viewed(func, args, keywords, out)
            return out
        active = self._read(func, args, keywords, tensors, targets)
        if active or not self._with_numbers(tensors):
            out = func(*self._shapes(args), **self._shapes(keywords))
        else:
            out = func(*args, **keywords)
            self._writes.made(_name(func), out)
            self._drawn(func, out)
        if active and _name(func) in _FILLED:  # takes only the shape of an activation
            number = arguments(func, args, keywords).get("fill_value", _FILLED[_name(func)])
            out = torch.full(tuple(out.shape), number, dtype=out.dtype, device=out.device)
            self._writes.made(_name(func), out)
        elif active:
            self._follow(func, args, keywords, out)
        return args[0] if targets and targets[0] is args[0] else out

    def _read(
        self, func: Any, args: Sequence[Any], keywords: Mapping[str, Any], tensors: Sequence[Tensor],
        targets: Sequence[Tensor],
    ) -> bool:  # fmt: skip
        """Find out what all tensors hold but those that are only written to; whether one depends on the image."""
        for tensor in tensors:
            if not any(tensor is target for target in targets):
                self.written_before(tensor)
        known = self.interpretation.known
        if targets and not any(known(item) for item in tensors):
            alone, given = len(targets) == 1 and targets[0] is args[0], arguments(func, args, keywords)
            real = self._with_numbers(tensors)
            if not (alone and self._writes.of_constants(_name(func), given, args[0], carried_out=real)):
                for target in targets:
                    self.written_before(target)
        return any(known(item) for item in tensors)

    def written_before(self, tensor: Tensor) -> None:
        """Constants into which activations were written hold these."""
        before = self.paused, self._reading
        self.paused = self._reading = True
        try:
            contents = [write.content for write in self._writes.read(tensor)]
            self.constants += [_digest(one) for one in contents if self._digests and isinstance(one, Tensor)]
        finally:
            self.paused, self._reading = before
        new = bool(self._tainted) and not self.interpretation.known(tensor)
        if new and self.interpretation.memory.key(tensor) in self._tainted:
            self.interpretation.remember(tensor, self.interpretation.opaque(tuple(tensor.shape)))

    def _drawn(self, func: Any, out: Any) -> None:
        """Numbers drawn at random are as little known as those of an operation that is not followed."""
        if _name(func).rstrip("_") in RANDOM and isinstance(out, Tensor):
            self.interpretation.next()
            self._unknown(func, (), {}, [out], AT_RANDOM)

    def depends(self, item: Any) -> bool:
        """Whether something is a tensor that depends on the image."""
        if isinstance(item, Tensor):
            self.written_before(item)
        return self.interpretation.known(item)

    def _with_numbers(self, tensors: Sequence[Tensor]) -> bool:
        """Whether an operation on constants is carried out: numbers are at hand, and weights count by them.

        Whole numbers always do: they choose places.
        """
        if any(isinstance(tensor, FakeTensor) for tensor in tensors):
            return False
        stored = self.interpretation.stored
        return self._values or not any(tensor.is_floating_point() and stored(tensor) for tensor in tensors)

    def _viewed(self, func: Any, args: Sequence[Any], keywords: Mapping[str, Any], out: Any) -> None:
        """Keep which part of a tensor a view shows."""
        if isinstance(out, Tensor) and args and isinstance(args[0], Tensor):
            self.interpretation.memory.viewed(_name(func), arguments(func, args, keywords), args[0], out)

    def _shapes(self, items: Any) -> Any:
        return tree_map_only(Tensor, self._without_numbers, items)

    def _without_numbers(self, tensor: Tensor) -> Tensor:
        if isinstance(tensor, FakeTensor):
            return tensor
        found = self._mode.from_tensor(tensor)
        self.interpretation.memory.shadowed(tensor, found)
        return found

    def _follow(self, func: Any, args: Sequence[Any], keywords: Mapping[str, Any], out: Any) -> None:
        tensors = [item for item in tree_flatten(out)[0] if isinstance(item, Tensor)]
        if not tensors and not func._schema.is_mutable:
            return
        trace = self.interpretation
        trace.next()
        self.operations.append(self._described(func, args, keywords))
        targets = _written(func, args, keywords)
        if targets:
            self._written(func, args, keywords, tensors, targets)
            return
        if _is_view(func):
            self._viewed(func, args, keywords, out)
        try:
            found = follow(trace, func, args, keywords, out)
            for tensor, value in zip(tensors, found, strict=False):
                trace.remember(tensor, value)
            for tensor in tensors[len(found) :]:
                trace.remember(tensor, trace.opaque(tuple(tensor.shape)))
        except CannotFollow as reason:
            self._unknown(func, args, keywords, tensors, str(reason))
        except RULE_FAILED as error:
            self._unknown(func, args, keywords, tensors, f"its rule failed: {error}")

    def _described(self, func: Any, args: Any, keywords: Any) -> str:
        """The operation with its numbers and the shapes of its constants, but for what lays out space."""
        name = _name(func).rstrip("_")
        canvases = [one for one in _written(func, args, keywords) if self._writes.waiting(one) is not None]
        parts = [str(func)]
        for item in tree_flatten((args, keywords))[0]:
            if not isinstance(item, Tensor):
                parts += [repr(item)] if name not in _LAYING_OUT else []
            elif not self.interpretation.known(item) and not any(item is canvas for canvas in canvases):
                told = _without_repeats(item) if self._digests and name in NUMBER_BY_NUMBER else item
                parts.append(str(tuple(told.shape)))
                self.constants += [_digest(told)] if self._digests else []
        return " ".join(parts)

    def _written(
        self, func: Any, args: Sequence[Any], keywords: Mapping[str, Any], tensors: Sequence[Tensor],
        targets: Sequence[Tensor],
    ) -> None:  # fmt: skip
        """An operation that writes into tensors, where activations are read or written."""
        trace, name = self.interpretation, _name(func)
        try:
            if not (len(targets) == 1 and targets[0] is args[0] and tensors):
                raise CannotFollow("it writes into memory that is given to it")
            canvas = self._writes.waiting(args[0])
            if canvas is not None and name not in PUTTING and (canvas.written or canvas.unset):
                self.written_before(args[0])
            if trace.known(args[0]):
                self._in_place(func, args, keywords, tensors[0])
                return
            computed = None if name in PUTTING else follow(trace, func, args, keywords, tensors[0])[0]
            self._writes.of_activations(name, arguments(func, args, keywords), args[0], computed)
        except CannotFollow as reason:
            self._spoiled(func, args, keywords, tensors, targets, str(reason))
        except RULE_FAILED as error:
            self._spoiled(func, args, keywords, tensors, targets, f"its rule failed: {error}")

    def _in_place(self, func: Any, args: Sequence[Any], keywords: Mapping[str, Any], out: Tensor) -> None:
        """An activation is changed in place: what it and other tensors on the same memory hold now."""
        trace, target = self.interpretation, args[0]
        name, given = func._schema.name.split("::")[1], arguments(func, args, keywords)
        part = self._writes.put(name, given, target)
        if part is None:
            part = (trace.memory.part(target)[1], follow(trace, func, args, keywords, out)[0])
        whole = trace.memory.part(target)[0]
        new, held = self._writes.after(target, part)
        covers = target.numel() * target.element_size() == target.untyped_storage().nbytes()
        others = trace.sharing_memory(target)
        trace.remember(target, new)
        trace.remember(out, new)
        for other in others:
            if other is whole or _place(other) == _place(whole):
                trace.remember(other, held)
            elif _place(other) == _place(target):
                trace.remember(other, new)
            elif func._schema.name in _EVERY_NUMBER and covers:
                trace.remember(other, trace.changed(trace.value(other)))
            else:
                trace.remember(other, trace.opaque(tuple(other.shape)))

    def _spoiled(
        self, func: Any, args: Any, keywords: Any, tensors: Sequence[Tensor], targets: Sequence[Tensor], reason: str
    ) -> None:
        """What was written is not known, nor what other tensors on the same memory hold."""
        trace = self.interpretation
        self._unknown(func, args, keywords, tensors, reason)
        for target in targets:
            canvas = trace.memory.canvas(target)
            if canvas is not None:
                trace.remember(canvas.whole, trace.opaque(tuple(canvas.whole.shape)))
            elif not trace.known(target):
                self._tainted[trace.memory.key(target)] = target
            for other in (target, *trace.sharing_memory(target)):
                trace.remember(other, trace.opaque(tuple(other.shape)))

    def _unknown(self, func: Any, args: Any, keywords: Any, tensors: Sequence[Tensor], reason: str) -> None:
        trace = self.interpretation
        given = [item for item in tree_flatten((args, keywords))[0] if trace.known(item)]
        name = _name(func).strip("_")
        values = trace.unknown(name, [trace.value(t) for t in given], [tuple(t.shape) for t in tensors], reason)
        for tensor, value in zip(tensors, values, strict=True):
            trace.remember(tensor, value)


def _place(tensor: Tensor) -> tuple[Any, ...]:
    """Where in its memory a tensor lies."""
    return tuple(tensor.shape), tensor.stride(), tensor.storage_offset()


def _is_view(func: Any) -> bool:
    """Whether an operation gives the same memory in another shape."""
    return any(one.alias_info is not None for one in func._schema.returns) and not func._schema.is_mutable


def _name(func: Any) -> str:
    """The name of an operation without its overload."""
    return str(func._schema.name.split("::")[1])


_LAYING_OUT = frozenset({
    "view", "_unsafe_view", "reshape", "expand", "slice", "select", "narrow", "permute", "transpose", "t",
    "unsqueeze", "squeeze", "constant_pad_nd", "roll", "flip", "reflection_pad2d", "replication_pad2d",
    "convolution", "max_pool2d_with_indices", "avg_pool2d", "_adaptive_avg_pool2d", "adaptive_max_pool2d",
    "im2col", "unfold", "as_strided", "native_group_norm", "split", "split_with_sizes", "upsample_nearest2d",
    "_upsample_nearest_exact2d", "upsample_bilinear2d", "upsample_bicubic2d", "_upsample_bilinear2d_aa",
    "_upsample_bicubic2d_aa",
})  # fmt: skip
"""Operations whose numbers say how space is laid out; what they do to rows and columns is followed and compared."""


def _without_repeats(constant: Tensor) -> Tensor:
    """A constant without what only spreads it over rows and columns, of which there may be others in another pass."""
    if not has_values(constant) or constant.dim() < 3 or constant.numel() == 0:
        return constant
    first = constant[..., :1, :1]
    return first if bool((constant == first).all()) else constant


def _digest(constant: Tensor) -> str:
    """What tells one constant from another."""
    if isinstance(constant, FakeTensor) or constant.is_meta:
        return ""
    numbers = constant.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.blake2b(numbers.tobytes(), digest_size=16).hexdigest()


def _written(func: Any, args: Sequence[Any], keywords: Mapping[str, Any]) -> list[Tensor]:
    """The tensors that an operation writes into."""
    if _name(func) == "rrelu_with_noise":  # nothing but its noise, in training
        return []
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
