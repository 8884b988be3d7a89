"""Other shapes and orders of the same numbers."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eqviz.audit.actions import Action, combine, identity
from eqviz.audit.expressions import LAID_OUT, Line
from eqviz.audit.interpretation import Interpretation
from eqviz.audit.layout import Atom, CannotFollow, Dimension, Split, dimension, extent, viewed
from eqviz.audit.rules.windows import on_axes
from eqviz.audit.values import Space, Value, Window
from eqviz.groups.group import Element
from eqviz.groups.subsampling import windows

Arguments = Mapping[str, Any]


def same(trace: Interpretation, given: Arguments) -> Value:
    """Nothing happens: copies, changes of dtype."""
    return trace.value(given["self"])


def converted(trace: Interpretation, given: Arguments) -> Value:
    """Another dtype; rounding to a coarser one is not linear."""
    value = trace.value(given["self"])
    fine = given.get("dtype") in (None, torch.float32, torch.float64)
    return (
        value
        if fine
        else trace.changed(value).but(stage=value.stage if value.stage[0] == "maximum" else ("", trace.serial))
    )


def as_strided(trace: Interpretation, given: Arguments) -> Value:
    """The same shape with other strides along dimensions of size 1, which torch does for memory formats."""
    tensor: Tensor = given["self"]
    places = zip(given["size"], tensor.shape, given["stride"], tensor.stride(), strict=True)
    same_places = len(given["size"]) == tensor.dim() and all(n == m and (n == 1 or s == t) for n, m, s, t in places)
    if not same_places or given.get("storage_offset") not in (None, tensor.storage_offset()):
        raise CannotFollow("another view of memory")
    return trace.value(tensor)


def view(trace: Interpretation, given: Arguments, out: Tensor) -> Value:
    """Another shape of the same numbers; blocks of rows or columns become windows."""
    value = trace.value(given["self"])
    dims, splits = viewed(value.dims, tuple(out.shape))
    return _put_together(trace, _in_blocks(trace, value, dims, splits) if splits else value.but(dims=dims))


def _in_blocks(trace: Interpretation, value: Value, dims: tuple[Dimension, ...], splits: Sequence[Split]) -> Value:
    if value.has_taps or len({split.kind for split in splits}) < len(splits):
        raise CannotFollow("blocks of blocks")
    taps = {0 if split.kind == "rows" else 1: split.taps for split in splits}

    def change(line: Line, axis: int) -> Line:
        if axis not in taps:
            return line
        return trace.expressions.taps(line, windows(len(line), taps[axis], taps[axis]), LAID_OUT)

    kernel = "x".join(str(taps.get(axis, 1)) for axis in (0, 1))
    return trace.apply(
        value, "view in blocks", on_axes(change), dims=dims, closes=len(taps) == 2,
        window=Window(kernel, kernel, "0", "1", "0"), stage=value.stage,
    )  # fmt: skip


_TAPS_OF = {"rows": "row taps", "columns": "column taps"}


def _put_together(trace: Interpretation, value: Value) -> Value:
    """Blocks whose positions stand behind them in the same dimension are rows or columns again."""
    factors: dict[int, int] = {}
    dims: list[Dimension] = []
    for dim in value.dims:
        merged: list[Atom] = []
        for atom in dim:
            before = merged[-1] if merged else None
            if before is not None and _TAPS_OF.get(before.kind) == atom.kind:
                factors[0 if before.kind == "rows" else 1] = atom.size
                merged[-1] = Atom(before.kind, before.size * atom.size)
            else:
                merged.append(atom)
        dims.append(tuple(merged))
    if not factors:
        return value
    operation = trace.serial

    def change(line: Line, axis: int) -> Line:
        return trace.expressions.spread(line, factors[axis], operation, laid_out=True) if axis in factors else line

    kernel = "x".join(str(factors.get(axis, 1)) for axis in (0, 1))
    return trace.apply(
        value, "view of blocks", on_axes(change), dims=dims, closes=len(factors) == 2, window=Window(kernel)
    )  # fmt: skip


def permute(trace: Interpretation, given: Arguments) -> Value:
    """Dimensions in another order."""
    value = trace.value(given["self"])
    order = [int(place) % len(value.dims) for place in given["dims"]]
    return permuted(trace, value, order)


def transpose(trace: Interpretation, given: Arguments) -> Value:
    """Two dimensions exchanged."""
    value = trace.value(given["self"])
    count = len(value.dims)
    first, second = int(given["dim0"]) % count, int(given["dim1"]) % count
    order = list(range(count))
    order[first], order[second] = second, first
    return permuted(trace, value, order)


def matrix_transpose(trace: Interpretation, given: Arguments) -> Value:
    """`x.t()`."""
    value = trace.value(given["self"])
    return permuted(trace, value, list(reversed(range(len(value.dims)))))


def permuted(trace: Interpretation, value: Value, order: Sequence[int]) -> Value:
    """The dimensions of a tensor in another order."""
    dims, (actions, alike) = tuple(value.dims[place] for place in order), trace.reordered(value, order)
    return value.but(dims=dims, actions=actions, alike=alike)


def exchanged(trace: Interpretation, value: Value) -> Value:
    """Rows taken for columns: what a map is whose columns stand before its rows, read as a map."""
    names = {"rows": "columns", "columns": "rows", "row taps": "column taps", "column taps": "row taps"}
    dims = tuple(tuple(Atom(names.get(a.kind, a.kind), a.size) for a in dim) for dim in value.dims)  # type: ignore[arg-type]  # kinds
    lost = not_commuting(trace, _TRANSPOSE)
    total, local = (Space(space.columns, space.rows) for space in (value.total, value.local))
    return value.but(dims=dims, grid_lost=value.grid_lost | lost, total=total, local=local)


_TRANSPOSE = Element(Fraction(1, 4), reflected=True)


def not_commuting(trace: Interpretation, other: Element) -> frozenset[int]:
    """The elements of the group that do not commute with another one: what moving a map by that one breaks."""
    elements = trace.group.elements
    return frozenset(g for g in trace.moving if elements[g] * other != other * elements[g])


def unsqueeze(trace: Interpretation, given: Arguments, out: Tensor) -> Value:
    """A dimension of size 1 more, or one less, or several."""
    value = trace.value(given["self"])
    return value.but(dims=viewed(value.dims, tuple(out.shape))[0])


def expand(trace: Interpretation, given: Arguments, out: Tensor) -> Value:
    """Dimensions of size 1 repeated."""
    return expanded(trace, trace.value(given["self"]), tuple(out.shape))


def expanded(trace: Interpretation, value: Value, shape: Sequence[int]) -> Value:
    """The same for a shape."""
    lead = len(shape) - len(value.dims)
    dims: list[Dimension] = [() for _ in range(lead)] + list(value.dims)
    total, local = value.total, value.local
    sizes: list[int] = []  # fibre atoms, in order, with those that are new
    is_new: list[bool] = []
    for place, size in enumerate(shape):
        if extent(dims[place]) == size:
            sizes += [atom.size for atom in dims[place] if atom.kind == "fibre"]
            is_new += [False for atom in dims[place] if atom.kind == "fibre"]
            continue
        spatial = len(shape) >= 4
        if spatial and place == len(shape) - 2 and len(total.rows) == 1:
            dims[place] = dimension("rows", size)
            total, local = (Space(space.rows.take([0] * size), space.columns) for space in (total, local))
        elif spatial and place == len(shape) - 1 and len(total.columns) == 1:
            dims[place] = dimension("columns", size)
            total, local = (Space(space.rows, space.columns.take([0] * size)) for space in (total, local))
        elif place == 0:
            dims[place] = dimension("batch", size)
        else:
            dims[place] = dimension("fibre", size)
            sizes.append(size)
            is_new.append(True)
    actions = {g: _with_new_axes(value.actions[g], sizes, is_new) for g in trace.moving}
    alike = _repeated(value.alike, sizes, is_new)
    return value.but(dims=tuple(dims), total=total, local=local, actions=actions, alike=alike)


def _repeated(alike: Action | None, sizes: Sequence[int], is_new: Sequence[bool]) -> Action | None:
    """Which entries are alike after some axes of the fibre were put in by repeating."""
    if not any(is_new):
        return alike
    old = [1 if new else size for size, new in zip(sizes, is_new, strict=True)]
    own = np.arange(int(np.prod(old, dtype=np.int64))) if alike is None else alike
    return np.asarray(np.broadcast_to(own.reshape(old), tuple(sizes)).reshape(-1))


def _with_new_axes(action: Action, sizes: Sequence[int], is_new: Sequence[bool]) -> Action:
    if not any(is_new):
        return action
    grid = np.arange(int(np.prod(sizes, dtype=np.int64))).reshape(tuple(sizes))
    old = [axis for axis, new in enumerate(is_new) if not new]
    added = [axis for axis, new in enumerate(is_new) if new]
    order = grid.transpose([*old, *added]).reshape(-1)  # entry of each place in the order (old, added)
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    extra = int(np.prod([sizes[axis] for axis in added], dtype=np.int64))
    return np.asarray(order[combine(action, identity(extra))[place]])
