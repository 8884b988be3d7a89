"""Following field types through a forward pass, from layer to layer, by the identity of tensors."""

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from eqviz.errors import EqvizError, told
from eqviz.fields.field_types import FieldType, Image
from eqviz.fields.geometric_tensors import is_geometric, with_tensor
from eqviz.fields.layer_calls import LayerCall, layer_names, tensors_in
from eqviz.fields.stated_types import carried_types, note_types


@dataclass(frozen=True)
class FollowedCall:
    """A layer that runs, and what went into it.

    `inputs` are its positional and keyword arguments, with every tensor that is stacked cut down to the first part of
    the stack; `fields` the types of the tensors among them, by place as in `tensors_in`, None where it is not known;
    `sources` the ids of these tensors. `within` are the calls that were running when it began, outermost first.
    """

    layer: str
    number: int
    module: nn.Module
    inputs: tuple[tuple[Any, ...], dict[str, Any]]
    fields: Mapping[str, FieldType | None]
    sources: frozenset[int]
    within: tuple[LayerCall, ...] = ()

    def key(self, place: str) -> LayerCall:
        """The name of its output at this place."""
        return LayerCall(self.layer + place, self.number)


Watcher = Callable[[FollowedCall, list[tuple[str, Tensor]]], None]
"""Called after every call of a layer, with its floating-point outputs that are stacked, by place."""


class FieldFollower:
    """Hooks on the layers of a model that runs once, on `stacked` images of which the first `batch` are upright.

    The hooks are removed after the run, and do nothing while the watcher is at work, which may call layers itself.
    """

    def __init__(self, stacked: int, batch: int) -> None:
        self._stacked = stacked
        self._batch = batch
        self._fields: dict[int, tuple[weakref.ref[Tensor], FieldType]] = {}
        self._running: list[FollowedCall] = []
        self._numbers: Counter[str] = Counter()
        self._paused = False

    def run(self, model: nn.Module, images: Tensor, layers: Iterable[str], watcher: Watcher) -> None:
        """A forward pass on stacked images, which are of type `image`. Raises EqvizError if the model fails."""
        self.remember(images, Image())
        known = layer_names(model)
        handles: list[RemovableHandle] = []
        try:
            for name in layers:
                handles.append(known[name].register_forward_pre_hook(self._before(name), with_kwargs=True))
                handles.append(known[name].register_forward_hook(self._after(watcher), with_kwargs=True))
            model(images)
        except EqvizError:
            raise
        except (Exception, SystemExit) as error:
            raise EqvizError(
                "model", expected=f"a forward pass on images of shape {tuple(images.shape)} in {images.dtype}",
                found=told(error),
                fix="check the input size, the channels and the model's code",
            ) from error  # fmt: skip
        finally:
            for handle in handles:
                handle.remove()

    @property
    def paused(self) -> bool:
        """Whether the watcher is at work."""
        return self._paused

    def remember(self, tensor: Tensor, field: FieldType | None) -> None:
        """From here on this tensor is of that type, or of none that is known."""
        self._fields.pop(id(tensor), None)
        if field is not None:
            self._fields[id(tensor)] = (weakref.ref(tensor), field)

    def field_of(self, tensor: Tensor) -> FieldType | None:
        """The type of this very tensor, if it is known."""
        known = self._fields.get(id(tensor))
        return known[1] if known and known[0]() is tensor else None  # an id may be used again

    def _before(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, keywords: Any) -> None:
            if self._paused:
                return
            tensors = dict(tensors_in((inputs, keywords)))
            carried = carried_types((inputs, keywords))
            fields = {place: carried.get(place) or self.field_of(tensor) for place, tensor in tensors.items()}
            upright = changed((inputs, keywords), lambda place, tensor: self._upright(tensor))
            sources = frozenset(map(id, tensors.values()))
            within = tuple(call.key("") for call in self._running)
            self._running.append(FollowedCall(name, self._numbers[name], module, upright, fields, sources, within))
            self._numbers[name] += 1

        return hook

    def _upright(self, tensor: Tensor) -> Tensor:
        # cloned: the layer may overwrite its input
        return tensor[: self._batch].clone() if self._is_stacked(tensor) else tensor

    def _is_stacked(self, tensor: Tensor) -> bool:
        return tensor.dim() > 0 and len(tensor) == self._stacked

    def _after(self, watcher: Watcher) -> Callable[[nn.Module, Any, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, keywords: Any, output: Any) -> None:
            del inputs, keywords
            if self._paused:
                return
            note_types(module, output)
            carried = carried_types(output)
            for place, tensor in tensors_in(output):
                if place in carried:
                    self.remember(tensor, carried[place])
            found = [(place, tensor) for place, tensor in tensors_in(output) if self._is_stacked(tensor)]
            self._paused = True
            watcher(self._running.pop(), [(place, tensor) for place, tensor in found if tensor.is_floating_point()])
            self._paused = False

        return hook


def changed(value: Any, change: Callable[[str, Tensor], Tensor], place: str = "") -> Any:
    """`value` with every tensor in its tuples, lists and dicts changed; `change` is told its place as in `tensors_in`.

    Geometric tensors keep their type.

    >>> import torch
    >>> changed((torch.zeros(1), {"a": [torch.ones(1), 7]}), lambda place, tensor: place)
    ('[0]', {'a': ['[1][a][0]', 7]})
    """
    if isinstance(value, Tensor):
        return change(place, value)
    if is_geometric(value):
        return with_tensor(value, change(place, value.tensor))
    if isinstance(value, Mapping):
        return {key: changed(item, change, f"{place}[{key}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [changed(item, change, f"{place}[{i}]") for i, item in enumerate(value)]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value
