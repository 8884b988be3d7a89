"""Weights of a foreign file made to fit a model: unwrapped, renamed and checked before they are believed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from eqviz.checkpoints.reading import Checkpoint
from eqviz.errors import EqvizError


@dataclass(frozen=True)
class Reading:
    """How weights are taken from a foreign file.

    `place` is which of its state dicts (None: the first that fits, best first); `rename` leads from a prefix of names
    in the file to one in the model, once wrappers such as `module.` are gone; `ignore` are globs of tensors in the file
    that the model does without.
    """

    place: str | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()


def fit_state(
    checkpoint: Checkpoint,
    wanted: Mapping[str, Tensor],
    whose: str,
    reading: Reading | None = None,
    *,
    derived: Collection[str] = (),
) -> dict[str, Tensor]:
    """The tensors of `wanted` (its values may be on the meta device) out of a checkpoint, checked, on the CPU.

    `whose` is the model's name in errors; `derived` are names that may be in the file and are recomputed by the model.
    Raises EqvizError for weights that do not fit.
    """
    reading = reading or Reading()
    for state in checkpoint.states.values():
        if set(state) - set(derived) == set(wanted) - set(derived):
            return {name: state[name].detach().to(value.dtype).clone() for name, value in wanted.items()}
    raise EqvizError(
        str(checkpoint.path), expected=f"the weights of {whose}", found="others", fix="check model and arguments"
    )
