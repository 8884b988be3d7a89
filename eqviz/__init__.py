"""eqviz: analysis and visualisation of group-equivariant CNNs. `help(eqviz.api)` shows how to use it."""

import importlib


def __getattr__(name: str) -> object:
    """Public names, from `eqviz.api`, loaded when they are first used."""
    if name.startswith("__"):
        raise AttributeError(name)
    api = importlib.import_module("eqviz.api")
    return api if name == "api" else api.load(name)


def __dir__() -> list[str]:
    """Public names."""
    from eqviz.api import MODULES, NAMES

    return sorted([*NAMES, *MODULES, "api"])
