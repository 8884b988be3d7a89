"""An audit as JSON with a stable schema, for programs: numbers as numbers, sizes as [height, width], null for unknown.

The schema is number 1. Keys are only added to it; a change of what is there makes it 2.

    schema      1
    versions    {eqviz, torch, python}
    verdict     exact | approximate | undecided: that of the audit with the highest status
    status      the exit status: 0 exact, 3 approximate, 4 undecided
    audits      one object a network, with
        name, kind (run | model), model, arguments, epoch, alike (other runs of the same network), note
        group, input_size, channels
        verdict, status, exact, grid_exact, fibre_exact (true | false | null), surviving
        notes         lines that say what limits the prediction
        first_fault   {layer, call, index} of the first operation that breaks, or null
        nearest       {part, below, above}: part grid if only the sampling grids are safe there, else exact
        advice        lines
        operations    [{layer, call, index, op, size, kernel, stride, padding, dilation, leftover, grid_exact,
                      fibre_exact, exact (yes | no | unknown), surviving, why}]: the geometry as the table shows it
        layers        [{layer, call, shape, field, field_source, grid_exact, fibre_exact, exact, surviving}]
        sizes         {first, last, part, safe} or null; both ends included
        fix           {kind, size, exact, surviving, first_fault, why} or null
        measurement   {images, source, exact, disagreements, rows: [{weights, layer, call, kind, field,
                      breaking_float32, breaking_float64, exact, surviving, predicted, predicted_surviving, agrees}]}
                      or null
        inferred      [{layer, call, field, defect, next_field, next_defect, margin, decided, why}] or null
"""

import importlib.metadata
import json
import math
import platform
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from eqviz.audit.auditing import Operation
from eqviz.studies.target_audits import Fix, Measurement, SafeSizes, TargetAudit

SCHEMA = 1
STATUS = {"exact": 0, "approximate": 3, "undecided": 4}
"""Exit status of a verdict; 2 stays for what a person got wrong."""

_MEASURED = (
    "weights", "layer", "call", "kind", "field", "breaking_float32", "breaking_float64", "exact", "surviving",
    "predicted", "predicted_surviving", "agrees",
)  # fmt: skip


_INFERRED = ("layer", "call", "field", "defect", "next_field", "next_defect", "margin", "decided", "why")


def worst_status(found: Sequence[TargetAudit]) -> int:
    """The exit status of several audits: the highest of theirs."""
    return max((STATUS[one.verdict] for one in found), default=0)


def audits_as_json(found: Sequence[TargetAudit]) -> str:
    """The audits as one JSON object, indented by two, keys in the order of the schema."""
    status = worst_status(found)
    content = {
        "schema": SCHEMA,
        "versions": {
            "eqviz": importlib.metadata.version("eqviz"),
            "torch": importlib.metadata.version("torch"),
            "python": platform.python_version(),
        },
        "verdict": next(word for word, number in STATUS.items() if number == status),
        "status": status,
        "audits": [_one(one) for one in found],
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=str)


def _one(one: TargetAudit) -> dict[str, Any]:
    audit, target = one.audit, one.target
    return {
        "name": target.name,
        "kind": "model" if target.run is None else "run",
        "model": target.model,
        "arguments": dict(target.arguments),
        "epoch": target.epoch,
        "alike": list(target.alike),
        "note": target.note,
        "group": audit.group.name,
        "input_size": list(audit.input_size),
        "channels": audit.channels,
        "verdict": one.verdict,
        "status": STATUS[one.verdict],
        "exact": audit.exact,
        "grid_exact": audit.grid_exact,
        "fibre_exact": audit.fibre_exact,
        "surviving": audit.surviving.name,
        "notes": list(audit.notes),
        "first_fault": _place(audit.first_fault),
        "nearest": {"part": one.part, "below": _list(one.below), "above": _list(one.above)},
        "advice": list(one.advice),
        "operations": [asdict(operation) for operation in audit.operations],
        "layers": [asdict(layer) for layer in audit.layers],
        "sizes": None if one.sizes is None else _sizes(one.sizes, one.part),
        "fix": None if one.fix is None else _fix(one.fix),
        "measurement": None if one.measured is None else _measurement(one.measured),
        "inferred": None if one.inferred is None else _rows(one.inferred, _INFERRED),
    }


def _place(operation: Operation | None) -> dict[str, Any] | None:
    if operation is None:
        return None
    return {"layer": operation.layer, "call": operation.call, "index": operation.index}


def _list(size: tuple[int, int] | None) -> list[int] | None:
    return None if size is None else list(size)


def _sizes(asked: SafeSizes, part: str) -> dict[str, Any]:
    return {"first": asked.first, "last": asked.last, "part": part, "safe": list(asked.safe)}


def _fix(fix: Fix) -> dict[str, Any]:
    fault = fix.audit.first_fault
    return {
        "kind": fix.kind,
        "size": list(fix.size),
        "exact": fix.audit.exact,
        "surviving": fix.audit.surviving.name,
        "first_fault": _place(fault),
        "why": "" if fault is None else fault.why,
    }


def _measurement(measured: Measurement) -> dict[str, Any]:
    return {
        "images": measured.images,
        "source": measured.source,
        "exact": measured.exact,
        "disagreements": list(measured.disagreements),
        "rows": _rows(measured.table, _MEASURED),
    }


def _rows(table: pd.DataFrame, columns: Sequence[str]) -> list[dict[str, Any]]:
    rows = table.loc[:, list(columns)].astype(object).to_dict(orient="records")
    return [{str(key): _plain(value) for key, value in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    """A cell of a table as JSON has it: numbers, text, and null where there is no number."""
    if isinstance(value, str) or value is None:
        return value
    number = value.item() if hasattr(value, "item") else value
    if isinstance(number, float) and not math.isfinite(number):
        return None
    return number if isinstance(number, int | float) else str(number)
