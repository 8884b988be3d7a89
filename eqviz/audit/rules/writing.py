"""Activations written into parts of a tensor: what the tensor holds when it is read."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from eqviz.audit.interpretation import Interpretation
from eqviz.audit.layout import CannotFollow, only
from eqviz.audit.memory import Region, Write
from eqviz.audit.rules.choices import choose
from eqviz.audit.rules.concatenation import NOT_KNOWN, Part, assembled, inset, size_of, uniform
from eqviz.audit.rules.linear import has_values
from eqviz.audit.rules.views import permuted
from eqviz.audit.values import Value

NEVER_WRITTEN = "parts of a tensor that was made without numbers are read before anything is written to them"
SCATTERED = "activations are written to parts of a tensor that do not tile one of its dimensions"
IMAGES = "images of the batch are written one by one"


def composed(trace: Interpretation, shape: Sequence[int], writes: Sequence[Write], *, unset: bool) -> Value:
    """What a tensor of this shape holds after these writes, in order; `unset` if it held nothing before.

    Raises CannotFollow where the parts do not tile one dimension of it.
    """
    complete = [number for number, write in enumerate(writes) if write.region.size == math.prod(shape)]
    writes = writes[complete[-1] if complete else 0 :]
    partial = [
        place for place, size in enumerate(shape)
        if any(len(write.region.positions[place]) < size for write in writes)
    ]  # fmt: skip
    contents = [_turned(trace, write) for write in writes]
    if not partial:
        return _only_value(contents)
    if unset and not complete and len(partial) > 1:
        raise CannotFollow(NEVER_WRITTEN)
    if len(partial) > 1:
        return _inset(trace, shape, writes, contents, partial)
    return _tiled(trace, shape, writes, contents, partial[0])


def _only_value(contents: Sequence[Part]) -> Value:
    if not isinstance(contents[-1], Value):
        raise CannotFollow("constants written over all activations")
    return contents[-1]


def _turned(trace: Interpretation, write: Write) -> Part:
    """What was written, with the dimensions of the whole in their order."""
    order, content = write.region.order, write.content
    chosen = [whole for whole in order if whole is not None]
    turn = [chosen.index(whole) for whole in sorted(chosen)]
    gone = [place for place in range(len(write.region.positions)) if place not in chosen]
    if isinstance(content, Tensor):
        numbers = content.squeeze([place for place, whole in enumerate(order) if whole is None]).permute(turn)
        for place in gone:
            numbers = numbers.unsqueeze(place)
        return numbers
    kept = content.but(dims=tuple(dim for dim, whole in zip(content.dims, order, strict=True) if whole is not None))
    dims = list(permuted(trace, kept, turn).dims)
    for place in gone:
        dims.insert(place, ())
    return permuted(trace, kept, turn).but(dims=tuple(dims))


def _tiled(
    trace: Interpretation, shape: Sequence[int], writes: Sequence[Write], contents: Sequence[Part], place: int
) -> Value:
    """Parts that tile one dimension; later ones lie over earlier ones."""
    owner: dict[int, tuple[int, int]] = {}  # position: the write, and which of the positions it wrote to
    for number, write in enumerate(writes):
        owner |= {position: (number, own) for own, position in enumerate(write.region.positions[place])}
    if len(owner) < shape[place]:
        raise CannotFollow(NEVER_WRITTEN)
    values = [content for content in contents if isinstance(content, Value)]
    if place == 0 and all(only(value.dims[0], "batch") for value in values):
        raise CannotFollow(IMAGES)
    parts: list[Part] = []
    order: list[int] = []
    for number, content in enumerate(contents):
        taken = sorted((position, own) for position, (writer, own) in owner.items() if writer == number)
        if taken:
            order += [position for position, _ in taken]
            parts.append(_taken(trace, content, place, [own for _, own in taken]))
    if not any(atom.kind in ("rows", "columns") for value in values for atom in value.dims[place]):
        trace.chosen.append(f"{trace.serial} write {order} of {[size_of(part, place) for part in parts]}")
    if not any(isinstance(part, Value) for part in parts):
        raise CannotFollow("constants written over all activations")
    spatial = _bordered(trace, parts, place, order)
    if spatial is not None:
        return spatial
    together = assembled(trace, parts, place, "write")
    return choose(trace, together, place, [order.index(position) for position in range(shape[place])], "write")


def _taken(trace: Interpretation, content: Part, place: int, chosen: Sequence[int]) -> Part:
    if isinstance(content, Tensor):
        if not has_values(content):
            raise CannotFollow(NOT_KNOWN)
        return content.index_select(place, torch.tensor(list(chosen), device=content.device))
    return choose(trace, content, place, chosen, "write")


def _bordered(trace: Interpretation, parts: Sequence[Part], place: int, order: Sequence[int]) -> Value | None:
    """One map among constant rows or columns; None for other parts."""
    values = [part for part in parts if isinstance(part, Value)]
    numbers = [uniform(part) for part in parts if isinstance(part, Tensor)]
    dim = values[0].dims[place] if values else ()
    if len(values) != 1 or len(dim) != 1 or dim[0].kind not in ("rows", "columns"):
        return None
    if len(set(numbers)) != 1 or numbers[0] is None:
        return None
    positions: dict[int, int | None] = {}
    start = 0
    for part in parts:
        size = size_of(part, place)
        for own, position in enumerate(order[start : start + size]):
            positions[position] = own if isinstance(part, Value) else None
        start += size
    return inset(trace, values[0], place, [positions[p] for p in range(len(order))], numbers[0], "write")


def _inset(
    trace: Interpretation,
    shape: Sequence[int],
    writes: Sequence[Write],
    contents: Sequence[Part],
    partial: Sequence[int],
) -> Value:
    """One map written into a constant tensor, with rows and columns around it or between its own."""
    value = contents[-1]
    constants = [content for content in contents[:-1] if isinstance(content, Tensor)]
    numbers = [uniform(constant) for constant in constants]
    alike = len(set(numbers)) == 1 and numbers[0] is not None and len(constants) == len(contents) - 1
    if not (isinstance(value, Value) and alike and numbers[0] is not None):
        raise CannotFollow(SCATTERED)
    for place in partial:
        positions: list[int | None] = [None] * shape[place]
        for own, position in enumerate(writes[-1].region.positions[place]):
            positions[position] = own
        value = inset(trace, value, place, positions, numbers[0], "write")
    return value


def part_of(trace: Interpretation, value: Value, region: Region) -> Value:
    """What a part of a tensor holds."""
    for place, positions in enumerate(region.positions):
        value = choose(trace, value, place, positions, "slice")
    chosen = [whole for whole in region.order if whole is not None]
    gone = [place for place in range(len(region.positions)) if place not in chosen]
    value = value.but(dims=tuple(dim for place, dim in enumerate(value.dims) if place not in gone))
    left = sorted(chosen)
    value = permuted(trace, value, [left.index(whole) for whole in chosen])
    dims = list(value.dims)
    for place, whole in enumerate(region.order):
        if whole is None:
            dims.insert(place, ())
    return value.but(dims=tuple(dims))
