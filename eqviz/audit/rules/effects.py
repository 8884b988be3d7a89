"""What constant numbers do to the symmetry of a tensor that they are added to or multiplied with."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eqviz.audit.actions import Action, Match, invariant
from eqviz.audit.interpretation import Interpretation, Verdict, graded
from eqviz.audit.layout import SPACE, CannotFollow, Dimension, only
from eqviz.audit.rules.linear import FREE, NO_WEIGHTS, ROUNDING, has_values
from eqviz.audit.values import NONE, Elements, Value
from eqviz.fields.grid_action import act_on_grid
from eqviz.groups.group import Element

Floats = npt.NDArray[np.float64]
Block = tuple[Floats, tuple[str, ...]]
"""Numbers, and what each of their axes counts."""

VARYING = "varies over space, and not symmetrically"
UNEQUAL = "its numbers differ along the group axis"

_PLACES = frozenset({"rows", "columns", "tokens", "keys"})
_TAPS = frozenset({"row taps", "column taps"})
_PAIRS = tuple((f"{of}{first}", f"{of}{second}") for of in ("", "key ")
               for first, second in (("rows", "columns"), ("row taps", "column taps")))  # fmt: skip
"""What an element that exchanges the axes exchanges."""


class Effect:
    """What a constant does; `made_of` are the constants that it is made of."""

    def __init__(self, trace: Interpretation, value: Value, constant: Tensor, made_of: Sequence[Tensor]) -> None:
        self.trace, self.value = trace, value
        self.varies = self._varying_axes(constant)
        loose = any(self.varies) and any(trace.untied(part) for part in made_of)
        constant = self._without_repeats(constant)
        self.varies = self._varying_axes(constant)
        self.within = self._counted(constant, _TAPS)
        self.grid_lost: Elements = NONE
        self.verdict = Verdict(value.actions)
        moved = any(not np.array_equal(a, np.arange(len(a))) for a in value.actions.values())
        self.matters = moved or loose or any(self.varies) or self.within
        if loose:
            self.verdict = Verdict(value.actions, NONE, frozenset(trace.moving), FREE)
        if not self.matters or loose:
            return
        if not has_values(constant):
            if any(self.varies):
                raise CannotFollow("it adds or multiplies with numbers that vary over space and are not known")
            self.verdict = Verdict(value.actions, NONE, frozenset(trace.moving), NO_WEIGHTS)
            return
        lost, rounding = graded(self._matches(constant))
        if any(self.varies) or self.within:
            self.grid_lost = lost
            self.verdict = Verdict(value.actions, NONE, rounding, ROUNDING if rounding else "")
            return
        free = frozenset(trace.moving) - lost if trace.untied(constant) else NONE
        free = frozenset(g for g in free if self._touches(constant, g))
        why = UNEQUAL if lost else (ROUNDING if rounding else (FREE if free else ""))
        self.verdict = Verdict(value.actions, lost, rounding | free, why)

    def _without_repeats(self, constant: Tensor) -> Tensor:
        """The same with one place, if all places hold the same numbers."""
        if not has_values(constant) or not any(self.varies):
            return constant
        lead, first = len(self.value.dims) - constant.dim(), constant
        for place, dim in enumerate(self.value.dims[lead:]):
            if dim and only(dim, *SPACE, "tokens", "keys"):
                first = first.narrow(place, 0, 1)
        return first if bool((constant == first).all()) else constant

    def _varying_axes(self, constant: Tensor) -> tuple[bool, bool]:
        """Whether the numbers have an entry for every row, and for every column."""
        both = self._counted(constant, frozenset({"tokens", "keys"}))
        return both or self._counted(constant, frozenset({"rows"})), both or self._counted(
            constant, frozenset({"columns"})
        )

    def _counted(self, constant: Tensor, wanted: frozenset[str]) -> bool:
        """Whether the numbers have several entries in a dimension that counts one of these."""
        lead = len(self.value.dims) - constant.dim()
        dims = zip(self.value.dims[lead:], constant.shape, strict=True)
        return any(size > 1 and any(atom.kind in wanted for atom in dim) for dim, size in dims)

    def _matches(self, constant: Tensor) -> dict[int, Match]:
        blocks = self._blocks(constant)
        found: dict[int, Match] = {}
        for g in self.trace.moving:
            matches = [self._match(block, g) for block in blocks]
            found[g] = min(matches, key=("no", "rounding", "yes").index)
        return found

    def _match(self, block: Block, g: int) -> Match:
        numbers = block[0]
        if any(self.varies) and self.value.exchanged:
            return "no"
        moved = _moved(block, self.trace.group.elements[g], self.value.actions[g])
        same = moved.shape == numbers.shape
        return invariant(numbers.reshape(-1), moved.reshape(-1)) if same else "no"

    def _blocks(self, constant: Tensor) -> list[Block]:
        """The numbers with an axis for everything that is counted; tokens without a place in blocks of their own."""
        lead = len(self.value.dims) - constant.dim()
        own = (1,) * lead + tuple(constant.shape)
        given, wanted, counted = [], [], []  # sizes by axis: as they are, and with the fibre spread out
        for size, dim in zip(own, self.value.dims, strict=True):
            for kind, whole in self._axes(dim):
                given.append(whole if size > 1 else 1)
                wanted.append(whole if size > 1 or kind == "fibre" else 1)
                counted.append(kind)
        numbers = constant.detach().cpu().double().numpy().reshape(given or [1])
        array: Floats = np.broadcast_to(numbers, wanted or [1])
        for axis, kind in enumerate(counted):
            if kind == "batch":
                first = array.take([0], axis=axis)
                if not np.array_equal(np.broadcast_to(first, array.shape), array):
                    raise CannotFollow("it adds or multiplies with numbers of their own for every image of the batch")
                array = first
        keys = self.value.keys
        blocks = _placed_apart([(array, tuple(counted))], "tokens", "", self.value.first, self.value.total.size)
        return blocks if keys is None else _placed_apart(blocks, "key tokens", "key ", keys.first, keys.spaces[0].size)

    def _axes(self, dim: Dimension) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        for atom in dim:
            if atom.kind == "keys" and self.value.keys is not None:
                found += [(f"key {key.kind}", key.size) for key in self.value.keys.atoms]
            else:
                found.append((atom.kind, atom.size))
        return found

    def _touches(self, constant: Tensor, g: int) -> bool:
        """Whether the element moves entries to which these constants give a number each."""
        numbered = torch.arange(constant.numel(), dtype=torch.float64).reshape(constant.shape)
        found = [(block[0], _moved(block, self.trace.group.elements[g], self.value.actions[g]))
                 for block in self._blocks(numbered)]  # fmt: skip
        return any(one.shape == other.shape and not np.array_equal(one, other) for one, other in found)


def _placed_apart(blocks: Sequence[Block], name: str, of: str, first: int, size: tuple[int, int]) -> list[Block]:
    """Blocks in which tokens with a place have rows and columns, and those without one stand by themselves."""
    found: list[Block] = []
    for numbers, counted in blocks:
        axis = counted.index(name) if name in counted else -1
        if axis < 0 or numbers.shape[axis] == 1:
            found.append((numbers, tuple("still" if kind == name else kind for kind in counted)))
            continue
        end = first + size[0] * size[1]
        places = numbers.take(range(first, end), axis=axis)
        shape = (*places.shape[:axis], *size, *places.shape[axis + 1 :])
        found.append((places.reshape(shape), (*counted[:axis], f"{of}rows", f"{of}columns", *counted[axis + 1 :])))
        others = [*range(first), *range(end, numbers.shape[axis])]
        found.append((numbers.take(others, axis=axis), (*counted[:axis], "still", *counted[axis + 1 :])))
    return found


def _moved(block: Block, element: Element, action: Action) -> Floats:
    """The numbers after the element: places move, and the entries of the fibre by its action."""
    numbers, counted = block
    if all(size == 1 or kind == "fibre" for size, kind in zip(numbers.shape, counted, strict=False)):
        entries: Floats = numbers.reshape(-1)
        return entries[action].reshape(numbers.shape) if "fibre" in counted else numbers
    moved = torch.from_numpy(np.ascontiguousarray(numbers))
    for names in _PAIRS:
        axes = [counted.index(name) if name in counted else -1 for name in names]
        if max(axes) < 0:
            continue
        chosen = [axis for axis in axes if axis >= 0]
        last = [-1] if len(chosen) == 1 else [-2, -1]
        turned = moved.movedim(chosen, last)
        missing = None if len(chosen) == 2 else (-1 if axes[1] < 0 else -2)
        turned = act_on_grid(turned if missing is None else turned.unsqueeze(missing), element)
        if missing is not None and turned.shape[missing] != 1:  # rows became columns
            return np.zeros(0)
        moved = (turned if missing is None else turned.squeeze(missing)).movedim(last, chosen)
    fibre = [axis for axis, kind in enumerate(counted) if kind == "fibre"]
    if fibre:
        front = list(range(len(fibre)))
        flat = moved.movedim(fibre, front)
        shape = flat.shape
        flat = flat.reshape(int(np.prod(shape[: len(fibre)])), -1)[torch.from_numpy(action)]
        moved = flat.reshape(shape).movedim(front, fibre)
    found: Floats = moved.numpy()
    return found
