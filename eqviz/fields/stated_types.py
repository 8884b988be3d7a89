"""What the model itself says of the type of a layer's output: in a declaration, or on the tensors that it passes on.

The modules of steerable libraries declare a type; a user's own module around them does not, but what it gives out, a
geometric tensor, still has one. It is kept here from the latest call of each module, and forgotten with the module.
"""

from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from eqviz.errors import EqvizError
from eqviz.fields.base import FieldType
from eqviz.fields.field_types import declared, telling
from eqviz.fields.layer_calls import carriers_in
from eqviz.fields.steerable_reading import steerable

_given_out: "WeakKeyDictionary[nn.Module, dict[str, Any]]" = WeakKeyDictionary()


def note_types(module: nn.Module, output: Any) -> None:
    """Keep the types of the geometric tensors that a module just gave out."""
    found = {place: item.type for place, item in carriers_in(output) if not isinstance(item, Tensor)}
    if found:
        _given_out[module] = found
    else:
        _given_out.pop(module, None)


def gives_geometric(module: nn.Module) -> bool:
    """Whether what a module gave out last was a geometric tensor and nothing else."""
    return list(_given_out.get(module, {})) == [""]


def stated(name: str, module: nn.Module) -> FieldType | None:
    """The type of the output called `name` (a layer, with its place among several outputs) as the model states it.

    A declaration by the user comes first, then the type of what the module gave out last, then that which a library's
    module names as its own; None where there is none. Raises EqvizError for a type that eqviz cannot read.

    >>> from eqviz.fields.field_types import declare
    >>> stated("act", declare(nn.ReLU(), "regular(C4)")).name, stated("act", nn.ReLU())
    ('regular(C4)', None)
    """
    if not isinstance(getattr(module, "field_type", None), FieldType):
        for place, carried in _given_out.get(module, {}).items():
            if name.endswith(place):
                return telling(steerable(carried))
    return declared(module)


def stated_if_readable(name: str, module: nn.Module) -> FieldType | None:
    """The same; None also for a type that eqviz cannot read."""
    try:
        return stated(name, module)
    except EqvizError:
        return None


def carried_types(value: Any) -> dict[str, FieldType]:
    """The types of the geometric tensors in a value, by their places; those that eqviz can read.

    >>> carried_types({"logits": Tensor(2)})
    {}
    """
    found: dict[str, FieldType] = {}
    for place, item in carriers_in(value):
        if not isinstance(item, Tensor):
            try:
                found[place] = steerable(item.type)
            except EqvizError:
                continue
    return found
