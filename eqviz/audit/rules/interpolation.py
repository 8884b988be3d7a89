"""Interpolation: what each output row and column reads is found by running the operation itself on single pixels."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from eqviz.audit.expressions import Line
from eqviz.audit.interpretation import Interpretation
from eqviz.audit.rules.windows import maps, on_axes, spatial
from eqviz.audit.values import Value, Window

Arguments = Mapping[str, Any]
_FINE = 2**30
_ACROSS = 3
"""Pixels along the other axis, which stays as it is."""


def interpolate(trace: Interpretation, given: Arguments, run: Callable[..., Tensor], mode: str, target: Any) -> Value:
    """An upsampling operation; `run` is the operation and `target` the size that torch gives."""
    value = trace.value(given["self"])
    lead, size, new = maps(value), value.total.size, (int(target[0]), int(target[1]))
    rest = {name: item for name, item in given.items() if name not in ("self", "output_size")}
    weights = [_reads(run, size[axis], new[axis], axis, rest) for axis in (0, 1)]
    picks = all(len(terms) == 1 and terms[0][1] == 1 for axis in weights for terms in axis)
    stage = trace.stage(value, "linear")

    def change(line: Line, axis: int) -> Line:
        if picks:
            return line.take(terms[0][0] for terms in weights[axis])
        return trace.expressions.weighted(line, weights[axis], stage)

    window = Window(kernel="", stride="", leftover="")
    return trace.apply(
        value, f"interpolate({mode})", on_axes(change), dims=spatial(lead, new), window=window, selects=picks,
        stage=value.stage if picks else ("linear", stage),
    )  # fmt: skip


def _reads(
    run: Callable[..., Tensor], length: int, positions: int, axis: int, rest: Mapping[str, Any]
) -> Sequence[list[tuple[int, Fraction]]]:
    """For every output position of one axis, the input positions it reads and their weights, to nine digits."""
    pixels = torch.eye(length, dtype=torch.float64).reshape(length, 1, length, 1).expand(-1, -1, -1, _ACROSS)
    size = [positions, _ACROSS]
    if axis == 1:
        pixels, size = pixels.mT, size[::-1]
    other = "scales_w" if axis == 0 else "scales_h"
    response = run(pixels.contiguous(), size, **{**rest, **({other: None} if other in rest else {})})
    response = (response[..., 0] if axis == 0 else response[..., 0, :]).reshape(length, positions).t()
    fine = torch.floor(response * _FINE + 0.318).to(torch.int64).tolist()
    return [[(p, Fraction(weight, _FINE)) for p, weight in enumerate(row) if weight] for row in fine]
