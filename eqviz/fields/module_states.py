"""The modes of a model's modules, and copies of models: what goes beyond torch's own in steerable libraries.

Their convolutions keep the filter that they make of their weights in a buffer while they are in evaluation mode, and
drop it in training mode: a change of mode changes what the module holds. Made with gradients on, it is no leaf of the
graph either, which torch refuses to copy.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from torch import Tensor, nn

from eqviz.errors import EqvizError
from eqviz.fields.geometric_tensors import is_library_type, is_steerable_module

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class ModuleStates:
    """The modes of all modules of a model as they are now, with all that modules hold which mind their mode.

    >>> model = nn.Sequential(nn.Dropout()).train()
    >>> before = ModuleStates(model)
    >>> _ = model.eval(), before.restore()
    >>> model[0].training
    True
    """

    _TABLES = ("_parameters", "_buffers", "_modules")

    def __init__(self, model: nn.Module) -> None:
        self._modes = [(module, module.training) for module in model.modules()]
        self._held = [
            (module, dict(vars(module)), {table: dict(vars(module)[table]) for table in self._TABLES})
            for module in model.modules()
            if type(module).train is not nn.Module.train
        ]

    def restore(self) -> None:
        """Put the modes back, without the modules being told."""
        for module, attributes, tables in self._held:
            vars(module).clear()
            vars(module).update(attributes)
            for name, table in tables.items():
                vars(module)[name].clear()
                vars(module)[name].update(table)
        for module, mode in self._modes:
            module.training = mode


def copied(model: AnyModule) -> AnyModule:
    """A deep copy of a model, on its own but for what never changes in steerable libraries: field types and bases.

    Buffers that hang on the graph, as filters made with gradients on do, are copied as numbers. Raises EqvizError for a
    model that holds what cannot be copied, such as parameters that do so too.

    >>> layer = nn.BatchNorm1d(2)
    >>> layer.running_mean = nn.Parameter(layer.running_mean) * 2
    >>> copied(layer).running_mean.tolist()
    [0.0, 0.0]
    """
    memo: dict[int, object] = {}
    for module in model.modules():
        for tensor in _on_the_graph(module):
            memo[id(tensor)] = tensor.detach().clone()
        for value in vars(module).values():
            if is_library_type(value):
                memo[id(value)] = value
                memo[id(value.gspace)] = value.gspace
        for value in _of_a_basis(module):
            memo[id(value)] = value
    try:
        return copy.deepcopy(model, memo)
    except (RuntimeError, TypeError) as error:
        raise EqvizError(
            "model", expected="one that can be copied (copy.deepcopy)", found=str(error).split("\n")[0][:200],
            fix="keep modules, files and results of layers out of its attributes",
        ) from error  # fmt: skip


def _of_a_basis(module: nn.Module) -> Iterator[object]:
    """What the expansion of a filter in its basis holds beside tensors: functions and tables by the thousand."""
    expansion = getattr(module, "basisexpansion", None)
    if is_steerable_module(module) and isinstance(expansion, nn.Module):
        for part in expansion.modules():
            held = [value for name, value in vars(part).items() if name not in _OF_TORCH]
            yield from (value for value in held if not any(isinstance(x, Tensor | nn.Module) for x in _items(value)))


def _items(value: object) -> Iterable[object]:
    """What a container holds, or the value itself."""
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple | set) else (value,)


_OF_TORCH = frozenset(vars(nn.Module()))
"""Attributes that every module has."""


def _on_the_graph(module: nn.Module) -> Iterator[Tensor]:
    for buffer in vars(module)["_buffers"].values():
        if buffer is not None and not buffer.is_leaf:
            yield buffer
