"""Windows put back on a map, channels laid out as pixels, and the reverse."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eqviz.audit.actions import combine, full_action, identity, restrict
from eqviz.audit.expressions import LAID_OUT, Line
from eqviz.audit.interpretation import Interpretation, Verdict
from eqviz.audit.layout import Atom, CannotFollow, dimension, extent, only
from eqviz.audit.rules.windows import described, maps, on_axes, pair, spatial
from eqviz.audit.values import Value, Window
from eqviz.groups.group import Integers
from eqviz.groups.subsampling import transposed_windows, windows

Arguments = Mapping[str, Any]

NOT_TAPS = "the channels that become the pixels of a block do not change places with them"


def fold(trace: Interpretation, given: Arguments) -> Value:
    """`F.fold`: windows put back where they were read, and summed up where they overlap."""
    value, size = trace.value(given["self"]), pair(given["output_size"])
    kernel, stride = pair(given["kernel_size"]), pair(given["stride"])
    padding, dilation = pair(given["padding"]), pair(given["dilation"])
    blocks = value.total.size
    places = (*dimension("rows", blocks[0]), *dimension("columns", blocks[1]))
    if len(value.dims) != 3 or value.dims[2] != places or not only(value.dims[0], "batch"):
        raise CannotFollow("windows that do not lie in the order of rows and columns")
    reads = []
    for a in (0, 1):
        least = (blocks[a] - 1) * stride[a] - 2 * padding[a] + dilation[a] * (kernel[a] - 1) + 1
        reads.append(transposed_windows(blocks[a], kernel[a], stride[a], padding[a], size[a] - least, dilation[a]))
    taps = (*dimension("row taps", kernel[0]), *dimension("column taps", kernel[1]))
    own, laid_out = value.dims[1], tuple(atom for atom in value.dims[1] if atom.kind != "fibre")
    verdict, channels = Verdict(value.actions), extent(atom for atom in own if atom.kind == "fibre")
    if not laid_out:
        channels //= kernel[0] * kernel[1]
        verdict = _as_taps(trace, value, [Atom("fibre", channels), *taps])
    elif laid_out != taps or own[len(own) - len(taps) :] != taps:
        raise CannotFollow("windows of another size are put back than were read")
    operation = trace.serial
    return trace.apply(
        value, "fold", on_axes(lambda line, axis: trace.expressions.taps(line, reads[axis], operation)),
        dims=spatial((value.dims[0], dimension("fibre", channels)), size), verdict=verdict,
        window=described(kernel, stride, padding, dilation, size),
    )  # fmt: skip


def _as_taps(trace: Interpretation, value: Value, wanted: Sequence[Atom]) -> Verdict:
    """What laying channels out as the pixels of blocks does to the fibre, of which part may stand in the batch."""
    actions, lost = {}, set()
    beside = extent(atom for atom in value.dims[0] if atom.kind == "fibre")
    for g in trace.moving:
        how, rest = trace.action(value, g, [1]), trace.action(value, g, [0])
        found = None if how is None or rest is None else _untangled(how, wanted, trace, g)
        if found is None or rest is None:
            lost.add(g)
            actions[g] = trace.assumed(g, wanted[0].size * beside)
        else:
            actions[g] = combine(rest, found)
    return Verdict(actions, frozenset(lost), why=NOT_TAPS if lost else "")


def pixel_shuffle(trace: Interpretation, given: Arguments) -> Value:
    """Channels laid out as pixels: r x r of them for every pixel."""
    value = trace.value(given["self"])
    lead, factor = maps(value), int(given["upscale_factor"])
    if len(lead) != 2:
        raise CannotFollow("pixel shuffle of more than channels")
    channels, height, width = extent(lead[1]) // factor**2, *value.total.size
    taps: list[Atom] = [*dimension("row taps", factor), *dimension("column taps", factor)]
    verdict = _as_taps(trace, value, [Atom("fibre", channels), *taps])
    operation = trace.serial

    def change(line: Line, axis: int) -> Line:
        del axis
        return trace.expressions.spread(line, factor, operation)

    dims = spatial((lead[0], dimension("fibre", channels)), (height * factor, width * factor))
    return trace.apply(
        value, "pixel_shuffle", on_axes(change), dims=dims, verdict=verdict, window=Window(kernel=str(factor))
    )


def _untangled(how: Integers, wanted: Sequence[Atom], trace: Interpretation, g: int) -> Integers | None:
    """The action on the channels that stay, if the others change places as the pixels of a block do."""
    taps = [part for part in wanted if part.kind != "fibre"]
    channels = wanted[0].size
    if not taps:
        return how
    alone = full_action(identity(1), taps, trace.moves[g])
    parts = restrict(how, [channels, how.size // channels], [1])
    if alone is None or parts is None or not np.array_equal(parts[0], alone):
        return None
    return parts[1] if np.array_equal(how, combine(parts[1], alone)) else None


def pixel_unshuffle(trace: Interpretation, given: Arguments) -> Value:
    """Pixels laid out as channels: blocks of r x r become one."""
    value = trace.value(given["self"])
    lead, factor, size = maps(value), int(given["downscale_factor"]), value.total.size
    reads = [windows(size[a], factor, factor) for a in (0, 1)]
    taps = (*dimension("row taps", factor), *dimension("column taps", factor))
    dims = spatial((*lead[:-1], (*lead[-1], *taps)), (len(reads[0]), len(reads[1])))
    return trace.apply(
        value, "pixel_unshuffle", on_axes(lambda line, axis: trace.expressions.taps(line, reads[axis], LAID_OUT)),
        dims=dims, stage=value.stage, window=Window(str(factor), str(factor), "0", "1", "0"),
    )  # fmt: skip
