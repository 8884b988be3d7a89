"""Products of two activations: attention weights, sums of values by these weights, Gram matrices."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from eqviz.audit.actions import Action
from eqviz.audit.expressions import Line
from eqviz.audit.interpretation import Interpretation, Verdict
from eqviz.audit.layout import CannotFollow, Dimension, atoms, dimension, extent, kinds
from eqviz.audit.rules.joins import history
from eqviz.audit.rules.linear import bmm as weights_times
from eqviz.audit.rules.pointwise import APART, with_constants
from eqviz.audit.rules.statistics import softmax_over
from eqviz.audit.rules.views import permuted
from eqviz.audit.values import Elements, Keys, Space, Value

Arguments = Mapping[str, Any]

CAUSAL = "a causal mask gives every position an order"
LEARNED = "attention from learned queries, or to learned keys"
MIXED = "a product of two activations over something else than channels or all positions"


def product(trace: Interpretation, one: Value, other: Value) -> Value:
    """The matrix product of two activations over the last dimension of one and the last but one of the other.

    Positions stay positions: of all pairs of them where both tensors have them (attention weights, whose second axis is
    kept aside as keys), or they are summed over, which no element that keeps the grid can tell.
    """
    one, other = _over_keys(one, -1), _over_keys(other, -2)
    if other.keys is not None and "keys" in kinds(other.dims[-2]):
        turned = product(trace, _exchanged(trace, other), _exchanged(trace, one))
        return _exchanged(trace, turned)
    lead = one.dims[:-2]
    if other.keys is not None or atoms(lead) != atoms(other.dims[:-2]):
        raise CannotFollow(MIXED)
    actions, lost = _contracted(trace, one, other)
    over, onto, kept = one.dims[-1], other.dims[-2], None
    summed = _places(other, -2)
    if one.keys is not None:
        if kinds(over) != {"keys"} or (one.keys.atoms, one.keys.first) != (onto, other.first):
            raise CannotFollow(MIXED)
    elif over != onto or (summed and (_places(one, -2) or _places(other, -1))):
        raise CannotFollow(MIXED)
    elif _places(one, -2) and _places(other, -1):
        kept = Keys(other.dims[-1], other.first, (other.total, other.local))
    last: Dimension = other.dims[-1] if kept is None else dimension("keys", extent(other.dims[-1]))
    merged = one.but(
        stage=("", trace.serial), origin=trace.serial, **history((one, other)), **_lines(trace, one, other)
    )
    verdict = Verdict(actions, lost, why=APART if lost else "")
    found = trace.apply(
        merged, "product", None, dims=(*one.dims[:-1], last), verdict=verdict, closes=summed,
        record=summed or bool(verdict.lost),
    )  # fmt: skip
    mine = kept is not None or "tokens" in kinds(atoms(one.dims[:-1]))
    return found.but(keys=kept, first=one.first if mine else other.first)


def _over_keys(value: Value, place: int) -> Value:
    """Attention weights with their keys in this dimension; places and keys may change roles."""
    keys, own = value.keys, value.dims[place]
    other = -1 if place == -2 else -2
    if keys is None or kinds(own) == {"keys"} or kinds(value.dims[other]) != {"keys"} or not _places(value, place):
        return value
    dims = list(value.dims)
    dims[place], dims[other] = dimension("keys", extent(own)), keys.atoms
    total, local = keys.spaces
    kept = Keys(own, value.first, (value.total, value.local))
    return value.but(dims=tuple(dims), total=total, local=local, first=keys.first, keys=kept)


def _lines(trace: Interpretation, one: Value, other: Value) -> dict[str, Space]:
    """The rows and columns of a product, total and local."""
    found = {}
    for number, name in enumerate(("total", "local")):
        own, theirs = getattr(one, name), getattr(other, name)
        if not _places(other, -2):
            aside = _places(one, -2) and _of_map(other, -1)
            found[name] = own if aside else _paired(trace, own, theirs)
        elif not _of_map(other, -2):  # all taps of a window
            found[name] = _each(_paired(trace, own, theirs), lambda line: trace.expressions.marked(line, trace.serial))
        else:
            summed = _paired(trace, theirs, own if one.keys is None else one.keys.spaces[number])
            summed = _each(summed, lambda line: trace.expressions.gathered(line, trace.serial))
            found[name] = summed if one.keys is None else _paired(trace, own, summed)
    return found


def _of_map(value: Value, place: int) -> bool:
    """Whether a dimension counts all places of a map, which may be one row or one column."""
    found, (height, width) = kinds(value.dims[place]), value.total.size
    return (
        found in ({"rows", "columns"}, {"tokens"})
        or (found == {"rows"} and width == 1)
        or (found == {"columns"} and height == 1)
    )


def _places(value: Value, place: int) -> bool:
    """Whether a dimension counts all places of a map or of a window, and nothing else."""
    found = kinds(value.dims[place])
    whole = _of_map(value, place) or found == {"row taps", "column taps"}
    if not whole and found - {"fibre"}:
        raise CannotFollow(MIXED)
    return whole


def _each(space: Space, change: Callable[[Line], Line]) -> Space:
    return Space(change(space.rows), change(space.columns))


def _paired(trace: Interpretation, one: Space, other: Space) -> Space:
    pair, operation = trace.expressions.paired, trace.serial
    return Space(pair(one.rows, other.rows, operation), pair(one.columns, other.columns, operation))


def _exchanged(trace: Interpretation, value: Value) -> Value:
    count = len(value.dims)
    return permuted(trace, value, [*range(count - 2), count - 1, count - 2])


def _contracted(trace: Interpretation, one: Value, other: Value) -> tuple[dict[int, Action], Elements]:
    """The actions on (lead, rows, columns) of a product, from those on (lead, rows, over) and (lead, over, columns)."""
    lead = _fibre(one.dims[:-2])
    rows, over, columns = (_fibre([dim]) for dim in (one.dims[-2], one.dims[-1], other.dims[-1]))
    if over != _fibre([other.dims[-2]]):
        raise CannotFollow(MIXED)
    actions, lost = {}, set()
    for g in trace.moving:
        a = np.unravel_index(one.actions[g].reshape(lead, rows, over), (lead, rows, over))
        b = np.unravel_index(other.actions[g].reshape(lead, over, columns), (lead, over, columns))
        outer = [(part == part[..., :1]).all() for part in (a[0], a[1])] + [(b[2] == b[2][:, :1]).all()]
        same = (a[0][:, :, 0, None] == b[0][:, 0, None, :]).all() and (b[0] == b[0][:, :1]).all()
        inner = (a[2][:, :, :, None] == b[1][:, None]).all()
        if all(outer) and same and inner:
            source = (a[0][:, :, :1], a[1][:, :, :1], b[2][:, :1].reshape(lead, 1, columns))
            flat = np.ravel_multi_index(np.broadcast_arrays(*source), (lead, rows, columns))
            actions[g] = np.asarray(flat.reshape(-1), dtype=np.int64)
        else:
            lost.add(g)
            actions[g] = trace.assumed(g, lead * rows * columns)
    return actions, frozenset(lost)


def _fibre(dims: Sequence[Dimension]) -> int:
    return math.prod(atom.size for dim in dims for atom in dim if atom.kind == "fibre")


def attention(trace: Interpretation, given: Arguments) -> Value:
    """Attention that torch does as one operation: weights by products, softmax over the keys, sum of the values."""
    names = ("query", "key", "value")
    if given.get("is_causal"):
        raise CannotFollow(CAUSAL)
    if float(given.get("dropout_p") or 0) != 0:
        raise CannotFollow("attention with dropout")
    if not all(trace.known(given[name]) for name in names):
        raise CannotFollow(LEARNED)
    query, key, value = (trace.value(given[name]) for name in names)
    weights = product(trace, query, _exchanged(trace, key))
    mask = given.get("attn_mask", given.get("attn_bias"))
    if mask is not None:
        if trace.known(mask):
            raise CannotFollow("an attention mask made of the image")
        weights = with_constants(trace, weights, [mask], "attention mask")
    weights = softmax_over(trace, weights, len(weights.dims) - 1)
    return product(trace, weights, value)


def bmm(trace: Interpretation, given: Arguments) -> Value:
    """`torch.bmm` of two activations, or of one and weights."""
    one, other = given["self"], given["mat2"]
    if trace.known(one) and trace.known(other):
        return product(trace, trace.value(one), trace.value(other))
    return weights_times(trace, given)


def baddbmm(trace: Interpretation, given: Arguments) -> Value:
    """`bias + a @ b`, with constant numbers as bias."""
    one, other, bias = given["batch1"], given["batch2"], given["self"]
    scaled = float(given.get("beta", 1)) != 1 or float(given.get("alpha", 1)) != 1
    if trace.known(bias) or scaled or not (trace.known(one) and trace.known(other)):
        raise CannotFollow("a scaled sum of products")
    found = product(trace, trace.value(one), trace.value(other))
    return with_constants(trace, found, [bias], "add") if isinstance(bias, Tensor) and bias.numel() > 1 else found
