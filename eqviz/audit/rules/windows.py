"""Operations on windows: convolution, pooling, unfolding."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from torch import Tensor

from eqviz.audit.actions import EXACT
from eqviz.audit.expressions import LAID_OUT, Line
from eqviz.audit.interpretation import Interpretation
from eqviz.audit.layout import CannotFollow, Dimension, dimension, extent
from eqviz.audit.rules.linear import has_values, linear_verdict
from eqviz.audit.values import Space, Value, Window
from eqviz.groups.group import Integers
from eqviz.groups.subsampling import OUTSIDE, adaptive_windows, leftover, transposed_windows, windows

Arguments = Mapping[str, Any]
Pair = tuple[int, int]
OfAxis = Callable[[Line, int], Line]


def maps(value: Value) -> tuple[Dimension, ...]:
    """The dimensions before rows and columns, which have to be the last two."""
    if len(value.dims) < 3:
        raise CannotFollow("not a map: fewer than three dimensions")
    height, width = value.local.size
    for place, kind, size in ((-2, "rows", height), (-1, "columns", width)):
        dim = value.dims[place]
        if dim != dimension(kind, size):  # type: ignore[arg-type]  # one of the two kinds of space
            raise CannotFollow(f"a map whose {kind} are not in their place")
    return value.dims[:-2]


def on_axes(change: OfAxis) -> Callable[[Space], Space]:
    """A transform of both axes from one of each axis (0 rows, 1 columns)."""
    return lambda space: Space(change(space.rows, 0), change(space.columns, 1))


def pair(value: Any) -> Pair:
    """Two numbers: for rows and columns."""
    items = [value] if isinstance(value, int) else list(value)
    return (int(items[0]), int(items[-1])) if items else (0, 0)


def shown(value: Pair) -> str:
    """Two numbers as text, one if they are equal."""
    return str(value[0]) if value[0] == value[1] else f"{value[0]}x{value[1]}"


def spatial(lead: Sequence[Dimension], size: Pair) -> tuple[Dimension, ...]:
    """Dimensions with rows and columns after them."""
    return (*lead, dimension("rows", size[0]), dimension("columns", size[1]))


def reads_of(reads: Integers) -> list[list[int]]:
    """The positions that every window reads, those outside left out."""
    return [[p for p in row if p != OUTSIDE] for row in reads.tolist()]


def changes_both(reads: Sequence[Integers], size: Pair) -> bool:
    """Whether a windowed operation does something to both axes, and not to one alone."""
    same = [r.shape == (n, 1) and bool((r[:, 0] == np.arange(n)).all()) for r, n in zip(reads, size, strict=True)]
    return same[0] == same[1]


def convolved(trace: Interpretation, value: Value, given: Arguments) -> Value:
    """A convolution over rows and columns, transposed or not."""
    weight: Tensor = given["weight"]
    lead = maps(value)
    if len(lead) != 2 or weight.dim() != 4:
        raise CannotFollow("a convolution that is not over rows and columns")
    kernel, size = (int(weight.shape[-2]), int(weight.shape[-1])), value.total.size
    stride, padding, dilation = pair(given["stride"]), pair(given["padding"]), pair(given["dilation"])
    extra, transposed = pair(given["output_padding"]), bool(given["transposed"])
    operation = trace.serial
    if transposed:
        reads = [transposed_windows(size[a], kernel[a], stride[a], padding[a], extra[a], dilation[a]) for a in (0, 1)]
    else:
        reads = [windows(size[a], kernel[a], stride[a], padding[a], padding[a], dilation[a]) for a in (0, 1)]
    shape = described(kernel, stride, padding, dilation, size)
    if transposed:
        shape = replace(shape, leftover=shown(extra))
    inside = all(bool((r != OUTSIDE).all()) for r in reads)
    flat = inside and not transposed and value.total.rows.constant and value.total.columns.constant
    summed = weight.sum((-2, -1), keepdim=True) if flat and has_values(weight) else weight
    verdict, outputs = linear_verdict(trace, value, 1, summed, given["bias"], int(given["groups"]), transposed)
    one_by_one = kernel == (1, 1)
    even = [kernel[a] > 1 and _mirror_image(weight, a - 2) for a in (0, 1)]

    def change(line: Line, axis: int) -> Line:
        if inside and flat and line.constant:  # all taps read the same
            return line.take([0] * len(reads[axis]))
        moved = trace.expressions.taps(line, reads[axis], operation, even=even[axis])
        if one_by_one:
            moved = trace.expressions.constants(moved, lambda _, n: trace.expressions.unknown_constant(operation, n))
        return moved

    dims = spatial((lead[0], outputs), (len(reads[0]), len(reads[1])))
    name = "conv_transpose2d" if transposed else "conv2d"
    return trace.apply(
        value, name, on_axes(change), dims=dims, verdict=verdict, window=shape,
        closes=changes_both(reads, size) and not (one_by_one and stride == (1, 1)),
    )  # fmt: skip


def _mirror_image(weight: Tensor, axis: int) -> bool:
    """Whether every filter is its own mirror image, so that a tap and its mirror image weigh the same."""
    if not has_values(weight):
        return False
    parts = (weight[:1, :1], weight)  # one filter is enough for most
    return all(bool(((p - p.flip(axis)).abs() <= EXACT * p.abs().amax((1, 2, 3), True)).all()) for p in parts)


def _window(given: Arguments, size: Pair) -> tuple[Pair, Pair, Pair, Pair, bool]:
    kernel = pair(given["kernel_size"])
    stride = pair(given.get("stride") or kernel)
    return kernel, stride, pair(given.get("padding", 0)), pair(given.get("dilation", 1)), bool(given.get("ceil_mode"))


def described(kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, size: Pair) -> Window:
    """The numbers of windows, with what is left over at the end."""
    rows, columns = (leftover(size[a], kernel[a], stride[a], padding[a], padding[a], dilation[a]) for a in (0, 1))
    return Window(shown(kernel), shown(stride), shown(padding), shown(dilation), shown((rows, columns)))


def max_pool(trace: Interpretation, given: Arguments) -> Value:
    """Maximum over windows; padding never counts."""
    return max_pooled(trace, trace.value(given["self"]), given)


def max_pooled(trace: Interpretation, value: Value, given: Arguments) -> Value:
    """The same for what is known of a tensor."""
    lead, size = maps(value), value.total.size
    kernel, stride, padding, dilation, ceil = _window(given, size)
    reads = [windows(size[a], kernel[a], stride[a], padding[a], padding[a], dilation[a], ceil=ceil) for a in (0, 1)]
    groups = [reads_of(r) for r in reads]
    stage = trace.stage(value, "maximum")
    return trace.apply(
        value, "max_pool2d", on_axes(lambda line, axis: trace.expressions.maximum(line, groups[axis], stage)),
        dims=spatial(lead, (len(reads[0]), len(reads[1]))), stage=("maximum", stage),
        window=described(kernel, stride, padding, dilation, size), closes=changes_both(reads, size),
    )  # fmt: skip


def avg_pool(trace: Interpretation, given: Arguments) -> Value:
    """Mean over windows, with the divisor that torch takes at the edges."""
    value = trace.value(given["self"])
    lead, size = maps(value), value.total.size
    kernel, stride, padding, dilation, ceil = _window(given, size)
    reads = [windows(size[a], kernel[a], stride[a], padding[a], padding[a], 1, ceil=ceil) for a in (0, 1)]
    with_padding, divisor = bool(given.get("count_include_pad", True)), given.get("divisor_override")
    weights = []
    for a in (0, 1):
        starts = np.arange(len(reads[a])) * stride[a] - padding[a]
        full = np.minimum(starts + kernel[a], size[a] + padding[a]) - starts
        terms = []
        for row, whole in zip(reads_of(reads[a]), full.tolist(), strict=True):
            count = 1 if divisor else (whole if with_padding else len(row))
            terms.append([(p, Fraction(1, max(count, 1))) for p in row])
        weights.append(terms)
    stage = trace.stage(value, "linear")
    return trace.apply(
        value, "avg_pool2d", on_axes(lambda line, axis: trace.expressions.weighted(line, weights[axis], stage)),
        dims=spatial(lead, (len(reads[0]), len(reads[1]))), stage=("linear", stage),
        window=described(kernel, stride, padding, dilation, size), closes=changes_both(reads, size),
    )  # fmt: skip


def adaptive_avg_pool(trace: Interpretation, given: Arguments) -> Value:
    """Mean over windows that share out the input evenly."""
    value = trace.value(given["self"])
    lead, size, target = maps(value), value.total.size, pair(given["output_size"])
    weights = [
        [
            [(p, Fraction(1, end - start)) for p in range(start, end)]
            for start, end in adaptive_windows(size[a], target[a])
        ]
        for a in (0, 1)
    ]
    stage = trace.stage(value, "linear")
    return trace.apply(
        value, "adaptive_avg_pool2d",
        on_axes(lambda line, axis: trace.expressions.weighted(line, weights[axis], stage)),
        dims=spatial(lead, target), stage=("linear", stage),
    )  # fmt: skip


def adaptive_max_pool(trace: Interpretation, given: Arguments) -> Value:
    """Maximum over windows that share out the input evenly."""
    value = trace.value(given["self"])
    lead, size, target = maps(value), value.total.size, pair(given["output_size"])
    groups = [[list(range(start, end)) for start, end in adaptive_windows(size[a], target[a])] for a in (0, 1)]
    stage = trace.stage(value, "maximum")
    return trace.apply(
        value, "adaptive_max_pool2d", on_axes(lambda line, axis: trace.expressions.maximum(line, groups[axis], stage)),
        dims=spatial(lead, target), stage=("maximum", stage),
    )  # fmt: skip


def im2col(trace: Interpretation, given: Arguments) -> Value:
    """`F.unfold`: windows laid out along the channels, positions in one row."""
    value = trace.value(given["self"])
    lead, size = maps(value), value.total.size
    if len(lead) != 2:
        raise CannotFollow("unfold of more than channels")
    kernel, stride = pair(given["kernel_size"]), pair(given["stride"])
    padding, dilation = pair(given["padding"]), pair(given["dilation"])
    reads = [windows(size[a], kernel[a], stride[a], padding[a], padding[a], dilation[a]) for a in (0, 1)]
    taps = (*dimension("row taps", kernel[0]), *dimension("column taps", kernel[1]))
    dims = (lead[0], (*lead[1], *taps), (*dimension("rows", len(reads[0])), *dimension("columns", len(reads[1]))))
    return trace.apply(
        value, "unfold", on_axes(lambda line, axis: trace.expressions.taps(line, reads[axis], LAID_OUT)), dims=dims,
        window=described(kernel, stride, padding, dilation, size), stage=value.stage,
    )  # fmt: skip


def sliding(trace: Interpretation, given: Arguments) -> Value:
    """`Tensor.unfold`: windows along one dimension laid out in a new last one."""
    value = trace.value(given["self"])
    place = int(given["dimension"]) % len(value.dims)
    kernel, stride = int(given["size"]), int(given["step"])
    dim = value.dims[place]
    if len(dim) != 1 or dim[0].kind not in ("rows", "columns"):
        raise CannotFollow("windows along something other than rows or columns")
    axis = 0 if dim[0].kind == "rows" else 1
    reads = windows(extent(dim), kernel, stride)
    kind = dim[0].kind
    taps = dimension("row taps" if axis == 0 else "column taps", kernel)
    dims = (*value.dims[:place], dimension(kind, len(reads)), *value.dims[place + 1 :], taps)
    left = leftover(extent(dim), kernel, stride)
    return trace.apply(
        value, "unfold",
        on_axes(lambda line, a: trace.expressions.taps(line, reads, LAID_OUT) if a == axis else line), dims=dims,
        stage=value.stage, closes=False, window=Window(str(kernel), str(stride), "0", "1", str(left)),
    )  # fmt: skip
