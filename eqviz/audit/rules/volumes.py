"""Convolutions and pools in one or three dimensions: over channels or the group axis, beside rows and columns."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eqviz.audit.expressions import Line
from eqviz.audit.interpretation import Interpretation
from eqviz.audit.layout import CannotFollow, dimension, extent, kinds, only, viewed
from eqviz.audit.rules import windows as windowed
from eqviz.audit.rules.choices import choose
from eqviz.audit.rules.linear import contract, has_values, linear_verdict
from eqviz.audit.rules.statistics import reduced
from eqviz.audit.rules.windows import avg_pool, convolved, described, max_pooled, on_axes, pair
from eqviz.audit.values import Value
from eqviz.groups.subsampling import OUTSIDE, transposed_windows, windows

Arguments = Mapping[str, Any]

ONE_BEHIND_THE_OTHER = "its windows run over places one behind the other, not over rows and columns"
LARGE = "its filters over the group axis are too large to be written out"
OVER_FIBRE = "a maximum over windows of channels or of the group axis that overlap or are padded"
_LARGEST = 2**26
"""Most entries of a filter that is written out."""


def convolution(trace: Interpretation, given: Arguments) -> Value:
    """`aten.convolution` in one, two or three dimensions, transposed or not."""
    value, weight = trace.value(given["input"]), given["weight"]
    if weight.dim() == 4:
        return convolved(trace, value, given)
    if weight.dim() == 5 and len(value.dims) == 5:
        return _in_three(trace, value, given)
    if weight.dim() != 3 or len(value.dims) != 3:
        raise CannotFollow("a convolution without a batch, or in more than three dimensions")
    last = value.dims[2]
    if only(last, "fibre") and only(value.dims[1], "fibre"):
        return _over_fibre(trace, value, given)
    if len(last) == 1 and last[0].kind in ("rows", "columns"):
        return _along(trace, value, given, 0 if last[0].kind == "rows" else 1)
    if weight.shape[-1] != 1 or _first(given["stride"]) != 1 or _first(given["padding"]) != 0:
        raise CannotFollow(ONE_BEHIND_THE_OTHER)
    return _place_by_place(trace, value, given)


def _first(value: Any) -> int:
    return int(value if isinstance(value, int) else value[0])


def _place_by_place(trace: Interpretation, value: Value, given: Arguments) -> Value:
    """A kernel of 1: the same linear map at every place."""
    weight, bias = given["weight"].unsqueeze(-1), given["bias"]
    verdict, new = linear_verdict(trace, value, 1, weight, bias, int(given["groups"]), bool(given["transposed"]))
    operation = trace.serial

    def constants(line: Line, axis: int) -> Line:
        del axis
        return trace.expressions.constants(line, lambda _, n: trace.expressions.unknown_constant(operation, n))

    dims = (value.dims[0], new, value.dims[2])
    return trace.apply(value, "conv1d", on_axes(constants), dims=dims, verdict=verdict, closes=False)


def _along(trace: Interpretation, value: Value, given: Arguments, axis: int) -> Value:
    """Windows along rows or columns alone, the other axis being part of the batch."""
    length, weight = extent(value.dims[2]), given["weight"]
    kernel, transposed = int(weight.shape[-1]), bool(given["transposed"])
    stride, padding, dilation = (_first(given[name]) for name in ("stride", "padding", "dilation"))
    if transposed:
        reads = transposed_windows(length, kernel, stride, padding, _first(given["output_padding"]), dilation)
    else:
        reads = windows(length, kernel, stride, padding, padding, dilation)
    square = weight.unsqueeze(-1 if axis == 0 else -2)
    verdict, new = linear_verdict(trace, value, 1, square, given["bias"], int(given["groups"]), transposed)
    operation = trace.serial
    dims = (value.dims[0], new, dimension("rows" if axis == 0 else "columns", len(reads)))
    window = described((kernel,) * 2, (stride,) * 2, (padding,) * 2, (dilation,) * 2, (length,) * 2)
    return trace.apply(
        value, "conv1d", on_axes(lambda line, a: trace.expressions.taps(line, reads, operation) if a == axis else line),
        dims=dims, verdict=verdict, window=window, closes=False,
    )  # fmt: skip


def _over_fibre(trace: Interpretation, value: Value, given: Arguments) -> Value:
    """Windows along a dimension of the fibre, such as over channels: a linear map, written out."""
    channels, length = extent(value.dims[1]), extent(value.dims[2])
    matrix = _written_out(given["weight"], given, channels, length)
    outputs, count = int(matrix.shape[0]), int(matrix.shape[1])
    flat = value.but(dims=(value.dims[0], (*value.dims[1], *value.dims[2])))
    bias = None if given["bias"] is None else given["bias"].repeat_interleave(count)
    found = contract(trace, flat, 1, matrix.reshape(outputs * count, channels * length), bias, "conv1d")
    return found.but(dims=(value.dims[0], dimension("fibre", outputs), dimension("fibre", count)))


def _written_out(weight: Tensor, given: Arguments, channels: int, length: int) -> Tensor:
    """A filter (outputs, inputs / groups, taps) as the linear map that it is on `channels` of `length` entries.

    Its axes are outputs, length of the output, inputs, length of the input.
    """
    options = [_first(given[name]) for name in ("stride", "padding", "dilation")]
    extra, groups = _first(given["output_padding"]), int(given["groups"])

    def run(inputs: Tensor, by: Tensor) -> Tensor:
        stride, padding, dilation = ([option] for option in options)
        found: Tensor = torch.ops.aten.convolution.default(
            inputs, by, None, stride, padding, dilation, bool(given["transposed"]), [extra], groups
        )
        return found

    if not has_values(weight):
        shape = run(torch.empty(1, channels, length, device="meta"), weight.to("meta")).shape
        return torch.empty(shape[1], shape[2], channels, length, device="meta")
    weight = weight.detach().cpu()
    one = torch.eye(channels * length, dtype=weight.dtype).reshape(-1, channels, length)
    found = run(one, weight)
    if found.numel() > _LARGEST:
        raise CannotFollow(LARGE)
    return found.permute(1, 2, 0).reshape(found.shape[1], found.shape[2], channels, length)


def _in_three(trace: Interpretation, value: Value, given: Arguments) -> Value:
    """Windows along the group axis too: a convolution from all entries of the fibre to all, written out."""
    weight, bias = given["weight"], given["bias"]
    if not (only(value.dims[1], "fibre") and only(value.dims[2], "fibre")):
        raise CannotFollow("a convolution in three dimensions, the first of which is neither channels nor group axis")
    channels, length = extent(value.dims[1]), extent(value.dims[2])
    height, width = (int(size) for size in weight.shape[-2:])
    parts = [_written_out(weight[..., i, j], given, channels, length) for i in range(height) for j in range(width)]
    outputs, count = (int(size) for size in parts[0].shape[:2])
    if parts[0].numel() * len(parts) > _LARGEST:
        raise CannotFollow(LARGE)
    whole = torch.stack(parts, -1).reshape(outputs * count, channels * length, height, width)
    planar = whole.transpose(0, 1) if given["transposed"] else whole
    merged = value.but(dims=(value.dims[0], (*value.dims[1], *value.dims[2]), *value.dims[3:]))
    plain = {name: list(given[name])[-2:] for name in ("stride", "padding", "dilation", "output_padding")}
    wide = None if bias is None else bias.repeat_interleave(count)
    found = convolved(trace, merged, {**given, **plain, "weight": planar, "bias": wide, "groups": 1})
    return found.but(dims=(found.dims[0], dimension("fibre", outputs), dimension("fibre", count), *found.dims[2:]))


def _planar(given: Arguments) -> Arguments:
    """The arguments of a pool for rows and columns alone."""
    names = ("kernel_size", "stride", "padding", "dilation")
    return {**given, **{name: list(given[name])[-2:] if given.get(name) else [] for name in names if name in given}}


def _along_depth(given: Arguments) -> tuple[int, int, int]:
    kernel = list(given["kernel_size"])
    stride = list(given["stride"]) if given.get("stride") else kernel
    padding = list(given["padding"]) if not isinstance(given.get("padding", 0), int) else [given.get("padding", 0)]
    return int(kernel[0]), int(stride[0]), int(padding[0])


def max_pool_3d(trace: Interpretation, given: Arguments) -> Value:
    """Maximum over blocks of the third dimension, then over windows of rows and columns."""
    value = trace.value(given["self"])
    place = len(value.dims) - 3
    kernel, stride, padding = _along_depth(given)
    if (kernel, stride, padding) != (1, 1, 0):
        count = extent(value.dims[place]) // kernel
        if kernel != stride or padding or given.get("ceil_mode") or not only(value.dims[place], "fibre"):
            raise CannotFollow(OVER_FIBRE)
        value = choose(trace, value, place, list(range(count * kernel)), "max_pool3d")
        dims = viewed(value.dims, (*value.shape[:place], count, kernel, *value.shape[place + 1 :]))[0]
        value = reduced(trace, value.but(dims=dims), [place + 1], False, "amax")
    return max_pooled(trace, value, _planar(given))


def avg_pool_3d(trace: Interpretation, given: Arguments) -> Value:
    """Mean over windows of the third dimension, then over those of rows and columns."""
    value = trace.value(given["self"])
    kernel, stride, padding = _along_depth(given)
    planar = _planar(given)
    flat = list(planar["kernel_size"]) == [1, 1] and list(planar["stride"] or [1, 1]) == [1, 1]
    if (kernel, stride, padding) == (1, 1, 0):
        return avg_pool(trace, planar)
    place = len(value.dims) - 3
    if not flat or not only(value.dims[place], "fibre") or given.get("divisor_override"):
        raise CannotFollow("a mean over windows of the group axis and of space at once")
    return contract(
        trace, value, place, _means(extent(value.dims[place]), kernel, stride, padding, given), None, "avg_pool3d"
    )


def _means(length: int, kernel: int, stride: int, padding: int, given: Arguments) -> Tensor:
    reads = windows(length, kernel, stride, padding, padding, 1, ceil=bool(given.get("ceil_mode")))
    matrix = np.zeros((len(reads), length))
    for row, read in enumerate(reads):
        inside = read[read != OUTSIDE]
        matrix[row, inside] = 1 / (kernel if given.get("count_include_pad", True) else max(len(inside), 1))
    return torch.from_numpy(matrix)


def adaptive_avg_pool(trace: Interpretation, given: Arguments) -> Value:
    """Mean over windows that share out the input evenly; also of all places in one dimension."""
    everything = _all_places(trace, given, "mean")
    return windowed.adaptive_avg_pool(trace, given) if everything is None else everything


def adaptive_max_pool(trace: Interpretation, given: Arguments) -> Value:
    """Maximum over windows that share out the input evenly; also of all places in one dimension."""
    everything = _all_places(trace, given, "amax")
    return windowed.adaptive_max_pool(trace, given) if everything is None else everything


def _all_places(trace: Interpretation, given: Arguments, op: str) -> Value | None:
    """A pool to one position over places that lie one behind the other; None for another pool."""
    value = trace.value(given["self"])
    last = kinds(value.dims[-1]) if value.dims else set()
    if pair(given["output_size"]) != (1, 1) or value.dims[-2] or last not in ({"rows", "columns"}, {"tokens"}):
        return None
    return reduced(trace, value, [len(value.dims) - 1], True, op)
