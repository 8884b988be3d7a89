"""Modules of the user's that bring models, named by the user and by nobody else."""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from eqviz.errors import EqvizError, told
from eqviz.models.lookup import offer_module


def import_modules(names: Sequence[str]) -> None:
    """Import modules by name, from the current folder too. Raises EqvizError for one that cannot be imported.

    Their classes of networks, and functions that are annotated to return one, are then models by their names.
    Only names given on the command line or in Python come here; nothing in a checkpoint folder does.
    """
    for name in names:
        try:
            _find(name)
            importlib.import_module(name)
        except (Exception, SystemExit) as error:  # a script that ends itself must not end eqviz without a word
            raise EqvizError(
                f"--import {name}", expected="a module that can be imported",
                found=told(error), fix="run from the folder that holds it, or mend the module",
            ) from error  # fmt: skip
        offer_module(name)


def _find(name: str) -> None:
    """Let modules be found in the current folder too, if this one is not found without it.

    Last, so that a file there cannot stand in for a library; and only then, because the current folder may be one of
    checkpoints, with files in it that are called like libraries that are not installed.
    """
    here = str(Path.cwd())
    if here not in sys.path and name not in sys.modules and importlib.util.find_spec(name.partition(".")[0]) is None:
        sys.path.append(here)
