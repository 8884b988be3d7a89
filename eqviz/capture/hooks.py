"""Watching the layers of a model run, and leaving no trace."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from eqviz.errors import EqvizError, told
from eqviz.fields.geometric_tensors import tensor_of
from eqviz.fields.layer_calls import LayerCall, tensors_in
from eqviz.fields.module_states import ModuleStates
from eqviz.fields.stated_types import note_types

Watcher = Callable[[LayerCall, nn.Module, Tensor | None, Tensor], None]
"""Called with the layer and its call, the module, its first input tensor and its output, before the next layer runs."""


class Watch:
    """Hooks on some layers of a model; :meth:`run` is a forward pass under them.

    The watcher is called for every tensor a layer gives out; items of tuples and dicts get names such as
    `head[logits]`. Calls are numbered within one forward pass.
    """

    def __init__(self, model: nn.Module, layers: Mapping[str, nn.Module], watcher: Watcher) -> None:
        self._model = model
        self._layers = layers
        self._watcher = watcher
        self._calls: Counter[str] = Counter()
        self._last = "none"
        self.ran: dict[str, None] = {}  # an ordered set
        self.unusable: dict[LayerCall, str] = {}

    def attach(self) -> list[RemovableHandle]:
        """Register the hooks."""
        return [module.register_forward_hook(self._hook(name)) for name, module in self._layers.items()]

    def run(self, images: Tensor) -> Any:
        """What the model returns in one forward pass; what it raises, as EqvizError that says after which layer."""
        self._calls.clear()
        self._last = "none"
        try:
            return self._model(images)
        except EqvizError:
            raise
        except (Exception, SystemExit) as error:  # a network that ends the program must not end eqviz without a word
            raise EqvizError(
                "model", expected=f"a forward pass on images of shape {tuple(images.shape)}",
                found=f"{told(error)} (last layer that ran: {self._last})",
                fix="check the input size, the channels and the model's code",
            ) from error  # fmt: skip

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            call = self._calls[name]
            self._calls[name] += 1
            self._last = name
            self.ran[name] = None
            note_types(module, output)
            source = next((tensor for tensor in map(tensor_of, inputs) if tensor is not None), None)
            found = False
            for suffix, tensor in tensors_in(output):
                found = True
                if not tensor.is_floating_point():
                    self.unusable[LayerCall(name + suffix, call)] = f"its output is {tensor.dtype}, not floating point"
                    continue
                self._watcher(LayerCall(name + suffix, call), module, source, tensor.detach())
            if not found:
                self.unusable[LayerCall(name, call)] = f"its output is a {type(output).__name__} with no tensor in it"

        return hook


@contextmanager
def watching(model: nn.Module, layers: Mapping[str, nn.Module], watcher: Watcher) -> Iterator[Watch]:
    """A :class:`Watch` on a model that is in evaluation mode, without gradients and in full precision.

    On the way out, also after an error, hooks are removed and the train or eval mode of every module (with what it
    keeps in one mode only, such as the filters of steerable convolutions), the grad mode and the precision settings
    are as before.
    """
    watch = Watch(model, layers, watcher)
    before = ModuleStates(model)
    handles: list[RemovableHandle] = []
    try:
        with torch.no_grad(), full_precision():
            model.eval()  # may make filters: without gradients they are numbers
            handles += watch.attach()
            yield watch
    finally:
        for handle in handles:
            handle.remove()
        before.restore()


@contextmanager
def full_precision() -> Iterator[None]:
    """No TF32, no bfloat16 products and no autocast while this lasts: they raise the rounding floor by far.

    Threads may be in it at once: the settings are torch's own, for all of them, and the last one out puts them back.
    Raises EqvizError if both of torch's ways to set the precision of float32 were used: it then cannot be read.
    """
    _PRECISION.enter()
    try:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        _PRECISION.leave()


class _Precision:
    """Torch's settings of precision, and how many are inside :func:`full_precision`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = (True, "highest")

    def enter(self) -> None:
        """Set full precision, unless somebody has."""
        with self._lock:
            if not self._inside:
                self._before = _settings()
                torch.backends.cudnn.allow_tf32 = False
                torch.set_float32_matmul_precision("highest")
            self._inside += 1

    def leave(self) -> None:
        """Put back what was set before, once nobody is inside."""
        with self._lock:
            self._inside -= 1
            if not self._inside:
                torch.backends.cudnn.allow_tf32 = self._before[0]
                torch.set_float32_matmul_precision(self._before[1])


_PRECISION = _Precision()


def _settings() -> tuple[bool, str]:
    try:
        return torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    except RuntimeError as error:
        raise EqvizError(
            "float32 precision", expected="settings by allow_tf32 and set_float32_matmul_precision",
            found="settings by fp32_precision, which torch cannot mix with these", fix="leave fp32_precision as it was",
        ) from error  # fmt: skip
