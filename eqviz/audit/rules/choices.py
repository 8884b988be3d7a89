"""Operations that choose positions of space or entries of the fibre: slices, flips, rolls."""

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eqviz.audit.actions import Action
from eqviz.audit.interpretation import Interpretation, Verdict, replaced
from eqviz.audit.layout import CannotFollow, dimension, extent, only, viewed
from eqviz.audit.rules.views import expanded, not_commuting, permuted
from eqviz.audit.rules.windows import maps, on_axes, spatial
from eqviz.audit.values import Space, Value, Window
from eqviz.groups.group import Element

Arguments = Mapping[str, Any]


def choose(trace: Interpretation, value: Value, place: int, positions: Sequence[int], op: str) -> Value:
    """Some positions of one dimension: of rows or columns a choice of places, of the fibre a choice of entries."""
    dim = value.dims[place]
    count = extent(dim)
    if list(positions) == list(range(count)):
        return value
    if not positions:
        raise CannotFollow("a choice of no positions")
    if len(dim) == 1 and dim[0].kind in ("rows", "columns"):
        axis = 0 if dim[0].kind == "rows" else 1
        dims = replaced(value.dims, place, dimension(dim[0].kind, len(positions)))
        step = positions[1] - positions[0] if len(positions) > 1 else 1
        window = Window(stride=str(step), leftover=_cut(positions, count) if step > 0 else "")
        return trace.apply(
            value, op, on_axes(lambda line, a: line.take(positions) if a == axis else line), dims=dims,
            verdict=Verdict(value.actions), stage=value.stage, closes=False, window=window, selects=True,
        )  # fmt: skip
    if only(dim, "batch"):
        trace.chosen.append(f"{trace.serial} {list(positions)}")
        dims = replaced(value.dims, place, dimension("batch", len(positions)))
        return value.but(dims=dims, origin=trace.new_origin())
    if not dim:  # a dimension of size 1, repeated
        shape = [len(positions) if number == place else size for number, size in enumerate(value.shape)]
        return expanded(trace, value, shape)
    if only(dim, "tokens"):
        return _of_tokens(trace, value, place, list(positions))
    if not only(dim, "fibre"):
        raise CannotFollow("a choice of places and channels at once, that lie in one dimension")
    return _entries(trace, value, place, positions, op)


def _of_tokens(trace: Interpretation, value: Value, place: int, positions: Sequence[int]) -> Value:
    """All tokens that have a place, or some that have none."""
    height, width = value.total.size
    end = value.first + height * width
    if list(positions) == list(range(value.first, end)):
        trace.chosen.append(f"{trace.serial} the places")
        dims = replaced(value.dims, place, (*dimension("rows", height), *dimension("columns", width)))
        return value.but(dims=dims, first=0)
    if any(value.first <= position < end for position in positions):
        raise CannotFollow("some tokens of the image are chosen and others are not")
    trace.chosen.append(f"{trace.serial} {[p if p < end else p - end for p in positions]} of the class tokens")
    gathered, operation = trace.expressions.gathered, trace.serial
    found = trace.apply(
        value, "class token", on_axes(lambda line, _: gathered(line, ("class token", operation))),
        dims=replaced(value.dims, place, ()),
    ).but(first=0)  # fmt: skip
    if len(positions) == 1:
        return found
    raise CannotFollow("several class tokens chosen at once")


def _cut(positions: Sequence[int], count: int) -> str:
    before, after = positions[0], count - 1 - positions[-1]
    return f"{before},{after}"


def _entries(trace: Interpretation, value: Value, place: int, positions: Sequence[int], op: str) -> Value:
    """Some entries of the fibre: the choice has to be mapped to itself."""
    trace.chosen.append(f"{trace.serial} {list(positions)}")
    shape = [extent(atom for atom in dim if atom.kind == "fibre") for dim in value.dims]
    kept = np.arange(int(np.prod(shape))).reshape(shape).take(positions, axis=place).reshape(-1)
    rank = _ranks(kept)
    repeats = int(rank.max(initial=0)) + 1
    where = np.full((int(np.prod(shape)), repeats), -1)  # by entry and by how many times it was taken before
    where[kept, rank] = np.arange(len(kept))
    actions, lost = {}, set()
    for g in trace.moving:
        moved = where[value.actions[g][kept], rank]
        if (moved < 0).any():
            lost.add(g)
            moved = trace.assumed(g, len(kept))
        actions[g] = np.asarray(moved, dtype=np.int64)
    alike = value.alike[kept] if value.alike is not None else (kept if repeats > 1 else None)
    dims = replaced(value.dims, place, dimension("fibre", len(positions)))
    why = "it takes some entries of the fibre and leaves others that they change places with" if lost else ""
    return trace.apply(
        value, f"{op} of the fibre", None, dims=dims, verdict=Verdict(actions, frozenset(lost), why=why),
        closes=False, record=bool(lost),
    ).but(alike=alike)  # fmt: skip


def _ranks(entries: Action) -> Action:
    """For each entry how many times it came before."""
    found = np.zeros(len(entries), dtype=np.int64)
    if len(np.unique(entries)) < len(entries):
        seen: Counter[int] = Counter()
        for place, entry in enumerate(entries.tolist()):
            found[place] = seen[entry]
            seen[entry] += 1
    return found


def slice_(trace: Interpretation, given: Arguments) -> Value:
    """`x[..., start:end:step, ...]`."""
    value = trace.value(given["self"])
    place = int(given["dim"]) % len(value.dims)
    positions = range(extent(value.dims[place]))[slice(given["start"], given["end"], given["step"])]
    return choose(trace, value, place, list(positions), "slice")


def select(trace: Interpretation, given: Arguments) -> Value:
    """`x[..., index, ...]`."""
    value = trace.value(given["self"])
    place = int(given["dim"]) % len(value.dims)
    count = extent(value.dims[place])
    chosen = choose(trace, value, place, [int(given["index"]) % count], "slice")
    return chosen.but(dims=(*chosen.dims[:place], *chosen.dims[place + 1 :]))


def index_select(trace: Interpretation, given: Arguments) -> Value:
    """`x.index_select(dim, index)` with an index that does not depend on the image."""
    value = trace.value(given["self"])
    if trace.known(given["index"]):
        raise CannotFollow("a choice that depends on the image")
    place = int(given["dim"]) % len(value.dims)
    return choose(trace, value, place, [int(i) for i in given["index"].tolist()], "index")


def index(trace: Interpretation, given: Arguments) -> Value:
    """`x[:, index]` with one index that does not depend on the image."""
    value = trace.value(given["self"])
    used = [(place, item) for place, item in enumerate(given["indices"]) if item is not None]
    if len(used) != 1 or trace.known(used[0][1]) or used[0][1].dim() != 1 or used[0][1].is_floating_point():
        raise CannotFollow("an index of several dimensions or from the image")
    place, item = used[0]
    count = extent(value.dims[place])
    positions = item.nonzero().reshape(-1) if item.dtype == torch.bool else item
    return choose(trace, value, place, [int(i) % count for i in positions.tolist()], "index")


def split(trace: Interpretation, given: Arguments, out: Sequence[Tensor]) -> list[Value]:
    """`x.split(sizes)`, `x.chunk(n)`."""
    value = trace.value(given["self"])
    place = int(given["dim"]) % len(value.dims)
    found, start = [], 0
    for part in out:
        size = int(part.shape[place])
        found.append(choose(trace, value, place, list(range(start, start + size)), "slice"))
        start += size
    return found


def unbind(trace: Interpretation, given: Arguments, out: Sequence[Tensor]) -> list[Value]:
    """`x.unbind(dim)`."""
    place = int(given["dim"]) % len(trace.value(given["self"]).dims)
    return [select(trace, {"self": given["self"], "dim": place, "index": number}) for number in range(len(out))]


def flip(trace: Interpretation, given: Arguments) -> Value:
    """Dimensions reversed."""
    value = trace.value(given["self"])
    for place in given["dims"]:
        number = int(place) % len(value.dims)
        value = choose(trace, value, number, list(reversed(range(extent(value.dims[number])))), "flip")
    return value


def roll(trace: Interpretation, given: Arguments) -> Value:
    """Dimensions rolled."""
    value = trace.value(given["self"])
    shifts = [given["shifts"]] if isinstance(given["shifts"], int) else list(given["shifts"])
    dims = [given["dims"]] if isinstance(given["dims"], int) else list(given["dims"])
    if not dims:
        raise CannotFollow("a roll of the flattened tensor")
    for shift, place in zip(shifts, dims, strict=True):
        number = int(place) % len(value.dims)
        count = extent(value.dims[number])
        value = choose(trace, value, number, [(p - int(shift)) % count for p in range(count)], "roll")
    return value


def rot90(trace: Interpretation, given: Arguments) -> Value:
    """`torch.rot90`: two dimensions exchanged and reversed."""
    value = trace.value(given["self"])
    turns, places = int(given["k"]) % 4, [int(place) % len(value.dims) for place in given["dims"]]
    order = list(range(len(value.dims)))
    order[places[0]], order[places[1]] = places[1], places[0]
    spaces = (value.total, value.local)
    whole = all(space.rows.symmetric and space.columns.symmetric for space in spaces)
    if turns % 2 == 1 and whole and [place - len(value.dims) for place in places] == [-2, -1]:
        lead, (height, width) = maps(value), value.total.size
        lost = not_commuting(trace, Element(Fraction(turns, 4)))
        return trace.apply(
            value, "rot90", lambda space: Space(space.columns, space.rows), dims=spatial(lead, (width, height)),
            stage=value.stage, grid_lost=lost, selects=True,
            grid_why="turning a map does not commute with reflections" if lost else "",
        )  # fmt: skip

    def reversed_at(known: Value, place: int) -> Value:
        return choose(trace, known, place, list(reversed(range(extent(known.dims[place])))), "flip")

    if turns == 2:
        return reversed_at(reversed_at(value, places[0]), places[1])
    if turns == 1:
        return permuted(trace, reversed_at(value, places[1]), order)
    return reversed_at(permuted(trace, value, order), places[1]) if turns == 3 else value


def each_repeated(trace: Interpretation, given: Arguments) -> Value:
    """`x.repeat_interleave(times, dim)`: every position several times in a row."""
    value, times = trace.value(given["self"]), given["repeats"]
    if not isinstance(times, int) or given["dim"] is None:
        raise CannotFollow("positions repeated a different number of times each")
    place = int(given["dim"]) % len(value.dims)
    return choose(trace, value, place, [p for p in range(extent(value.dims[place])) for _ in range(times)], "repeat")


def repeat(trace: Interpretation, given: Arguments) -> Value:
    """`x.repeat(...)`: the tensor tiled."""
    value = trace.value(given["self"])
    times = [int(t) for t in given["repeats"]]
    value = value.but(dims=viewed(value.dims, (1,) * (len(times) - len(value.dims)) + value.shape)[0])
    for place, count in enumerate(times):
        dim = value.dims[place]
        if count == 1:
            continue
        if dim and (only(dim, "fibre") or (len(dim) == 1 and dim[0].kind in ("rows", "columns"))):
            value = choose(trace, value, place, list(range(extent(dim))) * count, "repeat")
        elif dim or place == 0 or place >= max(2, len(value.dims) - 2):
            raise CannotFollow("a repeated dimension")
        else:
            shape = [extent(d) if number != place else count for number, d in enumerate(value.dims)]
            value = expanded(trace, value, shape)
    return value
