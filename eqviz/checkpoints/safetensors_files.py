"""Files of safetensors: tensors by name, and a table of text beside them."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from eqviz.checkpoints.file_kinds import not_weights
from eqviz.checkpoints.pickle_scan import MOST_TENSORS


def load_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file, on the CPU, and what its metadata says: JSON where it is, text elsewhere.

    Raises EqvizError for a file that is broken, declares more than it holds, or holds kinds of numbers that torch does
    not know.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            names = list(file.keys())
            if len(names) > MOST_TENSORS:
                raise not_weights(path, f"{len(names)} tensors")
            metadata = {key: _value(text) for key, text in (file.metadata() or {}).items()}
            return {name: file.get_tensor(name) for name in names}, metadata
    except MemoryError:
        raise not_weights(path, "more than fits into memory", "use a machine with more memory") from None
    except (
        SafetensorError, OSError, ValueError, TypeError, AttributeError, KeyError, OverflowError, RuntimeError,
    ) as error:  # fmt: skip
        raise not_weights(path, f"safetensors that cannot be read ({_words(error)})", "copy the file again") from None


def _words(error: Exception) -> str:
    words = " ".join(str(error).split())[:160]
    return words or type(error).__name__


def _value(text: str) -> Any:
    """JSON where the text is that and nothing is lost by it: "10" is a number, the version "2.10" is text."""
    try:
        value = json.loads(text)
        return value if isinstance(value, dict | list) or json.dumps(value) == text else text
    except (ValueError, RecursionError):
        return text
