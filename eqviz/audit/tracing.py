"""One forward pass without any image: activations have a shape and no numbers, constants have their numbers.

Every operation of torch is seen, inside modules and between them, with the layer that calls it. Operations that do not
depend on the image, such as the making of a filter from its parameters, are carried out; all others only give shapes.
"""

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from eqviz.audit.expressions import Expressions
from eqviz.audit.function_watching import FunctionWatcher
from eqviz.audit.interpretation import Interpretation
from eqviz.audit.rules.views import exchanged
from eqviz.audit.values import Record, Snapshot
from eqviz.audit.watching import Watcher
from eqviz.errors import EqvizError, told
from eqviz.fields.field_types import FieldType
from eqviz.fields.layer_calls import OUTPUT, LayerCall, layer_names, placement, tensors_in
from eqviz.fields.stated_types import note_types
from eqviz.groups.group import Group

BATCH = 2
"""Images in the traced batch; what mixes images is then told apart from what does not."""


@dataclass(frozen=True)
class Trace:
    """What one traced forward pass gave: records and outputs of layers in order, what the model gave.

    `operations` describe all operations on activations and `constants` the constants in them, the latter for images
    that are not square only: there two passes are compared.
    """

    records: tuple[Record, ...]
    snapshots: tuple[Snapshot, ...]
    outputs: tuple[Snapshot, ...]
    operations: tuple[str, ...]
    constants: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def does_as(self, other: "Trace") -> bool:
        """Whether the same was done in both passes, with the same constants."""
        return (self.operations, self.constants) == (other.operations, other.constants)


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
    stored = frozenset(t.untyped_storage()._cdata for t in _numbers(model))
    interpretation = Interpretation(group, expressions, field_of, stored)
    device, dtype = placement(model)
    mode = FakeTensorMode()
    with mode:
        images = torch.empty((BATCH, *shape), device=device, dtype=dtype)
    interpretation.remember(images, interpretation.image(tuple(images.shape)))
    watcher = Watcher(interpretation, mode, values=values, digests=shape[1] != shape[2])
    with _followed(model, names, watcher), _silent(), torch.no_grad(), FunctionWatcher(watcher), watcher:
        try:
            result = model(images)
        except EqvizError:
            raise
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            raise EqvizError(
                "audit", expected="a forward pass whose path does not depend on the numbers in it",
                found="a number taken out of an activation (if, .item(), a mask as index) in layer "
                f"{_innermost(interpretation)}",
                fix="audit the parts before and after it, or measure the model instead (eqviz.verdict)",
            ) from error  # fmt: skip
        except (Exception, SystemExit) as error:
            raise EqvizError(
                "audit", expected=f"a forward pass on images of {shape[0]} channels and {shape[1]}x{shape[2]} pixels",
                found=f"{told(error)} (in layer {_innermost(interpretation)})",
                fix="check the input size, the channels and the model's code",
            ) from error  # fmt: skip
    outputs, notes = _outputs(watcher, result)
    operations = (*watcher.operations, *interpretation.chosen)
    return Trace(
        tuple(interpretation.records), tuple(watcher.snapshots), outputs, operations, tuple(watcher.constants), notes
    )


def _numbers(model: nn.Module) -> tuple[Tensor, ...]:
    return (*model.parameters(), *model.buffers())


def check_traceable(model: nn.Module) -> None:
    """Raise EqvizError for what cannot be traced at all: TorchScript, lazy parameters."""
    refused = ""
    if not isinstance(model, nn.Module):
        refused = f"a {type(model).__name__}"
    elif isinstance(model, torch.jit.ScriptModule):
        refused = "a TorchScript module, whose operations are hidden"
    elif any(isinstance(number, UninitializedParameter | UninitializedBuffer) for number in _numbers(model)):
        refused = "lazy parameters that have no shape yet"
    if refused:
        raise EqvizError(
            "model", expected="a torch.nn.Module with weights", found=refused, fix="give the Python module itself"
        )


def _innermost(interpretation: Interpretation) -> str:
    return interpretation.stack[-1].layer if interpretation.stack else OUTPUT


def _outputs(watcher: Watcher, result: Any) -> tuple[tuple[Snapshot, ...], tuple[str, ...]]:
    """What the model gave, tensor by tensor, and what of it cannot be judged."""
    trace, found, notes = watcher.interpretation, [], []
    for suffix, tensor in tensors_in(result):
        watcher.written_before(tensor)
        value = trace.value(tensor) if trace.known(tensor) else None
        if value is not None and not tensor.is_floating_point():
            value = trace.opaque(tuple(tensor.shape))
            notes.append(f"{OUTPUT}{suffix} is {str(tensor.dtype).removeprefix('torch.')} and is not judged")
        if value is not None and value.exchanged:
            value = exchanged(trace, value)
        found.append(Snapshot(OUTPUT + suffix, 0, tuple(tensor.shape), value))
    if not found:
        notes.append(f"the output is a {type(result).__name__} without a tensor that eqviz can find")
    return tuple(found), tuple(notes)


@contextmanager
def _silent() -> Iterator[None]:
    """Torch logs what operations raise on shapes, where it becomes one line here, and warns of what is audited.

    Its transformers run as the operations that they are made of, not as one operation that hides them.
    """
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before = logger.disabled
    logger.disabled = True
    whole = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before
        torch.backends.mha.set_fastpath_enabled(whole)


@contextmanager
def _followed(model: nn.Module, names: Mapping[str, nn.Module], watcher: Watcher) -> Iterator[None]:
    """Keep the stack of layers that are running, and what each of them gives out; in evaluation mode."""
    calls: Counter[str] = Counter()
    handles = []
    by_module = {id(module): name for name, module in names.items()}
    before = _Before(model)
    trace = watcher.interpretation

    def entering(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any) -> None:
            del module, inputs
            trace.stack.append(LayerCall(name, calls[name]))
            calls[name] += 1

        return hook

    def leaving(module: nn.Module, inputs: Any, output: Any) -> None:
        del inputs
        note_types(module, output)
        layer = trace.stack.pop()
        while trace.stack and layer.layer != by_module[id(module)]:  # layers that raised what was caught
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
        before.restore()


class _Before:
    """A model as it was: the attributes of its modules, and the numbers of its buffers."""

    _TABLES = ("_parameters", "_buffers", "_modules")

    def __init__(self, model: nn.Module) -> None:
        self._modules = [
            (module, dict(module.__dict__), {name: dict(module.__dict__[name]) for name in self._TABLES})
            for module in model.modules()
        ]
        self._numbers = [(buffer, buffer._version, buffer.clone()) for buffer in model.buffers()]

    def restore(self) -> None:
        """Put it back."""
        for module, attributes, tables in self._modules:
            module.__dict__.clear()
            module.__dict__.update(attributes)
            for name, table in tables.items():
                module.__dict__[name].clear()
                module.__dict__[name].update(table)
        for buffer, version, numbers in self._numbers:
            if buffer._version != version:
                buffer.copy_(numbers)
