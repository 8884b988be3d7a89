"""Operations on every number by itself, alone or with another tensor."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eqviz.audit.actions import Action
from eqviz.audit.expressions import Line
from eqviz.audit.interpretation import Interpretation, Verdict
from eqviz.audit.layout import SPACE, CannotFollow, Dimension, extent, find, kinds
from eqviz.audit.rules.choices import choose
from eqviz.audit.rules.effects import VARYING, Effect
from eqviz.audit.rules.joins import joined
from eqviz.audit.rules.views import expanded
from eqviz.audit.rules.windows import on_axes
from eqviz.audit.values import NONE, Elements, Value

Arguments = Mapping[str, Any]
Floats = npt.NDArray[np.float64]

MONOTONE = frozenset({
    "relu", "sigmoid", "tanh", "selu", "hardtanh", "hardsigmoid",
    "relu6", "clamp", "clamp_min", "clamp_max", "exp", "log", "sqrt", "erf", "atan", "asinh", "sinh", "floor",
    "ceil", "round",
})  # fmt: skip
"""Functions that never fall whatever their other arguments are, so that they commute with a maximum."""

OTHER_FUNCTIONS = frozenset({
    "leaky_relu", "elu", "celu", "softplus", "threshold",
    "gelu", "silu", "mish", "hardswish", "abs", "neg", "sign", "rsqrt", "reciprocal", "pow", "sin", "cos",
    "square", "log1p", "expm1", "log_sigmoid_forward", "logit", "isnan", "isinf", "logical_not", "bitwise_not",
    "gt", "lt", "ge", "le", "eq", "ne", "trunc", "frac", "erfc", "cosh", "tan", "nan_to_num", "digamma",
    "lgamma", "softshrink", "hardshrink", "special_expit", "sinc", "i0", "erfinv",
})  # fmt: skip
"""Other functions of single numbers."""

APART = "the two tensors move in different ways"


def function(trace: Interpretation, given: Arguments, name: str, applied: Any) -> Value:
    """A function of every number. `applied` is the torch operation with its other arguments, for constants."""
    value = trace.value(given["self"])
    operation = trace.serial

    def constant(number: float | None, old: int) -> int:
        if number is not None and applied is not None:
            return trace.expressions.constant(float(applied(torch.tensor(number, dtype=torch.float64))))
        return trace.expressions.unknown_constant(operation, old)

    def change(line: Line, axis: int) -> Line:
        del axis
        return trace.expressions.constants(line, constant)

    keeps = name in MONOTONE and value.stage[0] == "maximum"
    found = trace.apply(
        value, name, on_axes(change), dims=value.dims, stage=value.stage if keeps else None, closes=False, record=False,
    )  # fmt: skip
    return found.but(alike=value.alike)


def binary(trace: Interpretation, given: Arguments, op: str) -> Value:
    """Two tensors put together number by number, one of which may be constant."""
    first, second = given["self"], given["other"]
    if trace.known(first) and trace.known(second):
        return _two_values(trace, trace.value(first), trace.value(second), op)
    value, constant = (trace.value(first), second) if trace.known(first) else (trace.value(second), first)
    if not isinstance(constant, Tensor) or constant.numel() == 1:
        return function(trace, {"self": first if trace.known(first) else second}, op, None)
    return with_constants(trace, value, [constant], op)


def several(trace: Interpretation, given: Arguments, names: Sequence[str], op: str) -> Value:
    """Several tensors put together number by number, some of which may be constant."""
    tensors = [given[name] for name in names if isinstance(given.get(name), Tensor)]
    values = [trace.value(tensor) for tensor in tensors if trace.known(tensor)]
    constants = [tensor for tensor in tensors if not trace.known(tensor) and tensor.numel() > 1]
    value = values[0]
    for other in values[1:]:
        value = _two_values(trace, value, other, op)
    return with_constants(trace, value, constants, op)


def gated(trace: Interpretation, given: Arguments) -> Value:
    """`F.glu`: one half times a sigmoid of the other."""
    value = trace.value(given["self"])
    place = int(given["dim"]) % len(value.dims)
    half = value.shape[place] // 2
    one, other = (choose(trace, value, place, list(range(start, start + half)), "slice") for start in (0, half))
    return _two_values(trace, one, other, "glu")


def leaky_in_the_mean(trace: Interpretation, given: Arguments) -> Value:
    """`nn.RReLU`, which has one slope in evaluation."""
    if given["training"]:
        raise CannotFollow("it draws numbers at random: no symmetry can be said of one pass")
    return function(trace, given, "rrelu", None)


def masked_write(trace: Interpretation, given: Arguments) -> Value:
    """`x[mask] = number`, with one mask of the shape of `x`."""
    indices, number = given["indices"], given["values"]
    one_mask = len(indices) == 1 and indices[0] is not None and indices[0].dtype == torch.bool
    if not one_mask or indices[0].shape != given["self"].shape or given["accumulate"] or number.numel() != 1:
        raise CannotFollow("an index of several dimensions or from the image")
    if trace.known(number):
        raise CannotFollow("a number of the image written to many places")
    return several(trace, {"self": given["self"], "mask": indices[0]}, ("self", "mask"), "masked_fill")


def _two_values(trace: Interpretation, one: Value, other: Value, op: str) -> Value:
    count = max(len(one.dims), len(other.dims))
    padded = [((),) * (count - len(value.dims)) + value.dims for value in (one, other)]
    dims: list[Dimension] = []
    for a, b in zip(*padded, strict=True):
        if a and b and (kinds(a) != kinds(b) or extent(a) != extent(b)):
            raise CannotFollow("two tensors whose dimensions count different things")
        dims.append(a or b)
    if one.keys is not None or other.keys is not None:
        raise CannotFollow("attention weights put together with other activations")
    if one.tokens and other.tokens and one.first != other.first:
        raise CannotFollow("class tokens at other places of the two tensors")
    for kind in SPACE:
        places = {find(side, kind) for side in padded} - {None}
        if len(places) > 1:
            raise CannotFollow("rows of one tensor beside columns of another")
    if (one.has_taps or other.has_taps) and padded[0] != padded[1]:
        raise CannotFollow("windows put together with something else")
    actions, lost = _together(trace, padded, (one, other), dims)
    verdict = Verdict(actions, lost, why=APART if lost else "")
    return joined(trace, (one, other), tuple(dims), verdict, op)


def _together(
    trace: Interpretation, padded: Sequence[Sequence[Dimension]], values: Sequence[Value], dims: Sequence[Dimension]
) -> tuple[dict[int, Action], Elements]:
    """The actions on pairs of entries: both of a pair have to come from the entries of one pair."""
    shape = [_fibre(dim) for dim in dims]
    index = []
    for side in padded:
        own = [_fibre(dim) for dim in side]
        index.append(np.broadcast_to(np.arange(int(np.prod(own))).reshape(own), shape).reshape(-1))
    labels = [np.arange(len(value.actions[1])) if trace.moving else np.arange(1) for value in values]
    labels = _unless_one(index, labels, [value.alike for value in values])
    width = int(labels[1].max(initial=0)) + 1
    names = labels[0][index[0]] * width + labels[1][index[1]]
    order = np.argsort(names)
    actions, lost = {}, set()
    for g in trace.moving:
        moved = [label[value.actions[g]][own] for label, value, own in zip(labels, values, index, strict=True)]
        wanted = moved[0] * width + moved[1]
        found = order[np.minimum(np.searchsorted(names[order], wanted), len(order) - 1)]
        if np.array_equal(names[found], wanted):
            actions[g] = found
        else:
            lost.add(g)
            actions[g] = trace.assumed(g, len(names))
    return actions, frozenset(lost)


def _unless_one(index: Sequence[Action], labels: Sequence[Action], alike: Sequence[Action | None]) -> list[Action]:
    """The labels of entries, the same for those that are alike, as long as pairs are still told apart."""
    found = list(labels)
    for side in (0, 1):
        repeated = alike[side]
        if repeated is not None:
            tried = [repeated if number == side else label for number, label in enumerate(found)]
            pairs = np.stack([label[own] for label, own in zip(tried, index, strict=True)], 1)
            if len(np.unique(pairs, axis=0)) == len(pairs):
                found = tried
    return found


def _fibre(dim: Dimension) -> int:
    return extent(atom for atom in dim if atom.kind == "fibre")


_VARIES = {
    **dict.fromkeys(("add", "sub", "rsub"), "the term that it adds"),
    **dict.fromkeys(("mul", "div"), "the factor that it multiplies with"),
    **dict.fromkeys(("cat", "write"), "the map that it puts beside its input"),
    "attention mask": "the mask or bias of the attention",
}  # fmt: skip


def with_constants(
    trace: Interpretation, value: Value, constants: Sequence[Tensor], op: str, *, made_of: Sequence[Tensor] = ()
) -> Value:
    """A tensor put together with constant numbers, which may vary over fibre and space; one record for all of them.

    `made_of` are the constants that others are made of, if they are not the network's own.
    """
    for constant in constants:
        shape = np.broadcast_shapes(value.shape, tuple(constant.shape))
        value = value if shape == value.shape else expanded(trace, value, shape)
    effects = [Effect(trace, value, constant, made_of or (constant,)) for constant in constants]
    varies = tuple(any(effect.varies[axis] for effect in effects) for axis in (0, 1))
    within = any(effect.within for effect in effects)
    grid_lost: Elements = NONE.union(*(effect.grid_lost for effect in effects))
    lost: Elements = NONE.union(*(effect.verdict.lost for effect in effects))
    unknown: Elements = NONE.union(*(effect.verdict.unknown for effect in effects))
    reasons = {effect.verdict.why: None for effect in sorted(effects, key=lambda e: not e.verdict.lost)}
    why = next((reason for reason in reasons if reason), "")
    varying = f"{_VARIES.get(op, 'what it takes in beside its input')} {VARYING}"
    operation = trace.serial

    def change(line: Line, axis: int) -> Line:
        line = trace.expressions.constants(line, lambda _, n: trace.expressions.unknown_constant(operation, n))
        line = trace.expressions.marked(line, operation) if within else line
        return trace.expressions.placed(line, operation) if varies[axis] and len(line) > 1 else line

    return trace.apply(
        value, op, on_axes(change), dims=value.dims, verdict=Verdict(value.actions, lost, unknown, why),
        grid_lost=grid_lost, grid_why=varying if grid_lost else "", closes=any(varies),
        record=any(effect.matters for effect in effects), stage=("", operation),
    )  # fmt: skip
