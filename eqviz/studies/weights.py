"""Weights as safetensors, checked before they are believed: shapes against the model, values for NaN."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from eqviz.errors import EqvizError
from eqviz.studies.atomic import replacing

_NAMED = 3
"""How many names of each kind an error lists."""


def write_weights(path: Path, model: nn.Module) -> None:
    """Write the state of `model` to `path` as safetensors, whole or not at all."""
    state = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    with replacing(path) as beside:
        beside.write_bytes(save(state))


def read_weights(path: Path, wanted: Mapping[str, Tensor], whose: str) -> dict[str, Tensor]:
    """The tensors in the safetensors file `path`, on the CPU; `wanted` (its values may be on the meta device) is what
    must be there.

    Shapes are compared before anything is loaded. Raises EqvizError, naming at most three tensors of a kind, for a file
    that cannot be read, tensors that are missing, unexpected or of another shape or kind, and values that are not
    finite; `whose` is the model's name in it.
    """
    if not path.is_file():
        raise _broken(path, "no such file")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  # no mapping
            _check_shapes(path, shapes, wanted, whose)
            state = {name: file.get_tensor(name) for name in wanted}
    except (SafetensorError, OSError, UnicodeError, OverflowError, MemoryError) as error:
        raise _broken(path, str(error).split("\n")[0] or type(error).__name__) from None
    _check_values(path, state, wanted)
    return state


def _broken(path: Path, found: str) -> EqvizError:
    return EqvizError(
        str(path),
        expected="weights as safetensors",
        found=found[:200],
        fix="copy the file again or train the run again",
    )


def _check_shapes(path: Path, shapes: Mapping[str, tuple[int, ...]], wanted: Mapping[str, Tensor], whose: str) -> None:
    missing = [name for name in wanted if name not in shapes]
    unexpected = [name for name in shapes if name not in wanted]
    other = [
        f"{name} {shapes[name]} for {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in shapes and shapes[name] != tuple(value.shape)
    ]
    faults = {"missing": missing, "unexpected": unexpected, "of another shape": other}
    found = "; ".join(f"{kind}: {_some(names)}" for kind, names in faults.items() if names)
    if found:
        raise EqvizError(
            str(path), expected=f"the weights of {whose}", found=found, fix="check model and arguments in run.toml"
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(name[:80] for name in names[:_NAMED]) + more


def _check_values(path: Path, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    kinds = [name for name, value in state.items() if value.is_floating_point() != wanted[name].is_floating_point()]
    if kinds:
        raise EqvizError(
            str(path), expected="real numbers where the model has them, whole ones elsewhere",
            found=f"other kinds of number in {_some(kinds)}", fix="save the model's own state",
        )  # fmt: skip
    bad = [
        name for name, value in state.items() if value.is_floating_point() and not torch.isfinite(value.float()).all()
    ]
    if bad:
        raise EqvizError(
            str(path), expected="finite weights", found=f"NaN or infinity in {_some(bad)}",
            fix="choose an earlier epoch, or train with a lower learning rate",
        )  # fmt: skip
