"""How a network that was not written for eqviz is taken: what is said of it beyond its name and its arguments."""

import copy
import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor, nn

from eqviz.capture.orbit_capture import check_fields
from eqviz.checkpoints.fitting import Reading
from eqviz.errors import EqvizError
from eqviz.fields.field_types import declare
from eqviz.fields.layer_calls import layer_names, matches

_SHOWN = 6


@dataclass(frozen=True)
class Adapter:
    """What eqviz is told of a foreign network.

    constructor  builds it from keyword arguments, where it comes from Python and not by a registered name
    reading      how its weights are found in the file
    fields       globs of layer names to names of field types, where the network does not declare them
    output       the item of what it returns that counts as its output: a number for a tuple, a key for a dict
    """

    constructor: Callable[..., Any] | None = None
    reading: Reading = field(default_factory=Reading)
    fields: Mapping[str, str] = field(default_factory=dict)
    output: str | int | None = None

    def apply(self, model: nn.Module) -> nn.Module:
        """`model` with field types declared and its output chosen; layer names stay as they are.

        Raises EqvizError for globs that match no layer and for field types that do not exist.

        >>> named = Adapter(fields={"0": "regular(C4, flattened)"}).apply(nn.Sequential(nn.Conv2d(1, 8, 3)))
        >>> str(named[0].field_type)
        'regular(C4, flattened)'
        """
        check_fields(model, self.fields)
        for glob, name in self.fields.items():
            for layer, module in layer_names(model).items():
                if matches(layer, glob):
                    declare(module, name, by_glob=layer != glob)
        if self.output is not None:
            # before any hook of eqviz's: those see what it gives
            model.register_forward_hook(_Chosen(self.output))
        return model

    def ingredients(self) -> dict[str, Any]:
        """All of it that results depend on, for the key they are kept under."""
        made = "" if self.constructor is None else constructor_fingerprint(self.constructor)
        return {
            "constructor": made,
            "reading": asdict(self.reading),
            "fields": dict(self.fields),
            "output": self.output,
        }


@dataclass(frozen=True, eq=False)
class CopyOf:
    """A constructor that gives copies of one network, whatever the arguments.

    >>> CopyOf(nn.Linear(2, 3))(channels=5).weight.shape
    torch.Size([3, 2])
    """

    model: nn.Module

    @property
    def __name__(self) -> str:
        return type(self.model).__name__

    def __call__(self, **arguments: object) -> nn.Module:
        """A copy."""
        del arguments
        return copy.deepcopy(self.model)


@dataclass(frozen=True)
class _Chosen:
    """A forward hook that puts one item in place of what a network returns."""

    item: str | int

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        try:
            return output[self.item] if not isinstance(output, Tensor) else self._refuse("a tensor alone")
        except (KeyError, IndexError, TypeError):
            return self._refuse(_contents(output))

    def _refuse(self, found: str) -> Any:
        raise EqvizError(
            "output of the model", expected=f"an item {self.item!r} in what it returns", found=found,
            fix="correct `output` in eqviz.toml",
        )  # fmt: skip


def _contents(output: Any) -> str:
    if isinstance(output, Mapping):
        return f"a dict of {', '.join(map(repr, list(output)[:_SHOWN]))}"
    if isinstance(output, list | tuple):
        return f"a {type(output).__name__} of {len(output)} items"
    return f"a {type(output).__name__}"


def constructor_fingerprint(constructor: Callable[..., Any]) -> str:
    """SHA-256 of the source file that a constructor is written in; of its name alone where there is none to read."""
    made = type(constructor.model) if isinstance(constructor, CopyOf) else constructor
    name = getattr(made, "__qualname__", type(made).__qualname__)
    try:
        source = inspect.getsource(inspect.getmodule(made) or made)
    except (OSError, TypeError):
        source = ""
    return hashlib.sha256(f"{name}\n{source}".encode()).hexdigest()
