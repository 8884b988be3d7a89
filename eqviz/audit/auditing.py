"""`eqviz.audit`: what every operation of a network does to its symmetry, before any image is seen."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd
from torch import nn

from eqviz.audit.expressions import Expressions
from eqviz.audit.judging import Answer, Judgement, judge_output, judge_records, partners, surviving, worded, worst
from eqviz.audit.layer_predictions import Fields, LayerPrediction, StatedFields, predict_layer
from eqviz.audit.reasons import reason
from eqviz.audit.rules.linear import STORED
from eqviz.audit.tracing import Trace, check_traceable, trace_model
from eqviz.audit.values import Record, Snapshot
from eqviz.errors import EqvizError
from eqviz.fields.geometric_tensors import is_steerable_module
from eqviz.fields.layer_calls import OUTPUT
from eqviz.groups.group import Group
from eqviz.groups.group import group as named_group
from eqviz.tables import format_size


@dataclass(frozen=True)
class Operation:
    """One operation that can break a symmetry: a row of the table `audit`.

    `index` numbers the operations within one call of the layer. `grid_exact`, `fibre_exact` and `exact` are yes, no or
    unknown; `surviving` is the subgroup that this operation certainly keeps, and `why` says it in words.
    """

    layer: str
    call: int
    index: int
    op: str
    size: tuple[int, int] | None
    kernel: str
    stride: str
    padding: str
    dilation: str
    leftover: str
    grid_exact: str
    fibre_exact: str
    exact: str
    surviving: str
    why: str


@dataclass(frozen=True)
class Audit:
    """All that is predicted of one network at one input size under one group.

    `exact` is True (a guarantee), False or None (unknown), for the network's output; `grid_exact` the same for the
    sampling grids alone, which shapes decide, and `fibre_exact` for filters and channels, which weights decide.
    `surviving` is the largest subgroup that certainly survives, `first_fault` the first operation that takes away
    something the output lacks. `notes` say what limits the prediction; `path` is equal
    for two sizes at which the same operations ran in one process.
    """

    group: Group
    input_size: tuple[int, int]
    channels: int
    operations: tuple[Operation, ...]
    layers: tuple[LayerPrediction, ...]
    exact: Answer
    grid_exact: Answer
    fibre_exact: Answer
    surviving: Group
    first_fault: Operation | None
    notes: tuple[str, ...] = ()
    path: str = field(default="", compare=False)

    @cached_property
    def _depths(self) -> dict[tuple[str, int], int]:
        return {(layer.layer, layer.call): depth for depth, layer in enumerate(self.layers)}

    def table(self) -> pd.DataFrame:
        """The table `audit` without run keys; `attrs` has group, input_size, exact, grid_exact, fibre_exact, surviving.

        `depth` is the place of the layer in the order in which layers are done.
        """
        rows = [
            {**asdict(op), "size": "" if op.size is None else format_size(op.size), "depth": self._depth(op)}
            for op in self.operations
        ]
        columns = ["layer", "call", "depth", *list(asdict(self.operations[0]))[2:]] if self.operations else _COLUMNS
        table = pd.DataFrame(rows, columns=columns)
        table.attrs.update(self.summary())
        return table

    def _depth(self, op: Operation) -> int:
        own = [depth for (layer, call), depth in self._depths.items() if call == op.call and _same(layer, op.layer)]
        return own[0] if own else len(self._depths)

    def summary(self) -> dict[str, Any]:
        """The verdict in a few plain values."""
        return {
            "group": self.group.name, "input_size": format_size(self.input_size), "exact": self.exact,
            "grid_exact": self.grid_exact, "fibre_exact": self.fibre_exact, "surviving": self.surviving.name,
        }  # fmt: skip

    def layer_table(self) -> pd.DataFrame:
        """One row a layer and call: what is predicted of its output, in order of `depth`."""
        rows = [{**asdict(layer), "depth": depth} for depth, layer in enumerate(self.layers)]
        columns = ["layer", "call", "depth", "field", "field_source", "grid_exact", "fibre_exact", "exact", "surviving"]
        return pd.DataFrame(rows, columns=columns)


_COLUMNS = [
    "layer", "call", "depth", "index", "op", "size", "kernel", "stride", "padding", "dilation", "leftover",
    "grid_exact", "fibre_exact", "exact", "surviving", "why",
]  # fmt: skip


def _same(name: str, layer: str) -> bool:
    return name == layer or name.startswith(f"{layer}[")


def audit(
    model: nn.Module,
    input_size: int | tuple[int, int],
    group: str | Group = "p4",
    *,
    channels: int | None = None,
    fields: Fields | None = None,
) -> pd.DataFrame:
    """The table `audit`: what every operation of one forward pass does to the symmetry, predicted, not measured.

    model       any PyTorch model that takes images (batch, channel, height, width)
    input_size  pixels, or (height, width)
    group       the group whose survival is asked for; of a group off the pixel grid its exact subgroup
    channels    of the image; found from the model's first convolution if None
    fields      globs of layer names to field types, where the model does not declare how the group acts

    One pass is traced on tensors without numbers; nothing is computed but the filters. A row says of one operation
    whether its sampling grid and its filters keep the symmetry. `attrs` of the table hold the verdict on the output:
    `exact`, `grid_exact` and `fibre_exact` (True, False or None) and `surviving`. True is a guarantee, up to rounding;
    False is a prediction, which a later operation may make good; what is not known is None.

    Raises EqvizError for a model that raises at this size, or whose path depends on the numbers in it.
    Source: Edixhoven, Lengyel & van Gemert 2023, section 3.

    >>> table = audit(nn.Sequential(nn.MaxPool2d(2)), 9)
    >>> table[["layer", "op", "leftover", "grid_exact", "surviving"]].values.tolist(), table.attrs["exact"]
    ([['0', 'max_pool2d', '1', 'no', 'C1']], False)
    """
    return examine(model, input_size, group, channels=channels, fields=fields).table()


def examine(
    model: nn.Module,
    input_size: int | tuple[int, int],
    group: str | Group = "p4",
    *,
    channels: int | None = None,
    fields: Fields | None = None,
    values: bool = True,
) -> Audit:
    """The same as an `Audit`, with layers and the first fault. Without `values` shapes alone are looked at."""
    asked = named_group(group)
    G = asked.exact_subgroup
    if G.order == 1 < asked.order:
        raise EqvizError(
            "group", expected="a group with elements that keep the pixel grid", found=asked.name,
            fix="audit C2, C4, D1, D2 or D4, or measure this one with eqviz.capture",
        )  # fmt: skip
    notes = [] if asked == G else [f"{asked} is not on the pixel grid; {G} is audited"]
    size = _checked(input_size)
    check_traceable(model)
    count = image_channels(model) if channels is None else channels
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise EqvizError("channels", expected="1 or more", found=repr(channels), fix="give those of the image")
    field_of = StatedFields(model, fields or {})
    expressions = Expressions()
    upright = trace_model(model, (count, *size), G, expressions, field_of, values=values)
    moved: Trace | None = upright
    if size[0] != size[1] and any(element.transposes for element in G.elements):
        moved, note = _transposed(model, (count, size[1], size[0]), G, expressions, field_of, upright, values)
        notes += note
    return _put_together(G, size, count, upright, moved, field_of, notes)


_LARGEST = 2**16
"""Pixels of a side: the product of all sides must be a number that torch can count with."""


def _checked(input_size: Any) -> tuple[int, int]:
    sides = (input_size, input_size) if isinstance(input_size, int) else input_size
    listed = isinstance(sides, Sequence) and not isinstance(sides, str)
    whole = listed and all(isinstance(n, int) and not isinstance(n, bool) for n in sides)
    if not whole or len(sides) != 2 or min(sides) < 1 or max(sides) > _LARGEST:
        raise EqvizError(
            "input size", expected=f"pixels, 1 to {_LARGEST}, or (height, width)", found=repr(input_size)[:60],
            fix="give 28 or (28, 32)",
        )  # fmt: skip
    return int(sides[0]), int(sides[1])


def _transposed(
    model: nn.Module,
    shape: tuple[int, int, int],
    group: Group,
    expressions: Expressions,
    field_of: StatedFields,
    upright: Trace,
    values: bool,
) -> tuple[Trace | None, list[str]]:
    """The pass on the image with its axes exchanged, if there is one that does the same operations."""
    try:
        moved = trace_model(model, shape, group, expressions, field_of, values=values)
    except EqvizError as error:
        return None, [f"no transposing element can be judged: at {shape[1]}x{shape[2]} {error.found}"]
    if not upright.does_as(moved):
        return moved, [f"no transposing element can be judged: at {shape[1]}x{shape[2]} other operations run"]
    return moved, []


def image_channels(model: nn.Module, otherwise: int = 3) -> int:
    """Channels of the images that a model takes: its `in_channels`, those of its first filter, `otherwise` if none.

    The first module of a steerable library tells them by the type of its input.
    """
    for module in model.modules():
        found = getattr(module, "in_channels", None)
        if isinstance(found, int) and found > 0:
            return found
        if is_steerable_module(module):
            return int(module.in_type.size)  # type: ignore[arg-type]  # of a type of the library
    filters = [p for p in model.parameters() if p.dim() >= 4]
    return int(filters[0].shape[1]) if filters else otherwise


def _put_together(
    group: Group,
    size: tuple[int, int],
    channels: int,
    upright: Trace,
    moved: Trace | None,
    field_of: StatedFields,
    notes: Sequence[str],
) -> Audit:
    comparable = moved is not None and upright.does_as(moved)
    same = (
        partners(upright.records, moved.records) if moved is not None and comparable else [None] * len(upright.records)
    )
    judgements = judge_records(group, upright.records, same)
    operations = tuple(
        _operation(group, record, judgement) for record, judgement in zip(upright.records, judgements, strict=True)
    )
    layers, outputs = [], []
    inner = [snapshot for snapshot in upright.snapshots if not _same(snapshot.layer, OUTPUT)]
    for snapshot in (*inner, *upright.outputs):
        other = _partner(moved, snapshot)
        judgement = judge_output(group, snapshot, other, comparable=comparable)
        prediction, judgement = predict_layer(group, snapshot, judgement, field_of)
        layers.append(prediction)
        if _same(snapshot.layer, OUTPUT):
            outputs.append(judgement)
    grid = worst(answer for judgement in outputs for answer in judgement.grid.values())
    fibre = worst(answer for judgement in outputs for answer in judgement.fibre.values())
    whole = {g: worst(judgement.whole[g] for judgement in outputs) for g in range(1, group.order)}
    if not outputs:
        grid, fibre, whole = None, None, dict.fromkeys(range(1, group.order))
    exact = worst(whole.values())
    fault = None if exact is True else _first_fault(judgements, operations, whole)
    if fault is None and exact is not True:
        fault = _unlike_its_field(layers)
    return Audit(
        group, size, channels, operations, tuple(layers), exact, grid, fibre, surviving(group, whole), fault,
        (*notes, *upright.notes, *_rounded(upright.records)), str(hash(upright.operations)),
    )  # fmt: skip


def _rounded(records: Sequence[Record]) -> list[str]:
    """A note if stored filters are symmetric up to their own rounding, which finer arithmetic does not make smaller."""
    layers = dict.fromkeys(record.layer for record in records if record.fibre_why == STORED)
    if not layers:
        return []
    return [
        f"exact up to the rounding of stored filters in {len(layers)} {'layer' if len(layers) == 1 else 'layers'}: "
        "about 1e-7 of an activation may remain, in float64 too"
    ]


def _partner(moved: Trace | None, snapshot: Snapshot) -> Snapshot | None:
    """The output of the same layer in the other pass."""
    others = () if moved is None else (*moved.outputs, *moved.snapshots)
    return next((other for other in others if other.call_of == snapshot.call_of), None)


def _operation(group: Group, record: Record, judgement: Judgement) -> Operation:
    window = record.window
    grid, fibre = worst(judgement.grid.values()), worst(judgement.fibre.values())
    return Operation(
        record.layer, record.call, record.index, record.op, record.size, window.kernel, window.stride, window.padding,
        window.dilation, window.leftover, worded(grid), worded(fibre), worded(worst((grid, fibre))),
        surviving(group, judgement.whole).name, reason(record, grid, fibre, judgement),
    )  # fmt: skip


def _first_fault(
    judgements: Sequence[Judgement], operations: Sequence[Operation], whole: Mapping[int, Answer]
) -> Operation | None:
    """The first operation that takes away what the output lacks; the first unknown one if nothing is lost for sure."""
    for wanted in (False, None):
        missing = [g for g, answer in whole.items() if answer is wanted]
        for judgement, operation in zip(judgements, operations, strict=True):
            if any(judgement.whole[g] is wanted for g in missing):
                return operation
    return None


def _unlike_its_field(layers: Sequence[LayerPrediction]) -> Operation | None:
    """The output itself as the fault, where it moves in another way than an output of its kind should."""
    wrong = [layer for layer in layers if _same(layer.layer, OUTPUT) and layer.exact != "yes"]
    if not wrong:
        return None
    layer = wrong[0]
    if layer.grid_exact == "unknown":
        why = "not followed: other tensors on the same memory were changed in place; --verify measures it"
    elif not layer.field and layer.exact == "unknown":
        why = "its batch, rows and columns are not in their places, so how it should move is not known"
    elif layer.grid_exact == "no":
        why = "its rows and columns are exchanged, or it is put together of parts that are"
    else:
        why = f"the weights act on its channels by another permutation than {layer.field or 'any field type says'}"
    return Operation(
        layer.layer, layer.call, 0, "output", None, "", "", "", "", "", layer.grid_exact, layer.fibre_exact,
        layer.exact, layer.surviving, why,
    )  # fmt: skip
