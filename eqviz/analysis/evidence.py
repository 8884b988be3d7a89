"""The evidence for a verdict: a network measured in float32 and in float64, and what the audit predicts of it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from eqviz.analysis.symmetry import Symmetry, in_both, measure_symmetry
from eqviz.audit.auditing import Audit, examine
from eqviz.capture.orbit_capture import capture, image_batches, require_repeatable
from eqviz.capture.precision import in_float64
from eqviz.errors import EqvizError
from eqviz.fields.field_types import FieldType
from eqviz.fields.layer_calls import matches, placement
from eqviz.fields.module_states import copied
from eqviz.groups.group import Group

Fields = Mapping[str, str | FieldType]


def measure_and_predict(
    model: nn.Module,
    images: Any,
    group: Group,
    layers: str | Iterable[str] = "*",
    fields: Fields | None = None,
    batch_size: int = 64,
    *,
    mask: bool = False,
    progress: Callable[[int], None] | None = None,
) -> tuple[Symmetry, Audit | None, str]:
    """What is measured of a network; its audit, or None and the reason where it cannot be traced.

    Field types that the audit finds by weights are those that the measurement uses. Arguments as in :func:`verdict`.
    """
    require_repeatable(images)
    given = dict(fields or {})
    _, channels, height, width = next(image_batches(images, 1)).shape
    audit, reason = None, ""
    try:
        audit = examine(model, (height, width), group, channels=channels, fields=given)
    except EqvizError as error:
        reason = str(error)
    known = {**by_weights(audit, given), **given}
    return measure(model, images, group, layers, known, batch_size, mask=mask, progress=progress), audit, reason


def by_weights(audit: Audit | None, given: Fields) -> dict[str, str]:
    """Field types that the audit read off the weights, by layer name, where all calls of a layer have the same.

    None for layers whose type was given.
    """
    found: dict[str, set[str]] = {}
    for layer in audit.layers if audit else ():
        if layer.field_source == "by weights" and not any(matches(layer.layer, glob) for glob in given):
            found.setdefault(layer.layer, set()).add(layer.field)
    return {name: fields.pop() for name, fields in found.items() if len(fields) == 1}


def measure(
    model: nn.Module,
    images: Any,
    group: Group,
    layers: str | Iterable[str] = "*",
    fields: Fields | None = None,
    batch_size: int = 64,
    *,
    mask: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Symmetry:
    """As `eqviz.measure_symmetry`, with a first measurement in float32 whatever the model's own dtype is.

    A model that fails in float32 is measured in float64 alone; `single` is then the same as `double`.
    """
    device, dtype = placement(model)
    if dtype == torch.float32:
        return measure_symmetry(model, images, group, layers, fields, batch_size, mask=mask, progress=progress)
    done = 0

    def count(images_done: int) -> None:
        if progress is not None:
            progress(done + images_done)

    double = capture(in_float64(model), images, group, layers, fields, batch_size, mask=mask, progress=count)
    done = double.images
    try:
        coarse = copied(model).to(device, torch.float32)
        single = capture(coarse, images, group, layers, fields, batch_size, mask=mask, progress=count)
    except EqvizError:
        single = double
    return Symmetry(*in_both(single, double), {})
