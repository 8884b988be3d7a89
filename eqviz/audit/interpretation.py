"""One forward pass as the audit follows it: what is known of every tensor, and the operations that matter."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from eqviz.audit.actions import Action, Match, compose, full_action, identity, moves, reorder, restrict
from eqviz.audit.declared_actions import declared_permutation, mixes
from eqviz.audit.expressions import Expressions, Line
from eqviz.audit.layout import CannotFollow, Dimension, atoms, dimension
from eqviz.audit.memory import Memory
from eqviz.audit.values import NONE, Elements, Record, Space, Value, Window
from eqviz.fields.field_types import FieldType
from eqviz.fields.layer_calls import OUTPUT, LayerCall
from eqviz.groups.group import Group

DOUBTED = "it comes after a field type that acts by matrices, which is not followed: --verify measures it"

Transform = Callable[[Space], Space]


@dataclass(frozen=True)
class Verdict:
    """What an operation does to the fibre: actions on its output, and under which elements it fails or may fail.

    `guessed` are elements of which even the action on the output is not known.
    """

    actions: Mapping[int, Action]
    lost: Elements = NONE
    unknown: Elements = NONE
    why: str = ""
    guessed: Elements = NONE

    def doubting(self, guessed: Elements, grid_lost: Elements, *, moves: bool) -> "Verdict":
        """The same where the action on the input was a guess for some elements: what fails there may not fail.

        With `moves` the operation gives an action of its own, and what was found to hold may not hold either.
        """
        doubted = guessed if moves else (self.lost | grid_lost) & guessed
        why = self.why or (DOUBTED if moves and guessed else "")
        return replace(self, lost=self.lost - guessed, unknown=self.unknown | doubted, why=why) if doubted else self


class Interpretation:
    """Values of tensors and records of operations of one forward pass, under one group on the pixel grid."""

    def __init__(
        self,
        group: Group,
        expressions: Expressions,
        field_of: Callable[[str], FieldType | None],
        stored: frozenset[int] = frozenset(),
    ) -> None:
        self.group = group
        self._stored = stored  # storages of parameters and buffers
        self.moving = range(1, group.order)
        self.generators = [g for g in self.moving if g == 1 or (g == group.rotations and g > 1)]
        self.moves = {g: moves(group.elements[g]) for g in self.moving}
        self.expressions = expressions
        self.records: list[Record] = []
        self.stack: list[LayerCall] = []
        self.serial = 0
        self._origin = -1  # the image's
        self.chosen: list[str] = []  # entries of the fibre and images of the batch that were chosen
        self._field_of = field_of
        self._in_call: Counter[LayerCall] = Counter()
        self._values: dict[int, tuple[Tensor, Value]] = {}
        self.memory = Memory()

    # tensors

    def known(self, tensor: object) -> bool:
        """Whether this is a tensor that depends on the image."""
        return isinstance(tensor, Tensor) and id(tensor) in self._values

    def value(self, tensor: Tensor) -> Value:
        """What is known of a tensor that depends on the image."""
        return self._values[id(tensor)][1]

    def remember(self, tensor: Tensor, value: Value) -> None:
        """Keep what is known of a tensor. Raises CannotFollow for a value of another shape: a defect of its rule."""
        if value.shape != tuple(tensor.shape):
            raise CannotFollow(f"a rule for shape {value.shape} where torch gives {tuple(tensor.shape)}")
        self._values[id(tensor)] = (tensor, value)

    def sharing_memory(self, tensor: Tensor) -> list[Tensor]:
        """Other tensors on the same storage."""
        storage = self.memory.key(tensor)
        held = [kept for kept, _ in self._values.values()]
        return [kept for kept in held if kept is not tensor and self.memory.key(kept) == storage]

    def image(self, shape: Sequence[int]) -> Value:
        """The input: images whose channels do not move."""
        batch, channels, height, width = shape
        space = Space(self.expressions.fresh(height), self.expressions.fresh(width))
        dims = (dimension("batch", batch), dimension("fibre", channels), dimension("rows", height),
                dimension("columns", width))  # fmt: skip
        return Value(dims, space, space, dict.fromkeys(self.moving, identity(channels)))

    def opaque(self, shape: Sequence[int]) -> Value:
        """A tensor of which nothing is known; later operations are judged as if it were a map of images."""
        dims = [dimension("batch", shape[0])] if shape else []
        spatial = len(shape) >= 4
        dims += [dimension("fibre", size) for size in shape[1 : -2 if spatial else None]]
        height, width = shape[-2:] if spatial else (1, 1)
        if spatial:
            dims += [dimension("rows", height), dimension("columns", width)]
        space = Space(self.expressions.fresh(height), self.expressions.fresh(width))
        size = int(np.prod([atom.size for atom in atoms(dims) if atom.kind == "fibre"], dtype=np.int64))
        return Value(
            tuple(dims), space, space, dict.fromkeys(self.moving, identity(size)), grid_unknown=True,
            fibre_unknown=frozenset(self.moving), stage=("", self.serial), origin=self.serial,
        )  # fmt: skip

    def stored(self, tensor: Tensor) -> bool:
        """Whether it lies in the memory of a parameter or buffer."""
        return tensor.untyped_storage()._cdata in self._stored

    def untied(self, tensor: Tensor) -> bool:
        """Whether these are equal numbers of a parameter or buffer itself, which training moves one by one."""
        storage = tensor.untyped_storage()
        held = math.prod(size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)
        whole = storage.nbytes() == held * tensor.element_size()
        own = whole and storage._cdata in self._stored and held > 1
        return own and bool((tensor == tensor.reshape(-1)[0]).all())

    def changed(self, value: Value) -> Value:
        """A tensor after the same function of every number, written in place."""

        def constants(line: Line) -> Line:
            return self.expressions.constants(line, lambda _, n: self.expressions.unknown_constant(self.serial, n))

        total, local = (Space(constants(s.rows), constants(s.columns)) for s in (value.total, value.local))
        return value.but(total=total, local=local, stage=("", self.serial), origin=self.serial)

    # the fibre

    def action(self, value: Value, g: int, dims: Iterable[int] | None = None) -> Action | None:
        """How element g permutes the fibre (with the taps of windows) of some dimensions of a tensor, or of all.

        None where that cannot be said of these dimensions alone, or where taps cannot follow an exchange of the axes.
        """
        parts = value.fibre_kinds
        full = full_action(value.actions[g], parts, self.moves[g]) if value.has_taps else value.actions[g]
        if full is None or dims is None:
            return full
        chosen = self.positions(value, dims)
        if len(chosen) == len(parts):
            return full
        found = restrict(full, [part.size for part in parts], chosen)
        return None if found is None else found[0]

    def fibre_action(self, value: Value, g: int, dims: Iterable[int]) -> Action | None:
        """The same for channels and group axis alone, whatever the taps of windows do."""
        numbers = [number for number, dim in enumerate(value.dims) for atom in dim if atom.kind == "fibre"]
        chosen, wanted = [], set(dims)
        for place, number in enumerate(numbers):
            chosen += [place] if number in wanted else []
        found = restrict(value.actions[g], [atom.size for atom in value.fibre_atoms], chosen)
        return None if found is None else found[0]

    def positions(self, value: Value, dims: Iterable[int]) -> list[int]:
        """Which of the atoms of the fibre lie in some dimensions."""
        wanted, found, place = set(dims), [], 0
        for number, dim in enumerate(value.dims):
            for atom in dim:
                if atom.kind in ("fibre", "row taps", "column taps"):
                    if number in wanted:
                        found.append(place)
                    place += 1
        return found

    def declared_action(self, g: int, size: int) -> Action | None:
        """The action that the innermost layer with a field type of this size declares for its output."""
        for layer in reversed(self.stack):
            field = self._field_of(layer.layer)
            if field is not None:
                found = declared_permutation(field, self.group, g, size)
                if found is not None:
                    return found
        return None

    def mixes(self, g: int, size: int) -> bool:
        """Whether the innermost layer with a field type of this size says that g mixes channels by a matrix."""
        stated = (self._field_of(layer.layer) for layer in reversed(self.stack))
        return next((found for field in stated for found in mixes(field, self.group, g, size)), False)

    def assumed(self, g: int, size: int) -> Action:
        """What an output of this size should do under g: what the layer declares, else nothing."""
        found = self.declared_action(g, size)
        return identity(size) if found is None else found

    def closed(self, found: dict[int, Action], inputs: Mapping[int, Action | None]) -> None:
        """Add the products of elements that are found already, where the inputs multiply as the group does."""
        known = {g: action for g, action in inputs.items() if action is not None}
        pairs = [(g, h) for g in found for h in found]
        while pairs:
            g, h = pairs.pop()
            product = self.group.compose(g, h)
            if product == 0 or product in found or product not in known:
                continue
            if np.array_equal(compose(known, g, h), known[product]):
                found[product] = compose(found, g, h)
                pairs += [(product, other) for other in found] + [(other, product) for other in found]

    def reordered(self, value: Value, order: Sequence[int]) -> tuple[dict[int, Action], Action | None]:
        """The actions when the dimensions of a tensor stand in another order, and which entries are alike."""
        numbered, count = [], 0
        for dim in value.dims:
            here = []
            for atom in dim:
                if atom.kind == "fibre":
                    here.append(count)
                    count += 1
            numbered.append(here)
        new = [place for number in order for place in numbered[number]]
        sizes = [atom.size for atom in value.fibre_atoms]
        alike = None if value.alike is None else value.alike.reshape(sizes or (1,)).transpose(new).reshape(-1)
        return {g: reorder(value.actions[g], sizes, new) for g in self.moving}, alike

    # operations

    def next(self) -> int:
        """A number for the operation that comes now."""
        self.serial += 1
        return self.serial

    def new_origin(self) -> int:
        """A number for a tensor that is not a choice of places of the one it is made of."""
        self._origin -= 1
        return self._origin

    def stage(self, value: Value, kind: str) -> int:
        """The number under which operations of one kind commute with those before."""
        return value.stage[1] if value.stage[0] == kind else self.serial

    def apply(
        self,
        value: Value,
        op: str,
        transform: Transform | None,
        *,
        dims: Sequence[Dimension],
        verdict: Verdict | None = None,
        stage: tuple[str, int] | None = None,
        closes: bool = True,
        window: Window | None = None,
        grid_lost: Elements = NONE,
        grid_why: str = "",
        record: bool = True,
        selects: bool = False,
    ) -> Value:
        """What is known of the output of an operation, and the record of it.

        `transform` says what it does to rows and columns; with `closes` the operations since the last judgement are
        judged with it. `verdict` says what it does to the fibre; None if nothing.
        """
        change = transform or (lambda space: space)
        total, local = change(value.total), change(value.local)
        fibre = Verdict(value.actions) if verdict is None else verdict
        fibre = fibre.doubting(value.guessed, grid_lost, moves=fibre.actions is not value.actions)
        grid_lost -= value.guessed
        chain = value.chain
        if record:
            height, width = value.local.size
            fresh = Space(self.expressions.fresh(height), self.expressions.fresh(width))
            layer = self.stack[-1] if self.stack else LayerCall(OUTPUT, 0)
            chain = (*chain, len(self.records))
            self.records.append(
                Record(
                    self.serial, layer.layer, layer.call, self._in_call[layer], op, value.total.size, value.local,
                    local, change(fresh), chain, window or Window(), grid_lost, False, grid_why, fibre.lost,
                    fibre.unknown, fibre.why, guessed=value.grid_unknown,
                )
            )  # fmt: skip
            self._in_call[layer] += 1
        if record and closes:
            height, width = local.size
            local, chain = Space(self.expressions.fresh(height), self.expressions.fresh(width)), ()
        return Value(
            tuple(dims), total, local, dict(fibre.actions), chain, stage or ("", self.serial),
            value.origin if selects else self.serial, value.grid_lost | grid_lost, value.fibre_lost | fibre.lost,
            value.fibre_unknown | fibre.unknown, value.grid_unknown, value.guessed | fibre.guessed,
            first=value.first if any(atom.kind == "tokens" for atom in atoms(dims)) else 0,
            keys=value.keys if any(atom.kind == "keys" for atom in atoms(dims)) else None,
        )  # fmt: skip

    def unknown(self, op: str, sources: Sequence[Value], shapes: Iterable[Sequence[int]], why: str) -> list[Value]:
        """Outputs of an operation that no rule is known for."""
        source = sources[0] if sources else None
        everything = frozenset(self.moving)
        layer = self.stack[-1] if self.stack else LayerCall(OUTPUT, 0)
        space = source.local if source is not None else Space(*(self.expressions.fresh(1),) * 2)
        self.records.append(
            Record(
                self.serial, layer.layer, layer.call, self._in_call[layer], op,
                source.total.size if source is not None else None, space, space, space, (len(self.records),),
                grid_unknown=True, grid_why=why, fibre_unknown=everything,
            )
        )  # fmt: skip
        self._in_call[layer] += 1
        lost = frozenset().union(*(value.grid_lost for value in sources)) if sources else NONE
        broken = frozenset().union(*(value.fibre_lost for value in sources)) if sources else NONE
        return [self._guess(sources, shape).but(grid_lost=lost, fibre_lost=broken) for shape in shapes]

    def _guess(self, sources: Sequence[Value], shape: Sequence[int]) -> Value:
        """A tensor of which nothing is known, laid out as the first source if it has the same shape."""
        found = self.opaque(shape)
        source = sources[0] if sources else None
        if source is None or source.shape != tuple(shape) or source.keys is not None:
            return found
        height, width = source.total.size
        space = Space(self.expressions.fresh(height), self.expressions.fresh(width))
        return found.but(dims=source.dims, total=space, local=space, actions=source.actions, first=source.first)


def graded(matches: Mapping[int, Match]) -> tuple[Elements, Elements]:
    """The elements under which something fails, and those under which it holds to rounding only."""
    lost = frozenset(g for g, match in matches.items() if match == "no")
    rounding = frozenset(g for g, match in matches.items() if match == "rounding")
    return lost, rounding


def replaced(dims: Sequence[Dimension], place: int, new: Dimension) -> tuple[Dimension, ...]:
    """The dimensions with one of them replaced."""
    return (*dims[:place], new, *dims[place + 1 :])


def arguments(function: Any, given: Sequence[Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a torch operation by name, with its defaults."""
    schema = function._schema.arguments
    named = {argument.name: argument.default_value for argument in schema if argument.has_default_value()}
    named |= {argument.name: value for argument, value in zip(schema, given, strict=False)}
    return {**named, **keywords}
