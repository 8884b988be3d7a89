"""What is predicted of the output of every layer, and under which field type."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from torch import nn

from eqviz.audit.actions import Action, full_action, moves
from eqviz.audit.declared_actions import declared_permutation
from eqviz.audit.judging import Answer, Judgement, surviving, worded, worst
from eqviz.audit.layout import CannotFollow, atoms, dimension, kinds, only
from eqviz.audit.values import Snapshot, Value
from eqviz.errors import EqvizError
from eqviz.fields.field_types import FieldType, Regular, Tokens, counts_where_it_fits, field_type
from eqviz.fields.layer_calls import layer_names, matches, near_names
from eqviz.fields.stated_types import stated_if_readable
from eqviz.groups.group import Group
from eqviz.groups.group import group as named_group

Fields = Mapping[str, str | FieldType]


@dataclass(frozen=True)
class LayerPrediction:
    """What is predicted of the output of a layer, everything before it included.

    `field` is the field type it is predicted under and `field_source` where that comes from: given, declared, by
    weights (how they act on the channels) or by shape.
    """

    layer: str
    call: int
    shape: tuple[int, ...]
    field: str
    field_source: str
    grid_exact: str
    fibre_exact: str
    exact: str
    surviving: str


class StatedFields:
    """Which field type a layer has: given for it, by a glob of names, else declared by it, else None.

    Raises EqvizError for a glob that matches no layer.
    """

    def __init__(self, model: nn.Module, fields: Fields) -> None:
        self._names = layer_names(model)
        self._given = {glob: field_type(field) for glob, field in fields.items()}
        for glob in self._given:
            if not any(matches(name, glob) or matches(name, glob.partition("[")[0]) for name in self._names):
                raise EqvizError(
                    "fields", expected="names or globs of layers in the model", found=repr(glob),
                    fix=f"near names are {', '.join(near_names(glob, self._names))}",
                )  # fmt: skip

    @cached_property
    def types(self) -> tuple[FieldType, ...]:
        """The types that are given for layers, or that these declare, each once."""
        found = [*self._given.values(), *(stated_if_readable(name, module) for name, module in self._names.items())]
        return tuple(dict.fromkeys(field for field in found if field is not None))

    def given(self, layer: str, shape: tuple[int, ...] | None = None) -> FieldType | None:
        """The type that was given for this layer; the last glob that matches, and whose type fits the shape, counts."""
        fitting = (
            field for glob, field in reversed(self._given.items())
            if matches(layer, glob) and (layer == glob or shape is None or field.fits(shape))
        )  # fmt: skip
        return next(fitting, None)

    def __call__(self, layer: str, shape: tuple[int, ...] | None = None) -> FieldType | None:
        """The type that was given for this layer, or that it declares, for its output of this shape if it is known."""
        given, module = self.given(layer, shape), self._names.get(layer)
        if given is not None or module is None:
            return given
        own = stated_if_readable(layer, module)
        unfit = own is not None and shape is not None and not own.fits(shape) and counts_where_it_fits(module)
        return None if unfit else own


def predict_layer(
    group: Group, snapshot: Snapshot, judgement: Judgement, field_of: StatedFields
) -> tuple[LayerPrediction, Judgement]:
    """The prediction for the output of a layer, and the judgement with its field type taken into account."""
    name, source = "", ""
    if snapshot.value is not None:
        field, source, fits = _field(group, snapshot, snapshot.value, field_of)
        name = field
        fibre = {
            g: answer if answer is not True or fits[g] is True else fits[g] for g, answer in judgement.fibre.items()
        }
        judgement = Judgement(judgement.grid, fibre)
    grid, fibre_answer = worst(judgement.grid.values()), worst(judgement.fibre.values())
    whole = worst(judgement.whole.values())
    return LayerPrediction(
        snapshot.layer, snapshot.call, snapshot.shape, name, source, worded(grid), worded(fibre_answer), worded(whole),
        surviving(group, judgement.whole).name,
    ), judgement  # fmt: skip


def _field(
    group: Group, snapshot: Snapshot, value: Value, field_of: StatedFields
) -> tuple[str, str, dict[int, Answer]]:
    """The field type that a layer's output is predicted under, its source, and whether the weights act like that."""
    moving = range(1, group.order)
    size = int(np.prod([atom.size for atom in value.fibre_kinds], dtype=np.int64))
    stated, tokens = field_of(snapshot.layer, snapshot.shape), _tokens(value)
    if tokens is not None and (stated is None or stated == tokens):
        source = "by shape" if stated is None else "declared"
        return tokens.name, source, {g: _still(group, value, g, tokens) for g in moving}
    if stated is not None:
        source = "declared" if field_of.given(snapshot.layer, snapshot.shape) is None else "given"
        return stated.name, source, _fitting(group, value, stated, size)
    if not _in_place(value):
        return "", "", dict.fromkeys(moving, None)
    own = [_whole_action(group, value, g) for g in moving]
    still = all(action is not None and np.array_equal(action, np.arange(size)) for action in own)
    space = len(snapshot.shape) >= 4
    plain = "image" if space else "invariant"
    if still:
        known = len(snapshot.shape) in (2, 4)
        return plain if known else "", "by shape" if known else "", dict.fromkeys(moving, True)
    for field in (*_regular_fields(group), *field_of.types):
        if field.fits(snapshot.shape) and all(fit is True for fit in _fitting(group, value, field, size).values()):
            return field.name, "by weights", dict.fromkeys(moving, True)
    if len(snapshot.shape) not in (2, 4):
        return "", "", dict.fromkeys(moving, None)
    kept: dict[int, Answer] = {
        g: None if action is None else bool(np.array_equal(action, np.arange(size)))
        for g, action in zip(moving, own, strict=True)
    }
    return plain, "by shape", kept


def _tokens(value: Value) -> Tokens | None:
    """The type of a sequence of tokens of a map, those without a place first; None for anything else."""
    if len(value.dims) != 3 or not only(value.dims[0], "batch") or not only(value.dims[2], "fibre"):
        return None
    (height, width), count = value.total.size, value.shape[1]
    inner = [atom.kind for atom in value.dims[1]]
    if inner not in (["rows", "columns"], ["tokens"]) or count != value.first + height * width:
        return None
    return Tokens(height, width, value.first)


def _still(group: Group, value: Value, g: int, tokens: Tokens) -> Answer:
    """Whether an element leaves the channels of tokens where they are; None where it cannot act on tokens."""
    still = bool(np.array_equal(value.actions[g], np.arange(len(value.actions[g]))))
    return still if tokens.represents(group.elements[g]) else None


def _regular_fields(group: Group) -> list[Regular]:
    """Regular fields in every layout, of the group itself first and of those on the grid that hold it."""
    larger = [H for H in named_group("D4").subgroups if H.contains_group(group) and group != H]
    return [
        Regular(H, *layout) for H in (group, *larger) for layout in product((True, False), (False, True), (False, True))
    ]


def _in_place(value: Value) -> bool:
    """Whether the batch is the first dimension, and rows and columns the last two of a map and nowhere else."""
    dims = value.dims
    if (dims and not only(dims[0], "batch")) or {"tokens", "keys"} & kinds(atoms(dims)):
        return False
    height, width = value.total.size
    if len(dims) < 4:
        return (height, width) == (1, 1)
    ends = (dimension("rows", height), dimension("columns", width))
    return dims[-2:] == ends and not {"rows", "columns"} & kinds(atoms(dims[:-2]))


def _whole_action(group: Group, value: Value, g: int) -> Action | None:
    """How an element permutes all of the fibre, the taps of windows included; None if that cannot be said."""
    try:
        return full_action(value.actions[g], value.fibre_kinds, moves(group.elements[g]))
    except CannotFollow:
        return None


def _fitting(group: Group, value: Value, field: FieldType, size: int) -> dict[int, Answer]:
    found: dict[int, Answer] = {}
    for g in range(1, group.order):
        stated, own = declared_permutation(field, group, g, size), _whole_action(group, value, g)
        judged = stated is not None and own is not None and _in_place(value)
        found[g] = np.array_equal(np.asarray(stated), np.asarray(own)) if judged else None
    return found
