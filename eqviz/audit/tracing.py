"""One forward pass without any image: activations have a shape and no numbers, constants have their numbers.

Every operation of torch is seen, inside modules and between them, with the layer that calls it. Operations that do not
depend on the image, such as the making of a filter from its parameters, are carried out; all others only give shapes.
"""

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

from eqviz.audit.expressions import Expressions
from eqviz.audit.interpretation import Interpretation, arguments
from eqviz.audit.layout import CannotFollow
from eqviz.audit.rules.pads import circular_pad
from eqviz.audit.rules.registry import follow
from eqviz.audit.rules.views import exchanged
from eqviz.audit.values import Record, Snapshot, Value
from eqviz.errors import EqvizError
from eqviz.fields.field_types import FieldType
from eqviz.fields.layer_calls import LayerCall, layer_names, placement, tensors_in
from eqviz.groups.group import Group

BATCH = 2
"""Images in the traced batch; what mixes images is then told apart from what does not."""


@dataclass(frozen=True)
class Trace:
    """What one traced forward pass gave: records and outputs of layers in order, and names of all operations."""

    records: tuple[Record, ...]
    snapshots: tuple[Snapshot, ...]
    operations: tuple[str, ...]


def trace_model(
    model: nn.Module,
    shape: tuple[int, int, int],
    group: Group,
    expressions: Expressions,
    field_of: Callable[[str], FieldType | None],
    *,
    values: bool = True,
) -> Trace:
    """Trace one forward pass on images of `shape` (channels, height, width).

    Without `values`, parameters count by their shapes only. The model is left as it was: hooks, modes and numbers.
    Raises EqvizError, with the layer, for a model that raises or whose path depends on the numbers of its activations.
    """
    names = layer_names(model)
    stored = frozenset(t.untyped_storage()._cdata for t in (*model.parameters(), *model.buffers()))
    interpretation = Interpretation(group, expressions, field_of, stored)
    device, dtype = placement(model)
    mode = FakeTensorMode()
    with mode:
        images = torch.empty((BATCH, *shape), device=device, dtype=dtype)
    interpretation.remember(images, interpretation.image(tuple(images.shape)))
    watcher = _Watcher(interpretation, mode, values=values)
    with _followed(model, names, watcher), _silent(), torch.no_grad(), _FunctionWatcher(watcher), watcher:
        try:
            model(images)
        except EqvizError:
            raise
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            raise EqvizError(
                "audit", expected="a forward pass whose path does not depend on the numbers in it",
                found="a number taken out of an activation (if, .item(), a mask as index) in layer "
                f"{_innermost(interpretation)}",
                fix="audit the parts before and after it, or measure the model instead (eqviz.verdict)",
            ) from error  # fmt: skip
        except Exception as error:
            message = (str(error).strip() or "no message").splitlines()[0]
            reason = f"{type(error).__name__}: {message}"
            raise EqvizError(
                "audit", expected=f"a forward pass on images of {shape[0]} channels and {shape[1]}x{shape[2]} pixels",
                found=f"{reason[:300]} (in layer {_innermost(interpretation)})",
                fix="check the input size, the channels and the model's code",
            ) from error  # fmt: skip
    return Trace(tuple(interpretation.records), tuple(watcher.snapshots), tuple(watcher.operations))


def _innermost(interpretation: Interpretation) -> str:
    return interpretation.stack[-1].layer if interpretation.stack else "(output)"


class _Watcher(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not type its base class
    """Follows every operation that depends on the image."""

    def __init__(self, interpretation: Interpretation, mode: FakeTensorMode, *, values: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.interpretation = interpretation
        self.snapshots: list[Snapshot] = []
        self.operations: list[str] = []
        self.paused = False
        self._tainted: dict[int, Tensor] = {}  # constants into which activations were written, by storage
        self._mode = mode
        self._values = values

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
        if not tensors:
            return
        trace = self.interpretation
        trace.next()
        self.operations.append(str(func))
        in_place = func._schema.is_mutable
        target = args[0] if in_place and args and isinstance(args[0], Tensor) else None
        if target is not None and not trace.known(target):
            self._tainted[target.untyped_storage()._cdata] = target
            self._unknown(func, args, keywords, tensors, "it writes activations into a constant", in_place=False)
            self.written_before(target)
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
        except (
            IndexError,
            KeyError,
            TypeError,
            ValueError,
            RuntimeError,
        ) as error:  # a rule met what it was not made for
            self._unknown(func, args, keywords, tensors, f"its rule failed: {error}", in_place=in_place)

    def _written(self, func: Any, tensor: Tensor, new: Value) -> None:
        """After a change in place: what is known now of other tensors on the same memory."""
        trace = self.interpretation
        for other in trace.sharing_memory(tensor):
            if other.shape == tensor.shape:
                trace.remember(other, new)
            elif func._schema.name in _EVERY_NUMBER and other.numel() <= tensor.numel():
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


_FILLED = {
    "new_zeros": 0, "zeros_like": 0, "new_ones": 1, "ones_like": 1, "new_full": 0, "full_like": 0, "new_empty": 0,
    "empty_like": 0, "new_empty_strided": 0,
}  # fmt: skip
"""Operations that make a constant in the shape of an activation, and what it is filled with."""

_EVERY_NUMBER = frozenset({"aten::relu_", "aten::clamp_", "aten::clamp_min_", "aten::leaky_relu_", "aten::hardtanh_"})
"""Changes in place that do the same to every number, so that a view of the same numbers is known as well."""


class _FunctionWatcher(TorchFunctionMode):
    """Sees circular pads as what they are; torch takes them apart into writes to memory."""

    def __init__(self, watcher: _Watcher) -> None:
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


@contextmanager
def _silent() -> Iterator[None]:
    """Torch logs what operations raise on shapes, where it becomes one line here, and warns of what is audited."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


@contextmanager
def _followed(model: nn.Module, names: Mapping[str, nn.Module], watcher: _Watcher) -> Iterator[None]:
    """Keep the stack of layers that are running, and what each of them gives out; in evaluation mode."""
    modes = [(module, module.training) for module in model.modules()]
    calls: Counter[str] = Counter()
    handles = []
    trace = watcher.interpretation

    def entering(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any) -> None:
            del module, inputs
            trace.stack.append(LayerCall(name, calls[name]))
            calls[name] += 1

        return hook

    def leaving(module: nn.Module, inputs: Any, output: Any) -> None:
        del module, inputs
        layer = trace.stack.pop()
        for suffix, tensor in tensors_in(output):
            if not tensor.is_floating_point():
                continue
            watcher.written_before(tensor)
            value = trace.value(tensor) if trace.known(tensor) else None
            if value is not None and value.exchanged:
                value = exchanged(trace, value)
            watcher.snapshots.append(Snapshot(layer.layer + suffix, layer.call, tuple(tensor.shape), value))

    try:
        model.eval()
        for name, module in names.items():
            handles.append(module.register_forward_pre_hook(entering(name)))
            handles.append(module.register_forward_hook(leaving))
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode
