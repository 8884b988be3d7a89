"""Several tensors put together: side by side, or position by position."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eqviz.audit.actions import Action
from eqviz.audit.expressions import Line
from eqviz.audit.interpretation import Interpretation, Verdict, replaced
from eqviz.audit.layout import CannotFollow, Dimension, atoms, dimension, extent, only
from eqviz.audit.rules.pads import axis_of
from eqviz.audit.rules.windows import on_axes
from eqviz.audit.values import NONE, Space, Value

Arguments = Mapping[str, Any]


def side_by_side(trace: Interpretation, values: Sequence[Value], place: int) -> Value:
    """Activations beside activations along the fibre, or along rows or columns."""
    dim = values[0].dims[place]
    spatial = any(len(v.dims[place]) == 1 and v.dims[place][0].kind in ("rows", "columns") for v in values)
    if spatial:
        return _along_space(trace, values, place)
    if all(only(value.dims[place], "fibre") and not value.has_taps for value in values):
        return _along_fibre(trace, values, place)
    raise CannotFollow(f"a concatenation along {', '.join(atom.kind for atom in dim) or 'a dimension of size 1'}")


def _along_fibre(trace: Interpretation, values: Sequence[Value], place: int) -> Value:
    base, offset, entries = values[0], 0, []
    shapes = []
    for value in values:
        shape = [extent(atom for atom in dim if atom.kind == "fibre") for dim in value.dims]
        entries.append(offset + np.arange(int(np.prod(shape))).reshape(shape))
        shapes.append(shape)
        offset += int(np.prod(shape))
    together = np.concatenate(entries, axis=place).reshape(-1)
    where = np.empty(offset, dtype=np.int64)
    where[together] = np.arange(offset)
    actions = {}
    for g in trace.moving:
        moved = [
            part.reshape(-1)[value.actions[g]].reshape(part.shape) for part, value in zip(entries, values, strict=True)
        ]
        actions[g] = where[np.concatenate(moved, axis=place).reshape(-1)]
    others = [value.dims[:place] + value.dims[place + 1 :] for value in values]
    ends = {(value.keys is None, value.first) for value in values}
    if any(atoms(other) != atoms(others[0]) for other in others) or len(ends) > 1 or base.keys is not None:
        raise CannotFollow("a concatenation of tensors of different kinds")
    dims = replaced(base.dims, place, dimension("fibre", sum(shape[place] for shape in shapes)))
    return joined(trace, values, dims, Verdict(actions), "cat").but(alike=_alike(values, entries, place))


def _alike(values: Sequence[Value], entries: Sequence[Action], place: int) -> Action | None:
    """Which entries of tensors put side by side are alike; `entries` number them."""
    if all(value.alike is None for value in values):
        return None
    count = sum(part.size for part in entries)
    own = [
        part if value.alike is None else (number * count + count + value.alike).reshape(part.shape)
        for number, (value, part) in enumerate(zip(values, entries, strict=True))
    ]
    return np.concatenate(own, axis=place).reshape(-1)


def history(values: Sequence[Value]) -> dict[str, Any]:
    """What several tensors lost before, together, by the names of fields of a value."""
    lost = {
        name: NONE.union(*(getattr(value, name) for value in values))
        for name in ("grid_lost", "fibre_lost", "fibre_unknown", "guessed")
    }
    chain = tuple(dict.fromkeys(link for value in values for link in value.chain))
    unknown, first = any(value.grid_unknown for value in values), max(value.first for value in values)
    return {"chain": chain, "grid_unknown": unknown, "first": first, **lost}


def joined(
    trace: Interpretation, values: Sequence[Value], dims: tuple[Dimension, ...], verdict: Verdict, op: str
) -> Value:
    """Several tensors put together position by position."""
    operation, pair = trace.serial, trace.expressions.paired

    def both(one: Space, other: Space) -> Space:
        return Space(pair(one.rows, other.rows, operation), pair(one.columns, other.columns, operation))

    first = values[0]
    total, local = first.total, first.local
    for value in values[1:]:
        total = Space(
            pair(total.rows, value.total.rows, operation), pair(total.columns, value.total.columns, operation)
        )
        local = Space(
            pair(local.rows, value.local.rows, operation), pair(local.columns, value.local.columns, operation)
        )
    merged = first.but(
        total=total, local=local, stage=("", operation), origin=operation, **history(values)
    )  # fmt: skip

    def constants(line: Line, axis: int) -> Line:
        del axis
        change = trace.expressions.unknown_constant
        zero = trace.expressions.zero
        return trace.expressions.constants(
            line, lambda _, n: n if n == zero and op in _KEEP_ZERO else change(operation, n)
        )

    return trace.apply(
        merged, op, on_axes(constants), dims=dims, verdict=verdict, closes=False,
        record=bool(verdict.lost or verdict.unknown),
    )  # fmt: skip


_KEEP_ZERO = ("cat", "add", "sub", "mul")


def _along_space(trace: Interpretation, values: Sequence[Value], place: int) -> Value:
    """Maps put side by side: selections of one map, or different ones."""
    axis, _ = axis_of(values[0], place)
    base = values[0]
    crossing = [value.total.columns if axis == 0 else value.total.rows for value in values]
    alike = all(np.array_equal(value.actions[g], base.actions[g]) for value in values for g in trace.moving)
    if any(line != crossing[0] for line in crossing) or not alike:
        raise CannotFollow("different maps side by side")
    one_map = len({value.origin for value in values}) == 1
    operation = trace.serial

    def together(lines: Sequence[Line]) -> Line:
        parts = lines if one_map else [trace.expressions.marked(line, (operation, n)) for n, line in enumerate(lines)]
        return Line(sum((part.plain for part in parts), ()), sum((part.mirrored for part in parts), ()))

    spaces = {}
    for name in ("total", "local"):
        own = [getattr(value, name) for value in values]
        line = together([space.rows if axis == 0 else space.columns for space in own])
        spaces[name] = Space(line, own[0].columns) if axis == 0 else Space(own[0].rows, line)
    dims = replaced(
        base.dims,
        place,
        dimension(
            "rows" if axis == 0 else "columns", len(spaces["total"].rows if axis == 0 else spaces["total"].columns)
        ),
    )
    merged = base.but(**history(values), **spaces)
    return trace.apply(merged, "cat", None, dims=dims, stage=base.stage, closes=False, selects=one_map)
