"""Files of torch.save, loaded with `weights_only=True` and nothing else, after a look at what they are going to do."""

import io
import os
import re
import threading
import warnings
from collections import Counter, OrderedDict
from io import BufferedReader
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eqviz.checkpoints.file_kinds import TAR, not_weights
from eqviz.checkpoints.pickle_names import STAND_INS, Attributes
from eqviz.checkpoints.pickle_scan import BadPickleError, NewerPickleError, RefusedNamesError, scan
from eqviz.checkpoints.wording import shown, some
from eqviz.checkpoints.zip_archives import BadArchiveError, ProgramError, look_over
from eqviz.errors import EqvizError

_MAPPED = 256 * 2**20
"""Bytes from which a file is mapped, not read: states of optimisers are then never loaded. A smaller one is read, since
a mapped file that is cut off meanwhile (training writes it again) ends the process."""

_LOADING = threading.Lock()
"""Names are allowed, and warnings silenced, for the whole process."""

TRUST = "convert it if you trust it, which runs the code in it: eqviz convert --trust FILE"


def load_torch(path: Path, kind: str, size: int) -> Any:
    """What a file of torch.save holds: tensors on the CPU, plain values, and stand-ins for a few harmless others.

    `kind` and `size` are those of :func:`kind_of`. Nothing in the file is run or imported. Raises EqvizError for a file
    that names anything that is not allowed, is broken, or declares more than it holds.
    """
    if kind == TAR:
        raise not_weights(path, "a tar archive, as torch wrote it before 0.1.10, or as folders are packed", TRUST)
    try:
        with _LOADING, warnings.catch_warnings(), open(path, "rb") as file:
            warnings.simplefilter("ignore")  # on old formats and broken names; what matters is an error here
            _check(file, kind, size)
            file.seek(0)
            content = _load(path, file, mapped=kind == "torch" and size >= _MAPPED)
    except RefusedNamesError as error:
        raise EqvizError(
            str(path), expected="tensors and plain values, which is all that is read from a file of torch.save",
            found=f"{some([shown(name) for name in error.names])}, refused", fix=TRUST,
        ) from None  # fmt: skip
    except (BadArchiveError, BadPickleError) as error:
        raise not_weights(
            path, str(error), TRUST if isinstance(error, NewerPickleError | ProgramError) else ""
        ) from None
    _take_attributes_off(content)
    return content


def _check(file: BufferedReader, kind: str, size: int) -> None:
    """Everything that can be known about a file before it is loaded."""
    if kind == "torch":
        archive = look_over(file, size)
        for key, declared in scan(io.BytesIO(archive.pickle)).storages.items():
            if archive.storages.get(key, -1) < declared:
                raise BadPickleError(f"a storage of {declared} bytes that is missing or cut off in the archive")
        return
    for _ in range(3):  # the magic number, the version of the format, the machine
        scan(file)
    storages = scan(file).storages.values()
    scan(file)  # the order of the storages; each follows as a length of 8 bytes and its numbers
    if file.tell() + sum(declared + 8 for declared in storages) > size:
        raise BadPickleError("a file that is cut off")


def _load(path: Path, file: BufferedReader, *, mapped: bool) -> Any:
    with torch.serialization.safe_globals(_allowed()):
        try:
            if mapped and path.suffix != ".safetensors":  # torch would go by the name
                return torch.load(os.fspath(path), map_location="cpu", weights_only=True, mmap=True)
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever torch's readers raise for a broken file: of any kind, by no contract
            raise _refused(path, error) from None


def _take_attributes_off(content: Any) -> None:
    """Clear what a pickle may have set on tensors and dictionaries beside what they hold.

    Mostly it is the versions of layers, which are not needed; an attribute called `items` or `dim` would stand in for
    the method.
    """
    seen: set[int] = set()
    left = [content]
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor | OrderedDict | Counter):
            vars(value).clear()
        if isinstance(value, dict):
            left += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set):
            left += value
        elif isinstance(value, Attributes):
            left.append(value.values)


def _allowed() -> list[Any]:
    return [(stand_in, name) for name, stand_in in STAND_INS.items()]


def _refused(path: Path, error: Exception) -> EqvizError:
    if isinstance(error, MemoryError) or "allocate" in str(error):
        return not_weights(path, "more than fits into memory", "use a machine with more memory")
    words = re.sub(r".*WeightsUnpickler error: |Check the documentation.*", "", " ".join(str(error).split())).strip()
    words = words or type(error).__name__
    return not_weights(path, f"something that torch cannot read ({words[:160]})", f"copy the file again, or {TRUST}")
