"""Tensors put side by side, some of which may be constants: class tokens, coordinates, zeros."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eqviz.audit.expressions import Line
from eqviz.audit.interpretation import Interpretation, Verdict, replaced
from eqviz.audit.layout import CannotFollow, Dimension, dimension, extent, kinds, only
from eqviz.audit.rules.choices import choose
from eqviz.audit.rules.effects import UNEQUAL, Effect
from eqviz.audit.rules.joins import joined, side_by_side
from eqviz.audit.rules.linear import has_values
from eqviz.audit.rules.pads import axis_of, more_channels, wider_actions
from eqviz.audit.rules.pointwise import with_constants
from eqviz.audit.values import NONE, Elements, Space, Value, Window

Arguments = Mapping[str, Any]
Part = Value | Tensor

NOT_KNOWN = "activations are put beside numbers that are not known"
BORDER = "activations are put beside numbers that vary, along rows or columns"


def concatenate(trace: Interpretation, given: Arguments) -> Value:
    """`torch.cat` along the fibre, or along rows or columns."""
    parts = _parts(trace, given["tensors"])
    count = next(len(part.dims) for part in parts if isinstance(part, Value))
    return assembled(trace, parts, int(given["dim"]) % count, "cat")


def stack(trace: Interpretation, given: Arguments) -> Value:
    """`torch.stack`: a new dimension of the fibre."""
    parts = _parts(trace, given["tensors"])
    count = next(len(part.dims) for part in parts if isinstance(part, Value))
    place = int(given["dim"]) % (count + 1)
    raised = [
        part.but(dims=(*part.dims[:place], (), *part.dims[place:]))
        if isinstance(part, Value)
        else part.unsqueeze(place)
        for part in parts
    ]
    return assembled(trace, raised, place, "cat")


def _parts(trace: Interpretation, tensors: Sequence[Tensor]) -> list[Part]:
    empty = [tensor for tensor in tensors if not trace.known(tensor) and tensor.numel() == 0]
    return [trace.value(t) if trace.known(t) else t for t in tensors if not any(t is e for e in empty)]


def assembled(trace: Interpretation, parts: Sequence[Part], place: int, op: str) -> Value:
    """Parts side by side along one dimension, in this order."""
    values = [part for part in parts if isinstance(part, Value)]
    if any(kinds(value.dims[place]) in ({"rows", "columns"}, {"tokens"}) for value in values):
        return beside_tokens(trace, parts, place)
    if len(values) == len(parts):
        return side_by_side(trace, values, place)
    constants = [part for part in parts if isinstance(part, Tensor)]
    if not all(has_values(constant) for constant in constants):
        raise CannotFollow(NOT_KNOWN)
    dim = values[0].dims[place]
    if len(dim) == 1 and dim[0].kind in ("rows", "columns"):
        return _bordered(trace, parts, place, op)
    if not all(only(value.dims[place], "fibre") and not value.has_taps for value in values):
        raise CannotFollow(f"activations put beside constants along {', '.join(a.kind for a in dim)}")
    return _beside_channels(trace, parts, place, op)


def _beside_channels(trace: Interpretation, parts: Sequence[Part], place: int, op: str) -> Value:
    """Channels beside constant ones: zeros put beside the channels, to which the constants are added."""
    values = [part for part in parts if isinstance(part, Value)]
    constants = [part for part in parts if isinstance(part, Tensor)]
    more = sum(int(constant.shape[place]) for constant in constants)
    value = side_by_side(trace, values, place) if len(values) > 1 else values[0]
    own = extent(value.dims[place])
    likely = wider_actions(trace, value, place, 0, more)
    value = more_channels(trace, value, place, 0, more)
    numbers = torch.cat([constant.detach().cpu().double() for constant in constants], place)
    nothing = numbers.new_zeros(1).expand([own if at == place else n for at, n in enumerate(numbers.shape)])
    together = torch.cat([nothing, numbers], place)
    tried = [(actions, Effect(trace, value.but(actions=actions), together, constants)) for actions in likely]
    fitting = [actions for actions, effect in tried if not (effect.grid_lost or effect.verdict.lost)]
    value = value.but(actions=(fitting or likely)[0])
    value = with_constants(trace, value, [together], op, made_of=constants)
    return in_order(trace, value, parts, place)


def beside_tokens(trace: Interpretation, parts: Sequence[Part], place: int) -> Value:
    """Tokens without a place beside those of a map, such as class tokens."""
    counts = [not isinstance(part, Value) or not _counts_places(part.dims[place]) for part in parts]
    if sum(not count for count in counts) != 1:
        raise CannotFollow("the tokens of several maps side by side")
    where = counts.index(False)
    tokens = parts[where]
    if not isinstance(tokens, Value):
        raise CannotFollow(NOT_KNOWN)
    dim = tokens.dims[place]
    if [atom.kind for atom in dim] not in (["rows", "columns"], ["tokens"]) or tokens.keys is not None:
        raise CannotFollow("tokens beside those of a map that are not in the order of its rows")
    others = tokens.dims[:place] + tokens.dims[place + 1 :]
    lost, rest = NONE, []
    for part in parts:
        if isinstance(part, Value):
            rest += [part] if part is not tokens else []
        else:
            lost |= _moving(trace, tokens, part, place)
    if any(value.dims[:place] + value.dims[place + 1 :] != others or value.dims[place] for value in rest):
        raise CannotFollow("tokens of different kinds side by side")
    if any(not np.array_equal(value.actions[g], tokens.actions[g]) for value in rest for g in trace.moving):
        raise CannotFollow("tokens that move in different ways side by side")
    first = sum(size_of(part, place) for part in parts[:where])
    total = sum(size_of(part, place) for part in parts)
    trace.chosen.append(f"{trace.serial} {first} of {total - size_of(tokens, place)} class tokens")
    dims = replaced(tokens.dims, place, dimension("tokens", total))
    found = joined(trace, [tokens, *rest], dims, Verdict(tokens.actions, lost, why=UNEQUAL if lost else ""), "cat")
    return found.but(first=first + tokens.first)


def _counts_places(dim: Dimension) -> bool:
    return bool({"rows", "columns", "tokens"} & kinds(dim))


def _moving(trace: Interpretation, tokens: Value, constant: Tensor, place: int) -> Elements:
    """The elements that move the entries of constant tokens to others that differ."""
    still = tokens.but(dims=replaced(tokens.dims, place, ()), first=0)
    lost = NONE
    for number in range(int(constant.shape[place])):
        effect = Effect(trace, still, constant.narrow(place, number, 1), (constant,))
        lost |= effect.verdict.lost | effect.grid_lost
    return lost


def in_order(trace: Interpretation, value: Value, parts: Sequence[Part], place: int) -> Value:
    """Activations first and constants after them, brought into the order of the parts."""
    kept, added, order = 0, sum(size_of(part, place) for part in parts if isinstance(part, Value)), []
    for part in parts:
        size = size_of(part, place)
        start = kept if isinstance(part, Value) else added
        order += list(range(start, start + size))
        kept, added = (kept + size, added) if isinstance(part, Value) else (kept, added + size)
    return choose(trace, value, place, order, "cat")


def size_of(part: Part, place: int) -> int:
    """How many positions a part has along a dimension."""
    return extent(part.dims[place]) if isinstance(part, Value) else int(part.shape[place])


def _bordered(trace: Interpretation, parts: Sequence[Part], place: int, op: str) -> Value:
    """Rows or columns beside constant ones."""
    values = [part for part in parts if isinstance(part, Value)]
    numbers = {number for part in parts if isinstance(part, Tensor) for number in (uniform(part),)}
    number = numbers.pop()
    if len(values) > 1 or numbers or number is None:
        raise CannotFollow(BORDER)
    positions: list[int | None] = []
    for part in parts:
        size = size_of(part, place)
        positions += list(range(size)) if isinstance(part, Value) else [None] * size
    return inset(trace, values[0], place, positions, number, op)


def uniform(constant: Tensor) -> float | None:
    """The number that a constant holds everywhere; None if it varies or is not known."""
    if not has_values(constant):
        return None
    first = constant.reshape(-1)[0]
    return float(first) if bool((constant == first).all()) else None


def inset(
    trace: Interpretation, value: Value, place: int, positions: Sequence[int | None], number: float, op: str
) -> Value:
    """Rows or columns of a tensor, None for those that hold a constant number."""
    axis, _ = axis_of(value, place)
    constant = trace.expressions.constant(number)

    def filled(space: Space) -> Space:
        own = space.rows if axis == 0 else space.columns
        new = Line(
            *(tuple(constant if p is None else line[p] for p in positions) for line in (own.plain, own.mirrored))
        )
        return Space(new, space.columns) if axis == 0 else Space(space.rows, new)

    dims = replaced(value.dims, place, dimension("rows" if axis == 0 else "columns", len(positions)))
    return trace.apply(
        value, op, filled, dims=dims, closes=False, window=Window(), stage=value.stage if number == 0 else None
    )
