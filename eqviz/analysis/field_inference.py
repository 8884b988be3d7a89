"""Field types by evidence: how the group acts on layers that do not declare it.

Every way in which the group could act on a layer's output is tried, and the one that leaves no local defect but
rounding is taken: on a fresh copy, at an input size where the sampling grids fit, so that neither training nor a
misfitting size hides what the architecture means. Where none does, or several do, nothing is guessed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from eqviz.analysis.twins import fresh_copy
from eqviz.audit.auditing import examine, image_channels
from eqviz.audit.sizes import nearest_sizes
from eqviz.capture.layers import layer_kind, select_layers
from eqviz.capture.local_defect import LayerDefects, layer_defects
from eqviz.capture.orbit_capture import image_batches
from eqviz.errors import EqvizError
from eqviz.fields.exactness import exact_by_fall
from eqviz.fields.field_types import FieldType, Image, Invariant, Regular, field_type, square_tokens
from eqviz.fields.layer_calls import matches
from eqviz.fields.stated_types import stated_if_readable
from eqviz.groups.group import Group
from eqviz.groups.group import group as named_group

IMAGES = 4
"""How many images are tried: random ones agree with no wrong field type by chance."""

REACH = 32
"""How many pixels away a safe size is looked for: enough for five strides of 2, whose sizes are 32 apart."""

COLUMNS = (
    "layer", "call", "depth", "kind", "field", "defect", "next_field", "next_defect", "margin", "decided", "evidence",
    "why",
)  # fmt: skip


def infer_fields(
    model: nn.Module,
    images_or_size: Any,
    group: str | Group = "p4",
    fields: Mapping[str, str | FieldType] | None = None,
    *,
    channels: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """The field types of the layers of `model` that declare none, by the defect that each candidate leaves.

    images_or_size  images (n, channel, height, width), or an input size n or (n, n) for random ones
    group           the group that acts; candidates are those types on which all its elements act
    fields          globs to field types, for layers that are known
    channels        of the images, where only a size is given; else those of the model's first convolution
    seed            of the fresh weights and of random images

    One row for every output of every call of such a layer:

    field         the type that was found, or "" where the evidence does not decide
    defect        its local defect (of the best candidate, where none is chosen): |l(rho(g) h) - rho(g) l(h)| / |l(h)|,
                  root mean square over generators g of the group, in float64
    next_field    the runner-up; `next_defect` its defect; `margin` = next_defect / defect, inf where defect is 0
    decided       whether the defect is rounding (it falls from float32 to float64 as only rounding does) and that of
                  every other candidate is not
    evidence      local, or orbit: the whole network up to the layer was fed the transformed images, because a tensor
                  that goes into the layer is of no known type. A block that gives out the very tensor of a layer
                  within it has that layer's numbers
    why           the reason in words

    Candidates are image (invariant for tensors without space) and regular(K) for every K that contains the group:
    flattened or not, the axis counted either way round, before or after the channels; and the tokens of a square grid,
    without or with a class token. Candidates that act alike on a
    tensor count as the first of them. `.attrs`: `group`, `input_size` (a safe one near by, if the given one is not),
    `weights` (fresh, or given where some module cannot be reset). :func:`fields_from` makes of it what
    `eqviz.capture(fields=...)` takes.

    Raises EqvizError for a group off the grid, sizes that are not square, or a model that fails.

    >>> table = infer_fields(nn.Sequential(nn.ReLU(), nn.Conv2d(1, 2, 3)), 8, "C4", channels=1)
    >>> table[["layer", "field", "decided"]].values.tolist()[:2]
    [['0', 'image', True], ['1', '', False]]
    """
    G = named_group(group)
    if not G.on_grid:
        raise EqvizError(
            "group", expected="a subgroup of D4, which keeps the pixel grid", found=G.name,
            fix=f"use {G.exact_subgroup}, its largest subgroup on the grid",
        )  # fmt: skip
    given = dict(fields or {})
    size, channels, images = _asked(images_or_size, image_channels(model) if channels is None else channels)
    network, weights = fresh_copy(model, seed)
    safe = _safe_size(network, size, G, channels, given)
    if images is None or safe != size:
        images = torch.randn(IMAGES, channels, safe, safe, generator=torch.Generator().manual_seed(seed))
    rows: list[dict[str, object]] = []
    chosen = select_layers(network, "*")

    def choose(found: LayerDefects) -> FieldType | None:
        row, field = _decision(found)
        layer = chosen.get(found.key.layer) or chosen[found.key.layer.partition("[")[0]]
        rows.append({"kind": layer_kind(found.key.layer, layer), **row})
        return field

    layer_defects(network, images, G, chosen, _known(given), lambda shape: candidates(shape, G), choose)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["layer"] = pd.Categorical(table["layer"], list(dict.fromkeys(table["layer"])), ordered=True)
    table.attrs = {"group": G.name, "input_size": safe, "weights": weights}
    return table


def fields_from(table: pd.DataFrame) -> dict[str, str]:
    """What :func:`infer_fields` decided, as `eqviz.capture(fields=...)` takes it: layer names to field types.

    Left out are layers of which some call is undecided, or whose calls differ.

    >>> fields_from(pd.DataFrame({"layer": ["a", "b"], "field": ["image", ""], "decided": [True, False]}))
    {'a': 'image'}
    """
    found: dict[str, set[str]] = {}
    for layer, field, decided in table[["layer", "field", "decided"]].itertuples(index=False):
        found.setdefault(str(layer), set()).add(str(field) if decided else "")
    return {layer: fields.pop() for layer, fields in found.items() if len(fields) == 1 and "" not in fields}


def candidates(shape: tuple[int, ...], group: Group) -> tuple[FieldType, ...]:
    """Field types that a tensor of this shape (batch first) could have under `group`, the simplest first.

    Of those that move its entries alike (such as both directions of an axis of length 2) only the first is kept.

    >>> [str(field) for field in candidates((2, 3, 4, 5, 5), named_group("C4"))]
    ['image', 'regular(C4)', 'regular(C4, reversed)']
    """
    space = 2 if len(shape) in (2, 4) else 3
    return _distinct((1, *shape[1:space], *(min(length, 2) for length in shape[space:])), group)


@lru_cache(maxsize=256)
def _distinct(shape: tuple[int, ...], group: Group) -> tuple[FieldType, ...]:
    """The candidates for a tensor of this shape that differ in how some element moves its entries."""
    entries = torch.arange(math.prod(shape)).reshape(shape)
    found: dict[tuple[tuple[int, ...], ...], FieldType] = {}
    for field in (*_possible(len(shape), group), *square_tokens(shape)):
        if field.fits(shape):
            moved = (field.act(entries, element).flatten() for element in group.elements)
            found.setdefault(tuple(tuple(part.tolist()) for part in moved), field)
    return tuple(found.values())


def _possible(axes: int, group: Group) -> list[FieldType]:
    if not 2 <= axes <= 5:
        return []
    flattened, trivial = axes in (2, 4), Image() if axes >= 4 else Invariant()
    fibres = [K for K in named_group("D4").subgroups if K.contains_group(group)]
    options = [(first, back) for first in (False, True) for back in (False, True)]
    return [trivial, *(Regular(K, flattened, back, first) for K in fibres for first, back in options)]


def _decision(found: LayerDefects) -> tuple[dict[str, object], FieldType | None]:
    """The row of one output, and its field type if the evidence decides."""
    ranked = sorted(found.double, key=lambda field: found.double[field])  # stable: of equals, the simplest first
    answers = {field: exact_by_fall(found.single[field], found.double[field]) for field in ranked}
    defects = [math.sqrt(found.double[field]) for field in ranked[:2]] + [float("nan")] * 2
    reach = [field.name for field in ranked if answers[field] != "no"]
    chosen = ranked[0] if ranked and answers[ranked[0]] == "yes" and len(reach) == 1 else None
    row: dict[str, object] = {
        "layer": found.key.layer, "call": found.key.call, "depth": found.depth, "field": str(chosen or ""),
        "defect": defects[0], "next_field": str(ranked[1]) if len(ranked) > 1 else "", "next_defect": defects[1],
        "margin": _margin(*defects[:2]), "decided": chosen is not None, "evidence": found.evidence,
    }  # fmt: skip
    return {**row, "why": _why(found, ranked, reach, chosen)}, chosen


def _margin(defect: float, runner_up: float) -> float:
    if defect:
        return runner_up / defect
    return math.inf if runner_up > 0 else float("nan")


def _why(found: LayerDefects, ranked: Sequence[FieldType], reach: Sequence[str], chosen: FieldType | None) -> str:
    if not ranked:
        return f"no field type is known for activations of shape {found.shape}"
    if any(map(math.isnan, found.double.values())):
        return "dead: every activation is 0, so nothing tells the candidates apart"
    alone = "" if found.evidence == "local" else "; judged with all layers before it, whose types are not all known"
    if chosen is not None:
        return f"only {chosen} leaves no defect but rounding{alone}"
    if len(reach) > 1:
        return f"{', '.join(reach)} all leave no more than rounding: nothing tells them apart{alone}"
    least = math.sqrt(found.double[ranked[0]])
    if reach:
        return f"{reach[0]} leaves {least:.1e}, which is neither rounding nor clearly more{alone}"
    return f"no candidate fits: {ranked[0]} leaves the least, {least:.1e}, and that is no rounding{alone}"


def _asked(images_or_size: Any, channels: int) -> tuple[int, int, Tensor | None]:
    """The size, the channels, and the first images if any were given."""
    images: Tensor | None = None
    if isinstance(images_or_size, int):
        height = width = images_or_size
    elif isinstance(images_or_size, tuple) and [type(length) for length in images_or_size] == [int, int]:
        height, width = images_or_size
    else:
        images = next(image_batches(images_or_size, IMAGES)).cpu()
        channels, height, width = images.shape[1:]
    if height != width or height < 1:
        raise EqvizError(
            "input size", expected="a square one, on which every candidate acts", found=f"{height} x {width}",
            fix="give square images, or declare the field types",
        )  # fmt: skip
    return height, channels, images


def _safe_size(model: nn.Module, size: int, group: Group, channels: int, fields: Mapping[str, str | FieldType]) -> int:
    """The nearest size at which all sampling grids fit; the given one where none is known.

    Sizes of less than half are no evidence: at one pixel every candidate fits.
    """
    try:
        audit = examine(model, size, group, channels=channels, fields=fields)
    except EqvizError as error:
        if error.about == "fields":
            raise
        return size  # it cannot be traced; if it cannot run either, running it will say so
    if audit.grid_exact:
        return size
    near = nearest_sizes(model, size, group, part="grid", channels=channels, fields=fields, reach=REACH)
    return min(
        (found for found in near if found is not None and 2 * found > size),
        key=lambda found: abs(found - size),
        default=size,
    )


def _known(fields: Mapping[str, str | FieldType]) -> Callable[[str, nn.Module], FieldType | None]:
    """The field type that was given for a layer, or that it declares."""

    def known(name: str, module: nn.Module) -> FieldType | None:
        given = next((field for glob, field in reversed(list(fields.items())) if matches(name, glob)), None)
        return stated_if_readable(name, module) if given is None else field_type(given)

    return known
