"""Weights of a foreign file made to fit a model: unwrapped, renamed and checked before they are believed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from eqviz.checkpoints.misfits import misfit
from eqviz.checkpoints.names import Match, Shapes, match_names
from eqviz.checkpoints.reading import Checkpoint, states_at
from eqviz.checkpoints.wording import shown, some
from eqviz.errors import EqvizError


@dataclass(frozen=True)
class Reading:
    """How weights are taken from a foreign file.

    `place` is which of its state dicts ("ema": the averaged ones, wherever they are; None: the first that fits, best
    first); `rename` leads from a prefix of names in the file to one in the model, once wrappers such as `module.` are
    gone; `ignore` are globs of tensors in the file that the model does without.
    """

    place: str | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()


_KNOWN = {
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128, torch.bool,
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float8_e4m3fn, torch.float8_e5m2,
}  # fmt: skip
"""Kinds of numbers that are converted."""

AS_IT_IS = Reading()
"""The first state dict that fits, under the names it has."""


def fit_state(
    checkpoint: Checkpoint,
    wanted: Mapping[str, Tensor],
    whose: str,
    reading: Reading = AS_IT_IS,
    *,
    derived: Collection[str] = (),
) -> dict[str, Tensor]:
    """The tensors of `wanted` (its values may be on the meta device) out of a checkpoint: contiguous copies of its own,
    on the CPU, of the dtypes of `wanted`, finite.

    Wrappers (`module.`, `_orig_mod.`) and a prefix that the network has in common (`model.`) are taken off. What a
    network does without is left out: averages' and profilers' counters, losses and metrics beside it. Counters of
    batch norm (`num_batches_tracked`) that old files lack are 0. `derived` are names that the model recomputes: they
    may be in the file or not, and are not in the result. `whose` is the model's name in errors.

    Raises EqvizError for a place that is not in the file; for tensors that are missing, unexpected or of another shape,
    at most three each, with the nearest of equal shape; where two networks in the file fit as well; and for values of
    another kind, that are not finite, or that the model's dtype cannot hold.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from eqviz.checkpoints.reading import read_checkpoint
    >>> path = Path(tempfile.mkdtemp()) / "last.ckpt"
    >>> torch.save({"state_dict": {"model.weight": torch.ones(1, 2).half(), "criterion.weight": torch.ones(2)}}, path)
    >>> fit_state(read_checkpoint(path), {"weight": torch.empty(1, 2)}, "a linear layer")
    {'weight': tensor([[1., 1.]])}
    """
    needed = {name: value for name, value in wanted.items() if name not in derived}
    shapes = {name: tuple(value.shape) for name, value in needed.items()}
    faults: list[tuple[int, str, str, str]] = []
    for place, state in states_at(checkpoint.path, checkpoint.states, reading.place).items():
        found = {name: tuple(value.shape) for name, value in state.items()}
        match = match_names(found, shapes, reading.rename, reading.ignore, derived)
        required = {name: shape for name, shape in shapes.items() if not _is_lost_counter(name, match)}
        match = _the_only_one(checkpoint, state, match, required, whose)
        words, fix = misfit(found, match, required)
        if not words:
            fitted = _checked(checkpoint, {name: state[match.names[name]] for name in required}, needed)
            return {
                name: fitted[name] if name in fitted else torch.zeros((), dtype=value.dtype)
                for name, value in needed.items()
            }
        faults.append((len(match.names), place, words, fix))
    _, place, words, fix = max(faults, key=lambda fault: fault[0])
    where = f"in {shown(place)}: " if place and len(checkpoint.states) > 1 else ""
    raise EqvizError(str(checkpoint.path), expected=f"the weights of {whose}", found=where + words, fix=fix)


def _is_lost_counter(name: str, match: Match) -> bool:
    """Whether that is a counter of batch norm which the file lacks while it has the statistics."""
    end = "num_batches_tracked"
    return name.endswith(end) and name not in match.names and name.removesuffix(end) + "running_mean" in match.names


def _the_only_one(
    checkpoint: Checkpoint, state: Mapping[str, Tensor], match: Match, required: Shapes, whose: str
) -> Match:
    """Of networks that fit as well, copies count once; others are a choice for the user."""
    if not match.equals or not required.keys() <= match.names.keys():
        return match
    copies: set[str] = set()
    for other in match.equals:
        if not all(_same(state[name], state.get(other.names.get(key, ""))) for key, name in match.names.items()):
            raise EqvizError(
                str(checkpoint.path), expected=f"one network with the weights of {whose}",
                found=f"several, under {some([repr(shown(one.prefix)) for one in (match, *match.equals)])}",
                fix=f'leave the others out: ignore = ["{shown(other.prefix)}*"] in eqviz.toml',
            )  # fmt: skip
        copies.update(other.names.values())
    return replace(match, unexpected={name: bare for name, bare in match.unexpected.items() if name not in copies})


def _same(value: Tensor, other: Tensor | None) -> bool:
    return other is not None and value.dtype == other.dtype and value.shape == other.shape and torch.equal(value, other)


def _checked(checkpoint: Checkpoint, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    about = str(checkpoint.path)
    unusual = [f"{name} ({words})" for name, value in state.items() if (words := _unusual(value, wanted[name]))]
    if unusual:
        raise EqvizError(
            about, expected="real numbers where the model has them, whole ones elsewhere",
            found=f"others in {some(unusual)}", fix="save the model's own state_dict()",
        )  # fmt: skip
    bad = [name for name, value in state.items() if not _finite(value)]
    if bad:
        raise EqvizError(
            about, expected="finite weights", found=f"NaN or infinity in {some(bad)}",
            fix="choose an earlier epoch, or train with a lower learning rate",
        )  # fmt: skip
    fitted = {name: _copy(value, wanted[name].dtype) for name, value in state.items()}
    lost = [name for name, value in fitted.items() if not _holds(value, state[name])]
    if lost:
        raise EqvizError(
            about, expected="weights that the model's numbers can hold",
            found=f"too large ones in {some([f'{name} ({state[name].dtype})' for name in lost])}",
            fix="save the weights in the model's own dtype",
        )  # fmt: skip
    return fitted


def _unusual(value: Tensor, wanted: Tensor) -> str:
    """What kind of tensor it is, where that is none that can stand for the wanted one."""
    if value.layout != torch.strided or value.is_quantized or value.is_meta:
        return "sparse" if value.layout != torch.strided else "quantised" if value.is_quantized else "without values"
    same = value.is_complex() == wanted.is_complex() and value.is_floating_point() == wanted.is_floating_point()
    return "" if same and value.dtype in _KNOWN else str(value.dtype).removeprefix("torch.")


def _finite(value: Tensor) -> bool:
    return bool(torch.isfinite(value if value.itemsize > 1 else value.float()).all())  # float8 has no isfinite


def _copy(value: Tensor, dtype: torch.dtype) -> Tensor:
    return value.detach().resolve_conj().resolve_neg().to(dtype).clone(memory_format=torch.contiguous_format)


def _holds(copy: Tensor, value: Tensor) -> bool:
    """Whether a copy of another dtype is still the same number: finite, or the same whole number."""
    if copy.dtype == value.dtype:
        return True
    if copy.is_floating_point() or copy.is_complex():
        return _finite(copy)
    return torch.equal(copy.to(torch.int64), value.to(torch.int64))
