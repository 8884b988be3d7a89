"""Files that only full unpickling can read, converted to safetensors: the one place that runs what is in a file."""

import json
import os
import re
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from eqviz.checkpoints.contents import epoch, find_states, hyperparameters
from eqviz.checkpoints.file_kinds import kind_of, not_weights
from eqviz.checkpoints.reading import Checkpoint, no_weights, read_checkpoint, states_at
from eqviz.checkpoints.wording import shown, some
from eqviz.errors import EqvizError

_ENDINGS = re.compile(r"(\.(pth|pt|ckpt|bin|pkl|pickle|model|t7))?(\.tar)?$")


def convert(path: Path, output: Path | None = None, *, weights: str | None = None) -> Path:
    """Write the weights in a file of torch.save as safetensors, and return where.

    A file that :func:`read_checkpoint` refuses is unpickled, which RUNS WHATEVER CODE IS IN IT, with the rights of the
    user: only for files whose makers are known. Classes in it (whole models, settings) must be possible to import, from
    the current folder too. The weights are those of the best state dict, or of the place `weights`, under their names;
    plain hyperparameters and the epoch go into the metadata. `output` is a file, or a folder to write into; left out,
    it is `path` with its ending replaced. What is there already is never overwritten, and the new file is whole or not
    there.

    Raises EqvizError for a file that cannot be read, holds no weights or is safetensors already, and for an output that
    exists or cannot be written.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> torch.save(torch.nn.Linear(2, 1), folder / "whole.pth.tar")
    >>> written = convert(folder / "whole.pth.tar")
    >>> written.name, list(read_checkpoint(written).states[""])
    ('whole.safetensors', ['bias', 'weight'])
    """
    path = Path(path)
    if kind_of(path)[0] == "safetensors":
        raise EqvizError(str(path), expected="a file of torch.save", found="safetensors", fix="use it as it is")
    target = _target(path, output)
    try:
        checkpoint = read_checkpoint(path)
    except EqvizError:
        checkpoint = _run(path)
    state = next(iter(states_at(path, checkpoint.states, weights).values()))
    metadata = {"format": "pt"}
    if checkpoint.hyperparameters:
        metadata["hyperparameters"] = json.dumps(checkpoint.hyperparameters)
    if checkpoint.epoch is not None:
        metadata["epoch"] = str(checkpoint.epoch)
    _write(target, _plain_tensors(path, state), metadata)
    return target


def _target(path: Path, output: Path | None) -> Path:
    name = _ENDINGS.sub("", path.name, count=1) + ".safetensors"
    target = path.with_name(name) if output is None else output / name if output.is_dir() else output
    if os.path.lexists(target):
        raise _there(target)
    if not target.parent.is_dir():
        raise EqvizError(str(target), expected="a folder to write in", found="none", fix="make the folder first")
    return target


def _there(target: Path) -> EqvizError:
    return EqvizError(
        str(target), expected="a new file", found="one that is there already", fix="name another with -o, or remove it"
    )


def _run(path: Path) -> Checkpoint:
    """Unpickle a file fully, as the program that wrote it would."""
    searched = list(sys.path)
    sys.path.append(os.getcwd())  # where the classes of a whole model are, as for a script
    try:
        with warnings.catch_warnings(), open(path, "rb") as file:
            warnings.simplefilter("ignore")
            content: Any = torch.load(file, map_location="cpu", weights_only=False)
            states, settings = find_states(content), hyperparameters(content)
    except Exception as error:  # code of others, which may raise anything
        words = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise not_weights(
            path, f"something that cannot be unpickled ({words})",
            "run from the folder with the code that wrote it, with its packages installed, or save its state_dict()",
        ) from None  # fmt: skip
    finally:
        sys.path[:] = searched
    if not states:
        raise no_weights(path)
    return Checkpoint(path, "torch", states, settings, epoch(content))


def _plain_tensors(path: Path, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies that share nothing; safetensors has neither sparse nor quantised tensors."""
    unusual = [name for name, one in state.items() if one.layout != torch.strided or one.is_quantized or one.is_meta]
    if unusual:
        raise not_weights(
            path, f"sparse, quantised or empty tensors: {some([shown(name) for name in unusual])}",
            "save the model's own state_dict()",
        )  # fmt: skip
    return {
        name: value.detach().cpu().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)
        for name, value in state.items()
    }


def _write(target: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write beside the target and link it there, which fails if somebody else was quicker."""
    beside = target.with_name(f".{uuid4().hex}.part")
    try:
        save_file(tensors, beside, metadata)
        try:
            os.link(beside, target)
        except FileExistsError:
            raise _there(target) from None
        except OSError:  # a file system without links
            if os.path.lexists(target):
                raise _there(target) from None
            os.rename(beside, target)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        if isinstance(error, EqvizError):
            raise
        words = " ".join(str(error).split())[:160] or type(error).__name__
        raise EqvizError(
            str(target), expected="to write the weights", found=words, fix="write to another place with -o"
        ) from None
    finally:
        beside.unlink(missing_ok=True)
