"""The networks that have a name: a plain dictionary of eqviz's own, and what packages and the user offer.

Nothing is imported here but the standard library, so that listing names never loads torch.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from eqviz.errors import EqvizError
from eqviz.models.arguments import brief
from eqviz.models.construction import construct
from eqviz.models.lookup import all_offered, load, offered

if TYPE_CHECKING:
    from torch import nn

MODELS: dict[str, str] = {
    "p4cnn": "eqviz.models.cnn:p4cnn",
    "p4mcnn": "eqviz.models.cnn:p4mcnn",
    "z2cnn": "eqviz.models.cnn:z2cnn",
    "p4resnet44": "eqviz.models.resnet:p4resnet44",
    "p4mresnet44": "eqviz.models.resnet:p4mresnet44",
    "z2resnet44": "eqviz.models.resnet:z2resnet44",
    "p4resnet18": "eqviz.models.resnet:p4resnet18",
    "p4mresnet18": "eqviz.models.resnet:p4mresnet18",
    "z2resnet18": "eqviz.models.resnet:z2resnet18",
    "p4resnet8": "eqviz.models.resnet:p4resnet8",
    "p4mresnet8": "eqviz.models.resnet:p4mresnet8",
    "z2resnet8": "eqviz.models.resnet:z2resnet8",
    "p4conv": "eqviz.models.single:p4conv",
    "p4mconv": "eqviz.models.single:p4mconv",
    "p4cnn_two_pools": "eqviz.models.cnn:p4cnn_two_pools",
    "p4mcnn_two_pools": "eqviz.models.cnn:p4mcnn_two_pools",
    "z2cnn_two_pools": "eqviz.models.cnn:z2cnn_two_pools",
    "p4resnet44_published": "eqviz.models.published:p4resnet44_published",
    "p4mresnet44_published": "eqviz.models.published:p4mresnet44_published",
    "z2resnet44_published": "eqviz.models.published:z2resnet44_published",
    "p4resnet18_published": "eqviz.models.published:p4resnet18_published",
    "p4mresnet18_published": "eqviz.models.published:p4mresnet18_published",
    "z2resnet18_published": "eqviz.models.published:z2resnet18_published",
    "p4resnet44_histology": "eqviz.models.published:p4resnet44_histology",
    "z2resnet44_histology": "eqviz.models.published:z2resnet44_histology",
}
MIRRORED = frozenset(
    {
        "p4mcnn", "p4mresnet44", "p4mresnet18", "p4mresnet8", "p4mconv",
        "p4mcnn_two_pools", "p4mresnet44_published", "p4mresnet18_published",
    }
)  # fmt: skip
MOST_PARAMETERS = 500_000_000


def build_model(name: str, **arguments: object) -> "nn.Module":
    """The network of that name, built with its defaults and these keyword arguments, with fresh weights.

    Names are those of MODELS, of entry points and of modules that were offered (:mod:`eqviz.models.lookup`). eqviz's
    own is built first without memory (torch's meta device); weights come from torch's generator, so seed that before.
    Raises EqvizError for an unknown name, unknown keywords, values of the wrong kind, above 500 million parameters, and
    for whatever a network of others' raises.

    >>> build_model("p4cnn", in_channels=3).conv1.weight.shape
    torch.Size([10, 3, 1, 3, 3])
    >>> build_model("p4cnn", chanels=5)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    eqviz.errors.EqvizError: model p4cnn: expected in_channels=1, ...; found 'chanels'; did you mean channels?
    """
    constructor = _constructor(name)
    if not is_own(name):
        return construct(f"model {name}", constructor, arguments)
    accepted = _accepted(name, constructor, arguments)
    _refuse_giants(name, constructor, accepted)
    built: nn.Module = constructor(**accepted)
    return built


def model_group(name: str) -> str:
    """The group by which to measure that network unless told otherwise; plain networks are measured by C4.

    Raises EqvizError for an unknown name.

    >>> model_group("p4mresnet44"), model_group("z2cnn")
    ('D4', 'C4')
    """
    _target(name)
    return "D4" if name in MIRRORED else "C4"


def find_model(name: str) -> str | None:
    """Where the constructor of that name is, as `module:attribute`; None for a name that nothing is known by.

    >>> find_model("p4conv"), find_model("os.system")
    ('eqviz.models.single:p4conv', None)
    """
    return MODELS.get(name) or offered(name)


def is_own(name: str) -> bool:
    """Whether that is one of eqviz's own networks, which can be built without memory and have their own checks.

    >>> is_own("p4cnn"), is_own("nothing")
    (True, False)
    """
    return (find_model(name) or "").startswith("eqviz.")


def model_names() -> tuple[str, ...]:
    """All names that :func:`build_model` takes: eqviz's own first.

    >>> model_names()[0]
    'p4cnn'
    """
    return tuple(dict.fromkeys([*MODELS, *(name for name, _ in all_offered())]))


def describe_models() -> list[dict[str, object]]:
    """One row for every network: model, group, parameters (with default arguments), arguments, about.

    Parameters of networks that are not eqviz's own are not counted: they would have to be built.

    >>> describe_models()[0]["model"]
    'p4cnn'
    """
    return [_described(name) for name in model_names()]


def _described(name: str) -> dict[str, object]:
    try:
        constructor = _constructor(name)
        takes = _signature(constructor)
    except (EqvizError, TypeError, ValueError) as error:  # of a package that is broken, or that says nothing
        return {"model": name, "group": model_group(name), "parameters": "", "arguments": "", "about": str(error)}
    return {
        "model": name,
        "group": model_group(name),
        "parameters": _parameters(constructor, {}) if is_own(name) else "",
        "arguments": takes,
        "about": (inspect.getdoc(constructor) or "").split("\n")[0],
    }


def _target(name: str) -> str:
    found = find_model(name)
    if found is None:
        raise unknown_model("model", name)
    return found


def unknown_model(about: str, name: object) -> EqvizError:
    """The error for a name that nothing is known by, with near names; `about` is where it was found."""
    known = model_names()
    near = difflib.get_close_matches(str(name), known, n=1)
    fix = f"did you mean {near[0]}?" if near else "see `eqviz list models`"
    fix += "; --import MODULE brings models of your own"
    expected = f"a registered model: {', '.join(known[:6])}, ..."
    return EqvizError(about, expected=expected, found=brief(name), fix=fix)


def _constructor(name: str) -> Callable[..., Any]:
    return load(_target(name))


def _signature(constructor: Callable[..., Any]) -> str:
    return ", ".join(str(parameter.replace(annotation=inspect.Parameter.empty))
                     for parameter in inspect.signature(constructor).parameters.values())  # fmt: skip


def _accepted(name: str, constructor: Callable[..., Any], arguments: Mapping[str, object]) -> dict[str, object]:
    """The arguments, each of the kind of its default; EqvizError for names or kinds that do not fit."""
    parameters = inspect.signature(constructor).parameters
    about, expected = f"model {name}", _signature(constructor)
    catches_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    unknown = [key for key in arguments if key not in parameters and not catches_all]
    if unknown:
        near = difflib.get_close_matches(unknown[0], parameters, n=1)
        fix = f"did you mean {near[0]}?" if near else "leave it out"
        raise EqvizError(about, expected=expected, found=brief(", ".join(unknown)), fix=fix)
    missing = [
        key for key, parameter in parameters.items()
        if key not in arguments and parameter.default is inspect.Parameter.empty
        and parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    ]  # fmt: skip
    if missing:
        raise EqvizError(about, expected=expected, found=f"no {', '.join(missing)}", fix="give it")
    return {
        key: _of_kind(f"{key} of {about}", value, parameters[key].default if key in parameters else None)
        for key, value in arguments.items()
    }


def _of_kind(about: str, value: object, default: object) -> object:
    """`value`, if it is of the same kind as `default`: a whole number, a number, text, or several whole numbers."""
    if isinstance(default, bool | None) or default is inspect.Parameter.empty:
        return value
    if isinstance(default, int) and _whole(value):
        return value
    if isinstance(default, float) and (isinstance(value, float) or _whole(value)):
        return value
    if isinstance(default, str) and isinstance(value, str):
        return value
    if isinstance(default, tuple) and isinstance(value, list | tuple) and all(_whole(part) for part in value):
        return tuple(value)
    kinds = {int: "a whole number", float: "a number", str: "text", tuple: "several whole numbers"}
    kind = next((words for kind, words in kinds.items() if isinstance(default, kind)), "another kind of value")
    raise EqvizError(about, expected=f"{kind}, such as {default!r}", found=brief(value), fix="change it")


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _refuse_giants(name: str, constructor: Callable[..., Any], arguments: Mapping[str, object]) -> None:
    try:
        count = _parameters(constructor, arguments)
    except EqvizError:
        raise
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise EqvizError(
            f"model {name}", expected="arguments it can be built with", found=str(error).split("\n")[0],
            fix=f"it takes {_signature(constructor)}",
        ) from error  # fmt: skip
    if count > MOST_PARAMETERS:
        raise EqvizError(
            f"model {name}", expected=f"at most {MOST_PARAMETERS:,} parameters", found=f"{count:,}",
            fix="make it narrower",
        )  # fmt: skip


def _parameters(constructor: Callable[..., Any], arguments: Mapping[str, object]) -> int:
    """How many parameters it would have, counted without allocating them."""
    import torch

    with torch.device("meta"):
        model: nn.Module = constructor(**arguments)
    return sum(parameter.numel() for parameter in model.parameters())
