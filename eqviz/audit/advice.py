"""What to do about a broken symmetry: lines that follow from the reason, each checked before it is given."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from eqviz.audit.auditing import Audit, Operation
from eqviz.audit.rules.effects import VARYING
from eqviz.audit.rules.linear import FREE
from eqviz.groups.subsampling import fits

Size = tuple[int, int]

_NORMS = ("batch_norm", "layer_norm", "group_norm", "instance_norm")
_WINDOWED = ("conv2d", "max_pool2d", "avg_pool2d", "lp_pool2d")
_WIDER = (1, -1, 2, -2, 3)
"""By how many pixels a kernel may be widened, in the order of trying; less than nothing narrows it."""

_MOST_NAMES = 3


def advice(audit: Audit, below: Size | None, above: Size | None) -> list[str]:
    """Lines that say what would help, in the order in which to try them; none for an exact network.

    `below` and `above` are the nearest sizes (height, width) at which the sampling grids fit, None where there are none
    near by. A change of layers is given only if each layer that misfits has one that fits in closed form and leaves all
    later sizes as they are.
    """
    if audit.exact:
        return []
    misfits = [place for place, operation in enumerate(audit.operations) if operation.grid_exact == "no"]
    fibre = [operation for operation in audit.operations if operation.fibre_exact == "no"]
    untied = [operation for operation in audit.operations if FREE in operation.why]
    lines = [*_sizes(audit, below, above), *_layers(audit, misfits)] if misfits else []
    return [*lines, *_fibres(fibre, untied)]


def _sizes(audit: Audit, below: Size | None, above: Size | None) -> Iterator[str]:
    near = [near for near in (below, above) if near is not None]
    if not near:
        return
    there = "the network is exact" if audit.fibre_exact else "every sampling grid fits"
    yield f"resize the input to {' or '.join(_size(one) for one in near)}: {there} there"
    if above is None:
        return
    added = [new - old for new, old in zip(above, audit.input_size, strict=True)]
    if all(add % 2 == 0 for add in added):
        sides = " and ".join(dict.fromkeys(f"{add // 2}" for add in added))
        yield f"or pad it to {_size(above)}, by {sides} on every side"


def _layers(audit: Audit, misfits: Sequence[int]) -> Iterator[str]:
    """What to change in the layers, if that can be said for each of them."""
    changes: dict[str, list[str]] = {}
    for place in misfits:
        change = _change(audit, place)
        if change is None:
            return
        names = changes.setdefault(change, [])
        if audit.operations[place].layer not in names:
            names.append(audit.operations[place].layer)
    told = "; ".join(f"{change} in {_names(names)}" for change, names in changes.items())
    yield f"or, before training, change what misfits and keep the size: {told}"


def _change(audit: Audit, place: int) -> str | None:
    """A change that mends one operation by itself and leaves the size of its output as it is."""
    operation = audit.operations[place]
    if operation.op.startswith("interpolate"):
        return "bilinear interpolation to a size= (no scale_factor, align_corners=False)"
    if operation.op in ("linear", "add", "mul", "sub", "div"):
        return _without_places(operation)
    if operation.op == "slice":
        return _pool_for_slice(audit, operation)
    window, size, last = _window(audit, place)
    if window is None or size is None or min(size) <= 2 or not _gives(audit, last, window, size):
        return None
    changes = [_other_padding(window, size), _other_kernel(window, size)]
    if operation.op == "conv2d":
        changes.insert(1 if window.kernel == 1 else 2, _pool_instead(window, size))
    return next((change for change in changes if change is not None), None)


def _without_places(operation: Operation) -> str | None:
    """For weights of their own for every position."""
    if operation.op == "linear":
        return "a mean over space before the linear layer"
    return "no numbers of their own for every position" if VARYING in operation.why else None


def _pool_for_slice(audit: Audit, sliced: Operation) -> str | None:
    """A pool in place of every k-th row and column, where it reads all of them."""
    before, _, after = sliced.leftover.partition(",")
    alike = [
        one for one in audit.operations
        if (one.layer, one.call, one.op, one.stride) == (sliced.layer, sliced.call, "slice", sliced.stride)
    ]  # fmt: skip
    if not (sliced.stride.isdecimal() and before.isdecimal() and after.isdecimal() and len(alike) == 2):
        return None
    step = int(sliced.stride)
    reads_all = step > 1 and int(before) + int(after) == step - 1
    return f"a {step}x{step} average pool in place of the slice" if reads_all else None


@dataclass(frozen=True)
class _Window:
    """A window that is the same on both axes."""

    kernel: int
    stride: int
    before: int
    after: int
    dilation: int

    def length(self, n: int) -> int:
        return (n + self.before + self.after - self.dilation * (self.kernel - 1) - 1) // self.stride + 1

    def mends(self, old: "_Window", size: Size) -> bool:
        """Whether this window fits on both axes and gives as many positions as `old`."""
        possible = self.kernel > 0 and self.before >= 0
        return possible and all(
            fits(n, self.kernel, self.stride, self.before, self.after, self.dilation)
            and self.length(n) == old.length(n)
            for n in size
        )


def _window(audit: Audit, place: int) -> tuple[_Window | None, Size | None, int]:
    """The window at `place`, the size it is moved over, and the place of the convolution or pool.

    An uneven pad counts to the window that follows it in the same layer. None for other operations, and for windows
    that differ between the axes.
    """
    first = last = place
    called = (audit.operations[place].layer, audit.operations[place].call)

    def is_pad(number: int) -> bool:
        one = audit.operations[number]
        return one.op.startswith("pad(") and (one.layer, one.call) == called

    while first > 0 and is_pad(first) and is_pad(first - 1):
        first -= 1
    while last + 1 < len(audit.operations) and is_pad(last):
        last += 1
    operation, size = audit.operations[last], audit.operations[first].size
    pads = {audit.operations[number].padding for number in range(first, last)}
    if operation.op not in _WINDOWED or (operation.layer, operation.call) != called or len(pads) > 1:
        return None, None, last
    texts = [operation.kernel, operation.stride, operation.padding or "0", operation.dilation or "1"]
    around = (pads.pop() if pads else "0").split(",")
    if not all(text.isdecimal() for text in (*texts, *around)):
        return None, None, last
    kernel, stride, padding, dilation = map(int, texts)
    return _Window(kernel, stride, int(around[0]) + padding, int(around[-1]) + padding, dilation), size, last


def _gives(audit: Audit, last: int, window: _Window, size: Size) -> bool:
    """Whether the window gives an output of a size that is met later on: one in ceil mode may not."""
    output = tuple(window.length(n) for n in size)
    met = {operation.size for operation in audit.operations[last + 1 :]}
    return output in met | {layer.shape[-2:] for layer in audit.layers if len(layer.shape) >= 4}


def _other_padding(old: _Window, size: Size) -> str | None:
    for padding in range((old.before + old.after) // 2 + 2):
        new = replace(old, before=padding, after=padding)
        if 2 * padding <= old.dilation * (old.kernel - 1) + 1 and new.mends(old, size):
            return f"padding {padding}"
    return None


def _other_kernel(old: _Window, size: Size) -> str | None:
    for wider in _WIDER:
        even = (old.before + old.after + 1) // 2
        for padding in dict.fromkeys((even, even - 1)):
            new = replace(old, kernel=old.kernel + wider, before=padding, after=padding)
            if 2 * padding <= new.kernel and new.mends(old, size):
                moved = "" if old.before == old.after == padding else f" with padding {padding}"
                return f"kernel {new.kernel}{moved} instead of {old.kernel}"
    return None


def _pool_instead(old: _Window, size: Size) -> str | None:
    """Stride 1, and a pool that fits afterwards."""
    if old.before != old.after or old.stride == 1:
        return None
    dense = replace(old, stride=1)
    ends = [(dense.length(n), old.length(n)) for n in size]
    if all(before == old.stride * after for before, after in ends):
        return f"stride 1 and a {old.stride}x{old.stride} average pool after it"
    return None


def _fibres(fibre: Sequence[Operation], untied: Sequence[Operation]) -> Iterator[str]:
    """What to do about filters and the group axis. Where filters break, what comes later cannot be mended by itself."""
    plain = _layers_of(fibre, ("conv2d", "conv_transpose2d", "unfold"))
    if plain:
        yield f"use group convolutions in place of the plain ones: {_names(plain)}"
        return
    shared = _layers_of([*fibre, *untied], (*_NORMS, "add", "mul", "sub", "div"))
    if shared:
        yield f"share the weight and the bias along the group axis, one for each channel: {_names(shared)}"
    linear = _layers_of(fibre, ("linear",))
    if linear:
        yield f"take the maximum over the group axis before the linear layer: {_names(linear)}"


def _layers_of(operations: Sequence[Operation], kinds: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(operation.layer for operation in operations if operation.op in kinds))


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _size(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
