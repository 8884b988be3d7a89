"""Operations that write into memory: which tensors hold something else afterwards, and what."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from eqviz.audit.interpretation import Interpretation
from eqviz.audit.layout import CannotFollow
from eqviz.audit.memory import Canvas, Region, Write
from eqviz.audit.rules.views import converted, expanded
from eqviz.audit.rules.writing import composed, part_of
from eqviz.audit.values import Value

Arguments = Mapping[str, Any]
Content = Value | Tensor

RULE_FAILED = (LookupError, TypeError, ValueError, RuntimeError)
"""What a rule raises that met something it was not made for."""

MADE = frozenset({
    "zeros", "ones", "full", "empty", "empty_strided", "zeros_like", "ones_like", "full_like", "empty_like",
    "new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided",
})  # fmt: skip
"""Operations that make a constant into which a network may write."""

PUTTING = frozenset({"copy_", "fill_", "zero_", "index_put_", "index_copy_", "index_fill_"})
"""Operations that put something in the place of what was there."""

ELSEWHERE = (
    "it writes activations into memory that was not made in this pass, or of which a part is viewed in another way"
)
UNLISTED = "it writes to places that it does not list"
"""Why what is written to a constant is not followed."""


class Writes:
    """What is written into constants made in the pass, and into activations."""

    def __init__(self, trace: Interpretation) -> None:
        self._trace = trace
        self._memory = trace.memory

    def made(self, name: str, tensor: Any) -> None:
        """A constant was made by the operation of that name."""
        if name in MADE and type(tensor) is Tensor:
            self._memory.made(tensor, unset="empty" in name)

    def waiting(self, tensor: Tensor) -> Canvas | None:
        """The canvas in which a tensor lies that has not been read yet."""
        if self._trace.known(tensor):
            return None
        canvas = self._memory.canvas(tensor)
        return None if canvas is None or self._trace.known(canvas.whole) else canvas

    def read(self, tensor: Tensor) -> list[Write]:
        """Make known what a tensor holds that lies in a canvas; gives what was written if it is read just now."""
        canvas = self._memory.canvas(tensor)
        if canvas is None or self._trace.known(tensor) or not (canvas.written or self._trace.known(canvas.whole)):
            return []
        put_together = []
        if not self._trace.known(canvas.whole):
            put_together = canvas.writes
            self._put_together(canvas)
        if tensor is canvas.whole:
            return put_together
        whole, region = self._memory.part(tensor)
        try:
            found = part_of(self._trace, self._trace.value(canvas.whole), region) if whole is canvas.whole else None
        except (CannotFollow, *RULE_FAILED):
            found = None
        shape = tuple(tensor.shape)
        self._trace.remember(tensor, found if found and found.shape == shape else self._trace.opaque(shape))
        return put_together

    def _put_together(self, canvas: Canvas) -> None:
        trace, shape = self._trace, tuple(canvas.whole.shape)
        trace.next()
        try:
            trace.remember(canvas.whole, composed(trace, shape, canvas.writes, unset=canvas.unset))
        except (CannotFollow, *RULE_FAILED) as reason:
            sources = [write.content for write in canvas.writes if isinstance(write.content, Value)]
            trace.remember(canvas.whole, trace.unknown("write", sources, [shape], str(reason))[0])

    def of_constants(self, name: str, given: Arguments, target: Tensor, *, carried_out: bool) -> bool:
        """A constant is written to a canvas; False if it has to be read first.

        Has to be called before the operation; `carried_out` says whether its numbers will be there afterwards.
        """
        canvas = self.waiting(target)
        if canvas is None or (carried_out and not (canvas.unset or canvas.writes)):
            return True
        whole, region = self._memory.part(target)
        found = self._content(name, given, target, region) if whole is canvas.whole else None
        if found is None and (canvas.written or not (canvas.writes or not carried_out)):
            return not canvas.written
        if found is None:
            self._trace.next()
            self._trace.remember(whole, self._trace.unknown("write", [], [tuple(whole.shape)], UNLISTED)[0])
            return True
        self._begin(canvas)
        part, content = found
        canvas.writes.append(Write(part, target if carried_out and part == region else content))
        return True

    def _begin(self, canvas: Canvas) -> None:
        """What a canvas holds before the first write."""
        if not canvas.writes and not canvas.unset:
            canvas.writes.append(Write(Region.all_of(tuple(canvas.whole.shape)), canvas.whole))

    def of_activations(self, name: str, given: Arguments, target: Tensor, computed: Value | None) -> None:
        """Activations are written to a canvas; `computed` is what an operation in place makes of all of the target.

        Raises CannotFollow where it cannot be said to which part.
        """
        canvas = self.waiting(target)
        whole, region = self._memory.part(target)
        if canvas is None or whole is not canvas.whole:
            raise CannotFollow(ELSEWHERE)
        found = (region, computed) if computed is not None else self._content(name, given, target, region)
        if found is None:
            raise CannotFollow(UNLISTED)
        self._begin(canvas)
        canvas.writes.append(Write(*found))

    def put(self, name: str, given: Arguments, target: Tensor) -> tuple[Region, Content] | None:
        """What is put into which part by an operation; None for one that does something else."""
        return self._content(name, given, target, self._memory.part(target)[1]) if name in PUTTING else None

    def after(self, target: Tensor, written: tuple[Region, Content]) -> tuple[Value, Value]:
        """What an activation holds after something was written into it, and what the tensor holds whose part it is."""
        trace = self._trace
        whole, region = self._memory.part(target)
        part, content = written
        shape = tuple(whole.shape)
        all_of_it = part == region and isinstance(content, Value)
        new = content if all_of_it and isinstance(content, Value) else trace.opaque(tuple(target.shape))
        if whole is target and all_of_it:
            return new, new
        try:
            before = Write(Region.all_of(shape), trace.value(whole))
            held = composed(trace, shape, [before, Write(*written)], unset=False)
        except (CannotFollow, *RULE_FAILED) as reason:
            sources = [content] if isinstance(content, Value) else []
            held = trace.unknown("write", sources, [shape], str(reason))[0]
        return (held if whole is target else new), held

    def _content(self, name: str, given: Arguments, target: Tensor, region: Region) -> tuple[Region, Content] | None:
        """What is put where; None for an operation of which that is not known."""
        shape = tuple(target.shape)
        if name in ("fill_", "zero_"):
            return self._filled(region, shape, given.get("value", 0), target)
        if name == "copy_":
            return region, self._spread(given["src"], shape, target)
        if name in ("index_copy_", "index_fill_"):
            place = int(given["dim"]) % len(shape)
            indices: list[Tensor | None] = [*([None] * place), given["index"]]
        elif name == "index_put_" and not given["accumulate"]:
            indices = list(given["indices"])
        else:
            return None
        if any(self._trace.known(index) or isinstance(index, FakeTensor) for index in indices if index is not None):
            return None
        part = region.indexed(indices, shape)
        if part is None:
            return None
        place = next(at for at, index in enumerate(indices) if index is not None)
        left = [len(part.positions[whole]) if whole is not None else 1 for whole in part.order]
        shape = (*shape[:place], left[place], *shape[place + 1 :])
        if name == "index_fill_":
            return self._filled(part, shape, given["value"], target)
        return part, self._spread(given["values" if name == "index_put_" else "source"], shape, target)

    def _filled(
        self, region: Region, shape: Sequence[int], number: Any, target: Tensor
    ) -> tuple[Region, Content] | None:
        if isinstance(number, Tensor):
            return None if self._trace.known(number) else (region, number.expand(shape))
        return region, torch.full(tuple(shape), number, dtype=target.dtype)

    def _spread(self, source: Tensor, shape: Sequence[int], target: Tensor) -> Content:
        if not self._trace.known(source):
            return source.expand(tuple(shape)).clone()
        value = converted(self._trace, {"self": source, "dtype": target.dtype})
        return value if value.shape == tuple(shape) else expanded(self._trace, value, tuple(shape))
