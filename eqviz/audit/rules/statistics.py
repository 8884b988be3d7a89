"""Operations that sum up over dimensions: means, maxima, normalisation, softmax."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from torch import Tensor

from eqviz.audit.actions import Action
from eqviz.audit.expressions import Line
from eqviz.audit.interpretation import Interpretation, Verdict
from eqviz.audit.layout import CannotFollow, Dimension, extent, kinds, only
from eqviz.audit.rules.pointwise import with_constants
from eqviz.audit.rules.windows import on_axes
from eqviz.audit.values import Value

Arguments = Mapping[str, Any]

PART = "it sums up over entries of the fibre that change places with others"
_KINDS = {"mean": "linear", "sum": "linear", "amax": "maximum", "max": "maximum", "amin": "minimum", "min": "minimum"}


def reduction(trace: Interpretation, given: Arguments, op: str) -> Value:
    """A mean, sum, maximum, standard deviation ... over some dimensions."""
    value = trace.value(given["self"])
    places = _places(given.get("dim"), len(value.dims))
    return reduced(trace, value, places, bool(given.get("keepdim", False)), op)


def two_moments(trace: Interpretation, given: Arguments, out: Sequence[Tensor]) -> list[Value]:
    """`torch.var_mean`: variance and mean."""
    del out
    return [reduction(trace, given, "var"), reduction(trace, given, "mean")]


def _places(dims: Any, count: int) -> list[int]:
    if dims is None or (not isinstance(dims, int) and len(dims) == 0):
        return list(range(count))
    return sorted({int(place) % count for place in ([dims] if isinstance(dims, int) else dims)})


def reduced(trace: Interpretation, value: Value, places: Sequence[int], keep: bool, op: str) -> Value:
    """The same by numbers of dimensions."""
    gone = [value.dims[place] for place in places]
    what = set().union(*(kinds(dim) for dim in gone)) if gone else set()
    if "batch" in what:
        raise CannotFollow("a sum over the images of the batch")
    if "keys" in what:
        raise CannotFollow("attention weights are summed up")
    axes = _axes(what)
    taps = [axis for axis, kind in enumerate(("row taps", "column taps")) if kind in what]
    actions, lost = _over_fibre(trace, value, places)
    kind = "" if "tokens" in what else _KINDS.get(op, "")
    stage = trace.stage(value, kind) if kind else trace.serial

    def change(line: Line, axis: int) -> Line:
        if axis in taps:
            line = trace.expressions.marked(line, (op, stage))
        return _whole(trace, line, kind, stage, op) if axis in axes else line

    dims: list[Dimension] = [() if place in places else dim for place, dim in enumerate(value.dims)]
    if not keep:
        dims = [dim for place, dim in enumerate(dims) if place not in places]
    one_left = [len(line) == 1 for line in (value.local.rows, value.local.columns)]
    closes = len(axes) == 2 or (len(axes) == 1 and one_left[1 - axes[0]])
    fibre = "fibre" in what
    over_space = len(value.dims) >= 4 and places[-1] >= len(value.dims) - 2  # also of length 1
    return trace.apply(
        value, op, on_axes(change), dims=dims, verdict=Verdict(actions, lost, why=PART if lost else ""),
        stage=(kind, stage) if kind and not fibre else None, closes=closes,
        record=bool(axes or taps or lost or over_space or (fibre and _moves(value.actions.values()))),
    )  # fmt: skip


def _axes(what: Iterable[str]) -> list[int]:
    """Which axes of space are among these kinds; tokens are all places of both."""
    found = set(what)
    return [axis for axis, kind in enumerate(("rows", "columns")) if kind in found or "tokens" in found]


def _moves(actions: Iterable[Action]) -> bool:
    return any(not np.array_equal(action, np.arange(len(action))) for action in actions)


def _whole(trace: Interpretation, line: Line, kind: str, stage: int, op: str) -> Line:
    """One position made of all of an axis."""
    everything = range(len(line))
    if kind == "linear":
        weight = Fraction(1, len(line)) if op == "mean" else Fraction(1)
        return trace.expressions.weighted(line, [[(p, weight) for p in everything]], stage)
    if kind == "maximum":
        return trace.expressions.maximum(line, [list(everything)], stage)
    return trace.expressions.gathered(line, (op, stage))


def _over_fibre(trace: Interpretation, value: Value, places: Sequence[int]) -> tuple[dict[int, Action], frozenset[int]]:
    """The actions on what is left of the fibre after a sum over some dimensions: blocks have to go to blocks."""
    names = _blocks(value, lambda place: place in places)
    return blockwise(trace, value, names)


def _blocks(value: Value, joins: Callable[[int], bool]) -> Action:
    """For every entry of the fibre, the number of the block that it is summed up into."""
    shape = [extent(atom for atom in dim if atom.kind == "fibre") for dim in value.dims]
    left = [1 if joins(place) else size for place, size in enumerate(shape)]
    blocks = np.arange(int(np.prod(left))).reshape(left)
    return np.asarray(np.broadcast_to(blocks, shape).reshape(-1), dtype=np.int64)


def blockwise(trace: Interpretation, value: Value, names: Action) -> tuple[dict[int, Action], frozenset[int]]:
    """The actions on blocks of the fibre, and the elements that tear blocks apart."""
    count = int(names.max(initial=0)) + 1
    first = np.zeros(count, dtype=np.int64)
    first[names[::-1]] = np.arange(len(names))[::-1]
    actions, lost = {}, set()
    for g in trace.moving:
        sources = names[value.actions[g]]
        if np.array_equal(sources, sources[first][names]):
            actions[g] = sources[first]
        else:
            lost.add(g)
            actions[g] = trace.assumed(g, count)
    return actions, frozenset(lost)


def softmax(trace: Interpretation, given: Arguments) -> Value:
    """Softmax along one dimension."""
    value = trace.value(given["self"])
    return softmax_over(trace, value, int(given["dim"]) % len(value.dims))


def softmax_over(trace: Interpretation, value: Value, place: int) -> Value:
    """The same by the number of a dimension."""
    _, lost = _over_fibre(trace, value, [place])
    return informed(trace, value, kinds(value.dims[place]), "softmax", lost, record=False)


def informed(
    trace: Interpretation, value: Value, what: Iterable[str], op: str, lost: frozenset[int], *, record: bool
) -> Value:
    """Every number after a normalisation by statistics over some dimensions."""
    found = set(what)
    if "batch" in found and value.shape[0] > 1:
        raise CannotFollow("statistics over the images of the batch")
    axes = _axes(found)
    taps = [axis for axis, kind in enumerate(("row taps", "column taps")) if kind in found]
    operation = trace.serial

    def change(line: Line, axis: int) -> Line:
        line = trace.expressions.constants(line, lambda _, n: trace.expressions.unknown_constant(operation, n))
        line = trace.expressions.marked(line, operation) if axis in taps else line
        return trace.expressions.informed(line, operation) if axis in axes else line

    both = len(axes) == 2
    return trace.apply(
        value, op, on_axes(change), dims=value.dims, verdict=Verdict(value.actions, lost, why=PART if lost else ""),
        closes=both, record=record or bool(lost),
    )  # fmt: skip


def batch_norm(trace: Interpretation, given: Arguments) -> Value:
    """Batch normalisation with stored statistics, or with those of the input (instance normalisation)."""
    value = trace.value(given["input"])
    used: tuple[str, ...] = ("weight", "bias")
    if not given.get("training", False):
        used = (*used, "running_mean", "running_var")
    else:
        held = [place for place in range(len(value.dims)) if place != 1]
        if any("batch" in kinds(value.dims[place]) for place in held):
            raise CannotFollow("statistics over the images of the batch")
        _, lost = _over_fibre(trace, value, held)
        what = set().union(*(kinds(value.dims[place]) for place in held))
        value = informed(trace, value, what, "batch_norm", lost, record=True)
    return _affine(trace, value, [given.get(name) for name in used], "batch_norm", 1)


def _affine(trace: Interpretation, value: Value, constants: Iterable[Tensor | None], op: str, place: int) -> Value:
    """Scales and shifts, one for each entry of dimension `place`."""
    shape = [1] * len(value.dims)
    shape[place] = -1
    return with_constants(trace, value, [c.reshape(shape) for c in constants if c is not None and c.numel() > 1], op)


def layer_norm(trace: Interpretation, given: Arguments) -> Value:
    """Layer normalisation over the last dimensions."""
    value = trace.value(given["input"])
    count = len(given["normalized_shape"])
    places = list(range(len(value.dims) - count, len(value.dims)))
    what = set().union(*(kinds(value.dims[place]) for place in places))
    _, lost = _over_fibre(trace, value, places)
    value = informed(trace, value, what, "layer_norm", lost, record=True)
    affine = [given[name] for name in ("weight", "bias") if given.get(name) is not None]
    return with_constants(trace, value, affine, "layer_norm")


def group_norm(trace: Interpretation, given: Arguments) -> Value:
    """Group normalisation over space and parts of the channels."""
    value = trace.value(given["input"])
    groups = int(given["group"])
    if value.has_taps or not (only(value.dims[1], "fibre") or groups == 1):
        raise CannotFollow("group normalisation of something other than channels")
    shape = [extent(atom for atom in dim if atom.kind == "fibre") for dim in value.dims]
    if shape[0] != 1:
        raise CannotFollow("group normalisation of a batch that holds channels")
    part = np.arange(shape[1]) // max(1, shape[1] // groups)
    wide = part.reshape([-1 if place == 1 else 1 for place in range(len(shape))])
    names = np.asarray(np.broadcast_to(wide, shape).reshape(-1), dtype=np.int64)
    _, lost = blockwise(trace, value, names)
    value = informed(trace, value, ("rows", "columns"), "group_norm", lost, record=True)
    return _affine(trace, value, [given.get("weight"), given.get("bias")], "group_norm", 1)
