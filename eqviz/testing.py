"""Assertions for your own test suite: is this network equivariant, and if not, which layer breaks it and why?

    from eqviz.testing import assert_equivariant

    def test_my_network():
        assert_equivariant(MyNetwork(), (3, 33, 33), group="p4")

No tolerance is chosen: rounding falls from float32 to float64, a break does not.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
import torch
from torch import nn

from eqviz.analysis.evidence import measure_and_predict
from eqviz.analysis.twins import seeded
from eqviz.analysis.verdicts import verdict_table
from eqviz.audit.auditing import Audit, Operation
from eqviz.audit.sizes import Part, nearest_sizes
from eqviz.errors import EqvizError
from eqviz.fields.exactness import screening_floor
from eqviz.fields.field_types import FieldType
from eqviz.fields.layer_calls import OUTPUT
from eqviz.groups.group import Group
from eqviz.groups.group import group as named_group
from eqviz.tables import format_size

IMAGES = 32
"""Random images where a shape is given: with 2 a misfitting layer looks exact by luck in a third of trials."""


def assert_equivariant(
    model: nn.Module,
    images_or_shape: Any,
    group: str | Group = "p4",
    fields: Mapping[str, str | FieldType] | None = None,
    *,
    batch_size: int = 64,
    seed: int = 0,
) -> None:
    """Assert that what `model` returns is equivariant under `group`, exactly but for rounding.

    images_or_shape  images (n, channel, height, width), 16 or more, normalised as the model wants them; or a shape
                     (channel, height, width) or (n, channel, height, width), for normally distributed ones (32, or n)
    fields           globs of layer names to field types, where the model declares none; undeclared maps
                     (n, channel, height, width) count as images, and (n, feature) as invariant
    batch_size       images in one forward pass, the elements of the group included
    seed             of the random images

    The network runs in evaluation mode, in float32 and in float64, under the elements of the group that keep the pixel
    grid; it is equivariant if the breaking of every tensor it returns falls as only rounding does (integers are not
    looked at). A model that fails in float32 is judged in float64 alone. It is left as it was, and so is torch's random
    state.

    Raises AssertionError that names the numbers, the first broken layer, the operation at fault and why, what survives
    and the nearest safe input sizes; also where the evidence decides neither way. Raises EqvizError for arguments that
    cannot be used, a model that fails, and outputs whose field type is not known.

    >>> assert_equivariant(nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()), (1, 8, 8))
    >>> assert_equivariant(nn.Conv2d(1, 2, 3), (1, 8, 8))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    AssertionError: not equivariant under C4: (output) breaks...
    """
    __tracebackhide__ = True  # pytest shows the line of the test
    measured = named_group(group).exact_subgroup
    images = _images(images_or_shape, seed)
    with seeded(model, seed):
        symmetry, audit, reason = measure_and_predict(model, images, measured, "*", fields, batch_size)
    skipped = {name: why for name, why in symmetry.double.skipped.items() if name.startswith(OUTPUT)}
    missing = next((why for why in skipped.values() if "not floating point" not in why), None)
    table = verdict_table(symmetry, audit)
    outputs = table[table["layer"].astype(str).str.startswith(OUTPUT)]
    if missing is not None or not len(outputs):
        raise EqvizError(
            OUTPUT, expected="tensors of known field type", found=missing or "no tensor that can be measured",
            fix="say how the group acts on what the model returns, as in fields={'(output)': 'invariant'}",
        )  # fmt: skip
    failing = outputs[outputs["exact"] != "yes"]
    if not len(failing):
        return
    broken = failing[failing["exact"] == "no"]
    lines = [_headline(measured, broken if len(broken) else failing), *_measured(table, failing)]
    if len(broken) and broken["breaking_float64"].max() < screening_floor(2.0**-23):
        lines.append(_TINY)
    raise AssertionError("\n".join([*lines, *_explained(model, audit, reason, fields)]))


_TINY = (
    "  a break this small often comes from weights that were made symmetric in float32, which rounds: "
    "make them so in float64 and convert them"
)


def _images(images_or_shape: Any, seed: int) -> Any:
    """The images, or random ones of that shape."""
    if not isinstance(images_or_shape, tuple | torch.Size) or any(not isinstance(n, int) for n in images_or_shape):
        return images_or_shape
    shape = tuple(images_or_shape) if len(images_or_shape) == 4 else (IMAGES, *images_or_shape)
    if len(shape) != 4 or min(shape) < 1:
        raise EqvizError(
            "images_or_shape", expected="images, or a shape (channel, height, width) or (n, channel, height, width)",
            found=f"{tuple(images_or_shape)}", fix="give the shape of one image, such as (3, 33, 33)",
        )  # fmt: skip
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _headline(group: Group, failing: pd.DataFrame) -> str:
    names = ", ".join(failing["layer"].astype(str))
    if failing["exact"].eq("no").all():
        return f"not equivariant under {group}: {names} {'breaks' if len(failing) == 1 else 'break'}"
    return (
        f"undecided whether equivariant under {group}: the breaking of {names} falls from float32 to float64 "
        "by more than a break does and by less than rounding does, or there is nothing to measure"
    )


def _measured(table: pd.DataFrame, failing: pd.DataFrame) -> list[str]:
    """What was measured of the outputs that fail and of the first layer that breaks."""
    lines = [f"  measured: {_numbers(row)}" for row in failing.to_dict("records")]
    broken = table[table["exact"] == "no"]
    if len(broken):
        lines.append(f"  first broken layer: {_numbers(broken.sort_values('depth').iloc[0].to_dict())}")
    return lines


def _numbers(row: Mapping[Any, Any]) -> str:
    call = f" (call {row['call']})" if row["call"] else ""
    single = "not run" if pd.isna(row["breaking_float32"]) else f"{row['breaking_float32']:.1e}"
    fraction = f"breaking fraction {single} in float32, {row['breaking_float64']:.1e} in float64"
    if pd.isna(row["breaking_float64"]):
        fraction = "no breaking fraction, as every activation is 0 or some are not finite"
    kept = f"{row['surviving']} survives" if row["surviving"] else "what survives is undecided"
    return f"{row['layer']}{call}, {fraction}; {kept}; taken as {row['field']} ({row['field_source']})"


def _explained(
    model: nn.Module, audit: Audit | None, reason: str, fields: Mapping[str, str | FieldType] | None
) -> list[str]:
    """What the audit knows of the cause, and where it would not be."""
    if audit is None:
        return [f"  cause: not known, the audit could not follow the network ({reason})"]
    fault = audit.first_fault
    if fault is None:
        return ["  cause: not known, the audit finds no fault; check the field types, or report this"]
    return [f"  operation at fault: {_operation(fault)}", f"  {_sizes(model, audit, fields)}"]


def _operation(fault: Operation) -> str:
    call = f" (call {fault.call})" if fault.call else ""
    usual = {"kernel": "", "stride": "1", "padding": "0", "dilation": "1"}
    values = {name: getattr(fault, name) for name in usual}
    settings = [f"{name} {value}" for name, value in values.items() if value not in ("", usual[name])]
    on = f" on {fault.size[0]} x {fault.size[1]}" if fault.size else ""
    return f"{fault.layer}{call}, {' '.join([fault.op, ', '.join(settings)]).strip()}{on}: {fault.why}"


def _sizes(model: nn.Module, audit: Audit, fields: Mapping[str, str | FieldType] | None) -> str:
    """The nearest input sizes at which the network would be exact, or its sampling grids at least."""
    if audit.grid_exact:
        return "no other input size would help: the sampling grids fit at this one"
    height, width = audit.input_size
    claims: dict[Part, str] = {"exact": "safe input sizes", "grid": "input sizes at which the sampling grids fit"}
    for part, claim in claims.items():
        keywords = {"part": part, "channels": audit.channels, "fields": fields, "known": audit}
        near: Iterable[int | tuple[int, int] | None]
        if height == width:
            near = nearest_sizes(model, height, audit.group, **keywords)  # type: ignore[arg-type]  # by their names
        else:
            near = nearest_sizes(model, (height, width), audit.group, **keywords)  # type: ignore[arg-type]  # the same
        found = [str(format_size(safe) if isinstance(safe, tuple) else safe) for safe in near if safe is not None]
        if found:
            return f"nearest {claim}: {' and '.join(found)}"
    return "no input size near by is safe"
