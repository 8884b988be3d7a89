"""Operations that add positions around a map."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from eqviz.audit.actions import Action
from eqviz.audit.expressions import Line
from eqviz.audit.interpretation import Interpretation, replaced
from eqviz.audit.layout import CannotFollow, dimension, extent, only
from eqviz.audit.rules.choices import choose
from eqviz.audit.rules.windows import maps, on_axes
from eqviz.audit.values import Space, Value, Window

Arguments = Mapping[str, Any]


def constant_pad(trace: Interpretation, given: Arguments) -> Value:
    """Constant numbers around the maps, or beside the channels; negative pads crop."""
    value = trace.value(given["self"])
    amounts, number = [int(a) for a in given["pad"]], float(given["value"])
    constant = trace.expressions.constant(number)
    for from_end in range(len(amounts) // 2):
        before, after = amounts[2 * from_end], amounts[2 * from_end + 1]
        place = len(value.dims) - 1 - from_end
        if (before, after) != (0, 0):
            value = _pad_one(trace, value, place, before, after, constant, number)
    return value


def _pad_one(
    trace: Interpretation, value: Value, place: int, before: int, after: int, constant: int, number: float
) -> Value:
    dim = value.dims[place]
    if only(dim, "fibre") and not value.has_taps and place not in spatial_places(value):
        return more_channels(trace, value, place, before, after)
    axis, line = axis_of(value, place)
    count = len(line) + before + after

    def padded(space: Space) -> Space:
        own = space.rows if axis == 0 else space.columns
        kept = range(max(0, -before), len(own) - max(0, -after))
        ends = [(constant,) * max(0, amount) for amount in (before, after)]
        new = Line(
            ends[0] + tuple(own.plain[p] for p in kept) + ends[1],
            ends[0] + tuple(own.mirrored[p] for p in kept) + ends[1],
        )
        return Space(new, space.columns) if axis == 0 else Space(space.rows, new)

    dims = replaced(value.dims, place, dimension("rows" if axis == 0 else "columns", count))
    keeps = number == 0 or value.stage[0] == "maximum"
    return trace.apply(
        value, "pad(constant)", padded, dims=dims, stage=value.stage if keeps else None, closes=False,
        window=Window(padding=f"{before},{after}" if before != after else str(before)),
    )  # fmt: skip


def spatial_places(value: Value) -> tuple[int, ...]:
    """Where rows and columns are, or would be if they were more than one."""
    return (len(value.dims) - 2, len(value.dims) - 1) if len(value.dims) >= 4 else ()


def axis_of(value: Value, place: int) -> tuple[int, Line]:
    """Which axis of space a dimension is (0 rows, 1 columns), and what it holds."""
    dim = value.dims[place]
    if len(dim) == 1 and dim[0].kind == "rows":
        return 0, value.total.rows
    if len(dim) == 1 and dim[0].kind == "columns":
        return 1, value.total.columns
    if not dim and place == len(value.dims) - 2 and len(value.total.rows) == 1:
        return 0, value.total.rows
    if not dim and place == len(value.dims) - 1 and len(value.total.columns) == 1:
        return 1, value.total.columns
    raise CannotFollow("a pad of something other than space or channels")


def more_channels(trace: Interpretation, value: Value, place: int, before: int, after: int) -> Value:
    """Zeros beside the entries of a dimension of the fibre, or entries fewer for numbers below 0."""
    if before < 0 or after < 0:
        count = extent(value.dims[place])
        kept = range(max(0, -before), count - max(0, -after))
        value = choose(trace, value, place, list(kept), "slice")
        before, after = max(0, before), max(0, after)
    wide = [*value.shape[:place], value.shape[place] + before + after, *value.shape[place + 1 :]]
    dims = replaced(value.dims, place, dimension("fibre", wide[place]))
    wider = value.but(dims=dims, alike=None, stage=("", trace.serial), origin=trace.serial)
    return wider.but(actions=wider_actions(trace, value, place, before, after)[0])


def wider_actions(trace: Interpretation, value: Value, place: int, before: int, after: int) -> list[dict[int, Action]]:
    """How elements may move the fibre when constant entries stand beside those of a dimension, likeliest first.

    As the layer declares; as the entries of the other dimensions move, such as those of a group axis; or not at all.
    """
    shape = [extent(atom for atom in dim if atom.kind == "fibre") for dim in value.dims]
    wide = [*shape[:place], shape[place] + before + after, *shape[place + 1 :]]
    entries = np.arange(int(np.prod(wide))).reshape(wide)
    inside = entries.take(range(before, before + shape[place]), axis=place).reshape(-1)
    outside = np.setdiff1d(entries.reshape(-1), inside)
    others = [number for number in range(len(shape)) if number != place]
    found: list[dict[int, Action]] = [{}, {}, {}]
    for g in trace.moving:
        still = np.arange(entries.size)
        still[inside] = inside[value.actions[g]]
        along, rest = still.copy(), trace.fibre_action(value, g, others)
        if rest is not None:
            lines = np.moveaxis(entries, place, 0).reshape(wide[place], -1)  # entries of the others, one after another
            moved = entries.reshape(-1).copy()
            moved[lines.reshape(-1)] = lines[:, rest].reshape(-1)
            along[outside] = moved[outside]
        stated = trace.declared_action(g, entries.size)
        fits = stated is not None and np.array_equal(stated[inside], still[inside])
        for number, action in enumerate((stated if stated is not None and fits else along, along, still)):
            found[number][g] = action
    return found


def reflection_pad(trace: Interpretation, given: Arguments) -> Value:
    """The map reflected beyond its edges."""
    return _border(trace, given, "pad(reflect)", lambda p, n: n - 1 - abs(n - 1 - abs(p)))


def replication_pad(trace: Interpretation, given: Arguments) -> Value:
    """The last pixels repeated."""
    return _border(trace, given, "pad(replicate)", lambda p, n: min(max(p, 0), n - 1))


def circular_pad(trace: Interpretation, given: Arguments) -> Value:
    """The map repeated beyond its edges."""
    return _border(trace, given, "pad(circular)", lambda p, n: p % n)


def _border(trace: Interpretation, given: Arguments, op: str, source: Callable[[int, int], int]) -> Value:
    value = trace.value(given["self"])
    maps(value)
    amounts = [int(a) for a in given["padding"]]
    for from_end in range(len(amounts) // 2):
        before, after = amounts[2 * from_end], amounts[2 * from_end + 1]
        if (before, after) == (0, 0):
            continue
        place = len(value.dims) - 1 - from_end
        axis, line = axis_of(value, place)
        positions = [source(p, len(line)) for p in range(-before, len(line) + after)]
        dims = replaced(value.dims, place, dimension("rows" if axis == 0 else "columns", len(positions)))
        value = trace.apply(
            value, op, on_axes(_taking(positions, axis)), dims=dims, stage=value.stage, closes=False, selects=True,
            window=Window(padding=f"{before},{after}" if before != after else str(before)),
        )  # fmt: skip
    return value


def _taking(positions: Sequence[int], axis: int) -> Callable[[Line, int], Line]:
    return lambda line, a: line.take(positions) if a == axis else line
