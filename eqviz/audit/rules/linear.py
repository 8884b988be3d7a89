"""Linear maps with weights: how they act on the fibre, and products of matrices."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from eqviz.audit.actions import Action, Filters, Match, full_action, identity, invariant
from eqviz.audit.interpretation import Interpretation, Verdict
from eqviz.audit.layout import Atom, CannotFollow, Dimension, dimension, extent, kinds, only
from eqviz.audit.values import NONE, Elements, Space, Value
from eqviz.fields.grid_action import act_on_grid
from eqviz.groups.group import Element

Arguments = Mapping[str, Any]

NO_MATCH = "no permutation of its outputs makes up for moving its input: its weights are not shared over the group"
FREE = "its weights are all equal now, but nothing ties them: training can break it"
ROUNDING = (
    "its weights are symmetric only up to float32 rounding, and no field type says that they should be: declare one"
)
STORED = "its filters are symmetric up to the rounding of the stored numbers, as its field type says"
MATRICES = "its field type acts by matrices that mix channels, which is not followed: --verify measures it"
BY_PLACE = "every place in space has a weight of its own in a linear layer on flattened space"
NO_WEIGHTS = "its weights are not known"


def has_values(tensor: Tensor | None) -> bool:
    """Whether the numbers of a constant are at hand."""
    if tensor is None:
        return True
    return type(tensor) in (Tensor, nn.Parameter) and not tensor.is_meta and not tensor.is_complex()


def linear_verdict(
    trace: Interpretation,
    value: Value,
    place: int,
    weight: Tensor,
    bias: Tensor | None,
    groups: int = 1,
    transposed: bool = False,
) -> tuple[Verdict, Dimension]:
    """What a convolution or linear layer on dimension `place` does to the fibre, and its new dimension.

    `weight` is (outputs, inputs / groups, height, width), or (inputs, outputs / groups, height, width) if transposed.
    """
    if transposed:
        inputs, per_group, height, width = weight.shape
        split = weight.reshape(groups, inputs // groups, per_group, height, width).transpose(1, 2)
        weight = split.reshape(groups * per_group, inputs // groups, height, width)
    outputs = int(weight.shape[0])
    outer = [number for number in range(len(value.dims)) if number != place]
    taps_outside = any(atom.kind in _TAPS for number in outer for atom in value.dims[number])
    if taps_outside and kinds(value.dims[place]) & set(_TAPS):
        raise CannotFollow("windows laid out in two dimensions")
    act = trace.fibre_action if taps_outside else trace.action
    inner_actions = {g: act(value, g, [place]) for g in trace.moving}
    outer_actions = {g: act(value, g, outer) for g in trace.moving}
    found = matched(trace, inner_actions, outputs, weight, bias, groups, value.guessed)
    lost, actions = found.lost, {}
    new: Dimension = dimension("fibre", outputs)
    for g in trace.moving:
        rest = outer_actions[g]
        if rest is None:
            lost |= {g}
            rest = identity(_size(value, outer))
        before = [atom for number in range(place) for atom in value.dims[number] if atom.kind == "fibre"]
        actions[g] = _placed(rest, found.actions[g], _size_of(before))
    return replace(found, actions=actions, lost=lost), new


def matched(
    trace: Interpretation,
    on_input: Mapping[int, Action | None],
    outputs: int,
    weight: Tensor,
    bias: Tensor | None,
    groups: int = 1,
    guessed: Elements = NONE,
) -> Verdict:
    """What a linear map does to the fibre: actions on its outputs, and under which elements it fails or may fail.

    `guessed` are elements whose action on the inputs is not known.
    """
    assumed = {g: trace.assumed(g, outputs) for g in trace.moving}
    if not (has_values(weight) and has_values(bias)):
        return Verdict(assumed, NONE, frozenset(trace.moving), NO_WEIGHTS)
    square = weight.shape[-1] == weight.shape[-2]
    first = [(trace.group.elements[g], on_input[g]) for g in trace.generators]
    expected = [(element, own) for element, own in first if own is not None and (square or not element.transposes)]
    filters = Filters(weight.detach().cpu(), groups, expected)
    found: dict[int, Action] = {}
    matches: dict[int, Match] = {}
    rounds, said = False, True  # whether filters fit up to rounding only, and all of these as a field type says
    for g in trace.moving:
        if g in found:
            continue
        own = on_input[g]
        inverse = trace.group.inverse(g)
        if own is None or matches.get(inverse) == "no":
            matches[g] = "no"
            continue
        declared = trace.declared_action(g, outputs)
        candidates = ([declared] if declared is not None else []) + [identity(outputs)]
        action, matches[g] = filters.action(trace.group.elements[g], own, candidates)
        if action is not None and bias is not None:
            numbers = bias.detach().cpu().double().numpy()
            matches[g] = min(matches[g], invariant(numbers, numbers[action]), key=_SEVERITY.index)
        if action is not None and matches[g] != "no":
            rounds = rounds or matches[g] == "rounding"
            said = said and (matches[g] == "yes" or (declared is not None and np.array_equal(action, declared)))
            found[g] = action
            trace.closed(found, on_input)
            matches |= dict.fromkeys(found, matches[g])
    lost = frozenset(g for g, match in matches.items() if match == "no")
    mixing = frozenset(g for g in lost if g in guessed or trace.mixes(g, outputs))
    lost -= mixing
    unknown = mixing | (frozenset(found) if rounds and not said else NONE)
    rounded = (STORED if said else ROUNDING) if rounds else ""
    why = NO_MATCH if lost else (MATRICES if mixing else rounded)
    loose = frozenset(g for g in found if g not in lost)
    moving = weight.shape[-1] * weight.shape[-2] > 1 or any(_moves(on_input[g]) for g in loose)
    if loose and moving and trace.untied(weight):
        unknown, why = unknown | loose, why or FREE
    return Verdict({g: found.get(g, assumed[g]) for g in trace.moving}, lost, unknown, why, guessed=mixing)


_SEVERITY: tuple[Match, ...] = ("no", "rounding", "yes")


def _moves(action: Action | None) -> bool:
    return action is not None and not np.array_equal(action, np.arange(len(action)))


def _size_of(parts: Sequence[Atom]) -> int:
    return int(np.prod([atom.size for atom in parts], dtype=np.int64))


def _size(value: Value, dims: Sequence[int]) -> int:
    return _size_of([atom for number in dims for atom in value.dims[number] if atom.kind == "fibre"])


def _placed(outer: Action, inner: Action, before: int) -> Action:
    """The action on (before, inner, after) from that on (before, after) and that on inner."""
    after = len(outer) // before
    first, last = np.divmod(outer.reshape(before, after), after)
    grid = (first[:, None, :] * len(inner) + inner[None, :, None]) * after + last[:, None, :]
    return np.asarray(grid.reshape(-1))


def contract(trace: Interpretation, value: Value, place: int, weight: Tensor, bias: Tensor | None, op: str) -> Value:
    """Every output is a weighted sum over dimension `place`: a linear layer. `weight` is (outputs, inputs)."""
    dim, outputs = value.dims[place], int(weight.shape[0])
    if "batch" in kinds(dim):
        raise CannotFollow("a product over the images of the batch")
    if {"tokens", "keys"} & kinds(dim):
        raise CannotFollow("weights of their own for every token, of which not all have a place in space")
    spatial = [kind for kind in ("rows", "columns") if kind in kinds(dim)]
    dims = (*value.dims[:place], dimension("fibre", outputs), *value.dims[place + 1 :])
    if not spatial:
        verdict, _ = linear_verdict(trace, value, place, weight[:, :, None, None], bias)
        operation = trace.serial

        def constants(space: Space) -> Space:
            change = trace.expressions.constants
            rows, columns = (
                change(line, lambda _, n: trace.expressions.unknown_constant(operation, n))
                for line in (space.rows, space.columns)
            )
            return Space(rows, columns)

        return trace.apply(value, op, constants, dims=dims, verdict=verdict, closes=False)
    return _contract_space(trace, value, place, weight, bias, op, spatial, dims)


def _contract_space(
    trace: Interpretation,
    value: Value,
    place: int,
    weight: Tensor,
    bias: Tensor | None,
    op: str,
    spatial: Sequence[str],
    dims: tuple[Dimension, ...],
) -> Value:
    """A linear layer on flattened space: every place has a weight of its own."""
    dim, outputs = value.dims[place], int(weight.shape[0])
    outer = [number for number in range(len(value.dims)) if number != place]
    if outputs == extent(dim) and len(spatial) == 2 and only(dim, *_AS_TAPS) and has_values(weight):
        return _among_places(trace, value, place, weight, bias, op)
    if value.has_taps or any(atom.kind == "fibre" for number in outer for atom in value.dims[number]):
        raise CannotFollow("a linear layer on part of space and part of the fibre")
    on_input: dict[int, Action | None] = {}
    for g in trace.moving:
        parts = [Atom(_AS_TAPS.get(atom.kind, atom.kind), atom.size) for atom in dim]  # type: ignore[arg-type]  # a kind
        on_input[g] = full_action(value.actions[g], parts, trace.moves[g])
    found = matched(trace, on_input, outputs, weight[:, :, None, None], bias, guessed=value.guessed)
    shapes_alone = found.lost or (found.unknown if not has_values(weight) else NONE)
    operation = trace.serial

    def change(space: Space) -> Space:
        join = trace.expressions.joined
        rows = join(space.rows, operation) if "rows" in spatial else space.rows
        columns = join(space.columns, operation) if "columns" in spatial else space.columns
        return Space(rows, columns)

    verdict = replace(found, lost=NONE, unknown=found.unknown - shapes_alone, why="" if shapes_alone else found.why)
    return trace.apply(
        value, op, change, dims=dims, verdict=verdict, grid_lost=shapes_alone,
        grid_why=BY_PLACE if shapes_alone else "", closes=len(spatial) == 2,
    )  # fmt: skip


def _among_places(
    trace: Interpretation, value: Value, place: int, weight: Tensor, bias: Tensor | None, op: str
) -> Value:
    """A linear layer from all places to as many, as in a mixer: places again, with weights for every pair."""
    size, dim = tuple(atom.size for atom in value.dims[place]), value.dims[place]
    pairs = weight.detach().cpu().double().reshape(*size, *size)
    alone = pairs.new_zeros(size) if bias is None else bias.detach().cpu().double().reshape(size)
    order = dim[0].kind == "columns"
    lost, rounding = set(), set()
    for g in trace.moving:
        found = [_kept(pairs, trace.group.elements[g], order), _kept(alone, trace.group.elements[g], order)]
        lost |= {g} if "no" in found else set()
        rounding |= {g} if "rounding" in found else set()
    operation = trace.serial

    def change(space: Space) -> Space:
        joined, placed = trace.expressions.joined, trace.expressions.placed
        lines = (
            placed(joined(line, operation).take([0] * len(line)), operation) for line in (space.rows, space.columns)
        )
        return Space(*lines)

    verdict = Verdict(value.actions, NONE, frozenset(rounding - lost), ROUNDING if rounding - lost else "")
    return trace.apply(
        value, op, change, dims=value.dims, verdict=verdict, grid_lost=frozenset(lost),
        grid_why=BY_PLACE if lost else "",
    )  # fmt: skip


def _kept(numbers: Tensor, element: Element, columns_first: bool) -> Match:
    """Whether numbers for every place, or for every pair of places, are the same after the element moved these."""
    moved = numbers
    for axes in [(-2, -1), (0, 1)][: numbers.dim() // 2]:
        turned = moved.movedim(axes, (-1, -2) if columns_first else (-2, -1))
        turned = act_on_grid(turned, element)
        moved = turned.movedim((-1, -2) if columns_first else (-2, -1), axes)
    if moved.shape != numbers.shape:
        return "no"
    return invariant(numbers.numpy().reshape(-1), moved.numpy().reshape(-1))


_TAPS = ("row taps", "column taps")
_AS_TAPS = {"rows": "row taps", "columns": "column taps"}


def addmm(trace: Interpretation, given: Arguments) -> Value:
    """`bias + x @ weight`."""
    if float(given.get("beta", 1)) != 1 or float(given.get("alpha", 1)) != 1 or trace.known(given["self"]):
        raise CannotFollow("a scaled sum of products")
    return _product(trace, given["mat1"], given["mat2"], given["self"])


def mm(trace: Interpretation, given: Arguments) -> Value:
    """A product of two matrices, one of them of weights."""
    return _product(trace, given["self"], given["mat2"], None)


def bmm(trace: Interpretation, given: Arguments) -> Value:
    """A product of stacks of matrices, one of them the same weights for every image."""
    first, second = given["self"], given["mat2"]
    weights = second if trace.known(first) else first
    if not has_values(weights):
        raise CannotFollow("a product with weights that are not known")
    if len(weights) > 1 and not bool((weights == weights[:1]).all()):
        raise CannotFollow("weights of their own for every image or channel")
    value = trace.value(first if trace.known(first) else second)
    place, matrix = (2, weights[0].t()) if trace.known(first) else (1, weights[0])
    return contract(trace, value, place, matrix, None, "matmul")


def _product(trace: Interpretation, first: Tensor, second: Tensor, bias: Tensor | None) -> Value:
    if trace.known(first) and trace.known(second):
        raise CannotFollow("a product of two activations")
    if trace.known(first):
        if bias is not None and bias.dim() != 1:
            raise CannotFollow("a bias that is a matrix")
        return contract(trace, trace.value(first), 1, second.t(), bias, "linear")
    if bias is not None:
        raise CannotFollow("a bias beside weights on the left")
    return contract(trace, trace.value(second), 0, first, None, "matmul")
