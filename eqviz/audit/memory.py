"""Which tensors lie in the same memory, and what was written into it while the pass ran.

A network may make an empty tensor and write its activations into parts of it. Such a tensor is a canvas: what is
written is kept with the part that it is written to, and put together when the tensor is read.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from eqviz.audit.values import Value

Positions = tuple[int, ...]


@dataclass(frozen=True)
class Region:
    """A part of a tensor: which positions of each of its dimensions, and in which order the part has the dimensions.

    `order` has for every dimension of the part that of the whole; None for one of size 1 that was put in.
    """

    positions: tuple[Positions, ...]
    order: tuple[int | None, ...]

    @classmethod
    def all_of(cls, shape: Sequence[int]) -> "Region":
        """All of a tensor of this shape.

        >>> Region.all_of((2, 1)).positions
        ((0, 1), (0,))
        """
        return cls(tuple(tuple(range(size)) for size in shape), tuple(range(len(shape))))

    def at(self, place: int, chosen: Sequence[int], *, keep: bool = True) -> "Region | None":
        """Some positions of a dimension of the part; without `keep` the dimension goes."""
        whole = self.order[place]
        order = self.order if keep else (*self.order[:place], *self.order[place + 1 :])
        if whole is None:
            return Region(self.positions, order) if list(chosen) == [0] else None
        positions = list(self.positions)
        positions[whole] = tuple(positions[whole][p] for p in chosen)
        return Region(tuple(positions), order)

    def seen(self, name: str, given: Mapping[str, Any], shape: Sequence[int]) -> "Region | None":
        """The part that a view of this part shows, by the name and the arguments of the operation; None if none."""
        count = len(self.order)
        if name in ("alias", "detach", "lift_fresh"):
            return self
        if name in ("view", "expand", "_reshape_alias"):
            return self if tuple(given.get("size", ())) == tuple(shape) else None
        if name == "permute":
            return Region(self.positions, tuple(self.order[int(p) % count] for p in given["dims"]))
        if name in ("transpose", "t"):
            order = list(range(count))
            first, second = (int(given.get(key, number)) % count for number, key in enumerate(("dim0", "dim1")))
            order[first], order[second] = second, first
            return Region(self.positions, tuple(self.order[p] for p in order))
        if name == "unsqueeze":
            place = int(given["dim"]) % (count + 1)
            return Region(self.positions, (*self.order[:place], None, *self.order[place:]))
        if name not in ("slice", "select"):
            return None
        place = int(given["dim"]) % count
        size = int(shape[place])
        if name == "select":
            return self.at(place, [int(given["index"]) % size], keep=False)
        return self.at(place, range(size)[slice(given["start"], given["end"], given["step"])])

    def indexed(self, indices: Sequence[Tensor | None], shape: Sequence[int]) -> "Region | None":
        """The part that one list of whole numbers chooses, as in `x[:, [0, 2]]`; None for other indices."""
        used = [(place, item) for place, item in enumerate(indices) if item is not None]
        if len(used) != 1 or used[0][1].dim() != 1 or used[0][1].is_floating_point():
            return None
        place, item = used[0]
        numbers = (item.nonzero().reshape(-1) if item.element_size() == 1 else item).tolist()
        chosen = [int(number) % int(shape[place]) for number in numbers]
        return self.at(place, chosen) if len(set(chosen)) == len(chosen) else None

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(len(positions) for positions in self.positions)


@dataclass(frozen=True)
class Write:
    """What was written to a part: activations, or constant numbers of the part's shape."""

    region: Region
    content: Value | Tensor


@dataclass
class Canvas:
    """A constant tensor made in the pass, and what was written into it; `unset` if it was made without numbers."""

    whole: Tensor
    unset: bool
    writes: list[Write] = field(default_factory=list)

    @property
    def written(self) -> bool:
        """Whether activations were written into it."""
        return any(isinstance(write.content, Value) for write in self.writes)


class Memory:
    """Canvases by their storage, and which part of which tensor a view shows."""

    def __init__(self) -> None:
        self._canvases: dict[int, Canvas] = {}
        self._views: dict[int, tuple[Tensor, Tensor, Region]] = {}
        self._shadows: dict[int, tuple[int, Tensor]] = {}  # by storage of a tensor without numbers: of that with them

    def key(self, tensor: Tensor) -> int:
        """The same number for all tensors in the same memory."""
        own = tensor.untyped_storage()._cdata
        return self._shadows[own][0] if own in self._shadows else own

    def shadowed(self, tensor: Tensor, without_numbers: Tensor) -> None:
        """`without_numbers` stands for `tensor`, if that is a canvas or a part of one."""
        if self.canvas(tensor) is not None:
            own = tensor.untyped_storage()._cdata
            self._shadows[without_numbers.untyped_storage()._cdata] = (own, without_numbers)

    def made(self, tensor: Tensor, *, unset: bool) -> None:
        """A constant that an operation made."""
        self._canvases[tensor.untyped_storage()._cdata] = Canvas(tensor, unset)

    def canvas(self, tensor: Tensor) -> Canvas | None:
        """The canvas that a tensor is or lies in."""
        flat = bool(self._canvases) and tensor.layout == torch.strided
        return self._canvases.get(self.key(tensor)) if flat else None

    def viewed(self, name: str, given: Mapping[str, Any], source: Tensor, view: Tensor) -> None:
        """`view` is a view of `source`: keep which part of what it shows, if that can be said."""
        whole, region = self.part(source)
        seen = region.seen(name, given, tuple(source.shape))
        if seen is not None:
            self._views[id(view)] = (view, whole, seen)

    def part(self, tensor: Tensor) -> tuple[Tensor, Region]:
        """The tensor of which this one shows a part, and the part; itself if it is no view that could be followed."""
        found = self._views.get(id(tensor))
        return (tensor, Region.all_of(tuple(tensor.shape))) if found is None else found[1:]
