"""Where networks come from by name: eqviz's own, installed packages, and modules that the user named.

A name leads to a constructor in three ways, in this order: `eqviz.models.registry.MODELS`; entry points of the group
`eqviz.models` of installed packages; classes and annotated functions of the modules that were given with `--import`.
Nothing else is ever looked for, so that a name in a file from a stranger cannot make eqviz import or call anything that
its user did not install or name as a model.
"""

import inspect
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib import import_module, metadata
from typing import Any, get_type_hints

from eqviz.errors import EqvizError, told

GROUP = "eqviz.models"
"""The group of entry points by which a package offers its models."""

_IMPORTED: list[str] = []
"""Modules that the user named, in that order."""


def offer_module(name: str) -> None:
    """Let models of this module, which the user has imported, be found by their names."""
    if name not in _IMPORTED:
        _IMPORTED.append(name)


def offered_modules() -> tuple[str, ...]:
    """The modules that were offered so far."""
    return tuple(_IMPORTED)


@lru_cache(maxsize=1)
def entry_points() -> dict[str, str]:
    """Names of the models that installed packages offer, and where they are, as `module:attribute`.

    Nothing of them is imported.
    """
    found = metadata.entry_points(group=GROUP)
    return {point.name: point.value for point in sorted(found, key=lambda point: point.name, reverse=True)}


def offered(name: str) -> str | None:
    """Where a model of that name is among entry points and offered modules, as `module:attribute`; None if nowhere.

    Of a module, models are what :func:`constructors` gives.
    """
    if name in entry_points():
        return entry_points()[name]
    return next((f"{module}:{name}" for module in _IMPORTED if name in constructors(module)), None)


def constructors(module: str) -> dict[str, Callable[..., Any]]:
    """The models of an imported module by name: classes of networks, and functions that are annotated to return one.

    They are its own, or of its package; what it imported from elsewhere is only where its `__all__` lists it.
    A function without such an annotation is none: a file that names it must not be able to have it called.
    """
    found = vars(sys.modules[module]) if module in sys.modules else {}
    listed = found.get("__all__", ())
    package = module.partition(".")[0]
    return {
        name: value
        for name, value in found.items()
        if not name.startswith("_")
        and (name in listed or str(getattr(value, "__module__", "")).partition(".")[0] == package)
        and _makes_networks(value)
    }


def _makes_networks(value: object) -> bool:
    from torch import nn

    if inspect.isclass(value):
        return issubclass(value, nn.Module)
    if not inspect.isfunction(value):
        return False
    try:
        returned = get_type_hints(value).get("return")
    except Exception:  # annotations may name anything, or run anything, and are then no evidence
        return False
    return inspect.isclass(returned) and issubclass(returned, nn.Module)


def load(target: str) -> Callable[..., Any]:
    """What `module:attribute` means; the attribute may have dots. Raises EqvizError where it cannot be had.

    >>> load("eqviz.models.single:p4conv").__name__
    'p4conv'
    """
    module, _, attribute = target.partition(":")
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise EqvizError(
            f"model {target}", expected="a constructor that can be imported",
            found=told(error), fix="mend or update the package that offers it",
        ) from error  # fmt: skip
    if not callable(found):
        raise EqvizError(
            f"model {target}", expected="a class or function", found=f"a {type(found).__name__}", fix="name another"
        )
    made: Callable[..., Any] = found
    return made


def all_offered() -> Iterator[tuple[str, str]]:
    """Names of entry points and of models in offered modules, with where they are."""
    yield from sorted(entry_points().items())
    for module in _IMPORTED:
        yield from ((name, f"{module}:{name}") for name in constructors(module))
