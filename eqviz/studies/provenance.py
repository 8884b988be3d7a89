"""How a result was made: versions, machine, code, settings, and fingerprints of what went in."""

import hashlib
import importlib
import importlib.metadata
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from eqviz.models.registry import find_model

_PACKAGES = ("torch", "numpy", "pandas", "scikit-learn", "matplotlib")
_MEASURING = ("groups", "fields", "capture", "audit", "models", "data", "checkpoints", "analysis")
"""The parts of the package whose code decides what a measurement gives."""


@lru_cache(maxsize=1)
def code_fingerprint() -> str:
    """SHA-256 (first 16 digits) of the source code that measurements depend on: a change makes caches stale."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for part in _MEASURING:
        for path in sorted((root / part).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def model_fingerprints(model: str, imports: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the source files of the user's own code: the module of the model, unless eqviz has it, and `imports`.

    What these modules import in their turn is not looked at.

    >>> model_fingerprints("p4cnn", ())
    {}
    """
    where = find_model(model)
    modules = {*([] if where is None else [where.partition(":")[0]]), *imports}
    own = sorted(name for name in modules if name.partition(".")[0] != "eqviz")
    files = {name: getattr(importlib.import_module(name), "__file__", None) for name in own}
    return {name: file_fingerprint(Path(path)) for name, path in files.items() if path is not None}


def file_fingerprint(path: Path) -> str:
    """SHA-256 of a file's contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def environment() -> dict[str, Any]:
    """Versions, platform, number of threads and time, for the provenance of a report.

    >>> sorted(environment())
    ['code', 'created', 'eqviz', 'packages', 'platform', 'python', 'threads']
    """
    import torch

    return {
        "eqviz": version(),
        "code": code_fingerprint(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def version() -> str:
    """The installed version of eqviz."""
    return importlib.metadata.version("eqviz")
