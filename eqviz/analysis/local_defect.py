"""Who breaks the symmetry? The local defect of every layer: what the layer itself does to it, on its actual input.

    |l(rho(g) h) - rho(g) l(h)| / |l(h)|,    h: the layer's input on the upright image, whatever happened before it

It is zero for every exact layer, also deep inside a broken network, so the layers that break stand out. The cumulative
error of the same layer, |rho(g)^-1 Phi(g x) - Phi(x)| / |Phi(x)|, holds all that happened before it too.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from torch import nn

from eqviz.analysis.defect_sums import DefectSums, MeasuredLayer, measure_defects
from eqviz.capture.orbit_capture import image_batches, require_repeatable
from eqviz.capture.precision import in_float64
from eqviz.errors import EqvizError
from eqviz.fields.exactness import Verdict, exact_by_fall
from eqviz.fields.field_types import FieldType, field_type
from eqviz.fields.layer_calls import OUTPUT, LayerCall
from eqviz.groups.group import Group
from eqviz.groups.group import group as named_group
from eqviz.tables import RUN_KEYS, columns


def local_defect(
    model: nn.Module,
    images: Any,
    group: str | Group = "p4",
    layers: str | Iterable[str] = "*",
    fields: Mapping[str, str | FieldType] | None = None,
    batch_size: int = 64,
    *,
    progress: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """What every layer itself does to the symmetry, and which layers are to blame: the table `local_defect`.

    Arguments as in `eqviz.capture`, with `images` that can be gone through twice: the model runs in its own dtype and
    in float64, and every layer once more by itself. Elements that interpolate are left out: the group is its exact
    subgroup. `progress` is called with the fraction done. One row a layer call, without run keys:

    field, field_source  how the group acts on the output: given, declared, kept (of its input, by norms, activations
                         and dropouts), within (of the operation within that gave this tensor), or by shape
    local_error          sqrt(mean over g != e of sum |l(rho(g) h) - rho(g) l(h)|^2 / sum |l(h)|^2), sums over images,
                         in the model's own dtype; `local_error_float64` in float64
    cumulative_error     the same of the aligned orbit A_g = rho(g)^-1 Phi(g x): sum |A_g - A_e|^2 / sum |A_e|^2
    exact                whether the layer alone is: yes if local_error falls from float32 to float64 as only rounding
                         does, no, or undecided (also where it cannot be measured)
    rank                 1 for the culprit with the largest local_error, missing for layers that are none. Culprits are
                         layers that are not exact and have no culprit within them; never the model as a whole
    share                local_error^2 as a fraction of its sum over all culprits; NaN for other layers
    note                 why something could not be measured, or where the defect of a block comes from
    n                    number of images

    A block counts as a culprit only where its defect is not that of a layer within it: then it comes from operations
    of its own, such as a functional pool. The local error of `(output)` is its cumulative one. Both are NaN for a dead
    layer. A layer is measured alone only if the field types of all tensors that go in are known; results of functional
    pointwise operations have the type of what went in.

    Source: equivariance of a layer as in Lenc & Vedaldi, CVPR 2015; as a local defect our own definition.

    Raises EqvizError as `eqviz.capture` does, for an iterator, and for a group with no element on the grid but e.

    >>> import torch
    >>> model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(2), nn.Conv2d(1, 1, 1))
    >>> local_defect(model, torch.rand(8, 1, 5, 5), "C4")[["layer", "exact", "rank"]].values.tolist()
    [['0', 'yes', <NA>], ['1', 'no', 1], ['2', 'yes', <NA>], ['(output)', 'no', <NA>]]
    """
    G = _on_grid(group)
    require_repeatable(images)
    total = sum(len(batch) for batch in image_batches(images, 1 << 30))
    given = {glob: field_type(field) for glob, field in (fields or {}).items()}

    def told(before: float) -> Callable[[int], None]:
        return lambda done: None if progress is None else progress(before + done / (2 * total))

    single = measure_defects(model, images, G, layers, given, batch_size, told(0.0))
    double = measure_defects(in_float64(model), images, G, layers, given, batch_size, told(0.5))
    return defect_table({key: LayerDefect.of(layer, double[key].sums) for key, layer in single.items()})


def _on_grid(group: str | Group) -> Group:
    G = named_group(group).exact_subgroup
    if G.order == 1:
        raise EqvizError(
            "group", expected="one with an element on the pixel grid besides the identity", found=str(group),
            fix="choose C2, C4, a group with reflections, or one that contains these",
        )  # fmt: skip
    return G


@dataclass(frozen=True, eq=False)
class LayerDefect:
    """A layer call as it was measured in the model's own dtype (`layer`) and in float64 (`double`)."""

    layer: MeasuredLayer
    double: DefectSums
    exact: Verdict

    @classmethod
    def of(cls, layer: MeasuredLayer, double: DefectSums) -> "LayerDefect":
        """With the verdict, by how far the local defect falls."""
        return cls(layer, double, exact_by_fall(layer.sums.local_energy, double.local_energy))


def culprits(defects: Mapping[LayerCall, LayerDefect]) -> list[LayerCall]:
    """The layers to blame, the largest local defect first: not exact, and no layer within them is to blame.

    The model as a whole is never among them.
    """
    broken = {key: defect for key, defect in defects.items() if defect.exact == "no"}
    around = {call for defect in broken.values() for call in defect.layer.within}
    to_blame = [
        key for key, defect in broken.items() if not key.layer.startswith(OUTPUT) and defect.layer.call not in around
    ]  # fmt: skip
    return sorted(to_blame, key=lambda key: -defects[key].layer.sums.local_energy)


def defect_table(defects: Mapping[LayerCall, LayerDefect]) -> pd.DataFrame:
    """The table `local_defect` without its run keys, from what was measured of every layer call."""
    blamed = culprits(defects)
    together = sum(defects[key].layer.sums.local_energy for key in blamed)
    rows = []
    for key, defect in defects.items():
        layer, energy = defect.layer, defect.layer.sums.local_energy
        info = layer.info
        rows.append({
            "layer": key.layer, "call": key.call, "depth": info.depth, "kind": info.kind,
            "subsamples": info.subsamples, "field": info.field, "field_source": info.field_source,
            "local_error": math.sqrt(energy), "local_error_float64": math.sqrt(defect.double.local_energy),
            "cumulative_error": math.sqrt(layer.sums.cumulative_energy), "exact": defect.exact,
            "rank": blamed.index(key) + 1 if key in blamed else None,
            "share": energy / together if key in blamed else float("nan"),
            "note": _note(key, defects, blamed), "n": layer.sums.images,
        })  # fmt: skip
    table = pd.DataFrame(rows, columns=[name for name in columns("local_defect") if name not in RUN_KEYS])
    return table.astype({"rank": "Int64"}).sort_values("depth", kind="stable", ignore_index=True)


def _note(key: LayerCall, defects: Mapping[LayerCall, LayerDefect], blamed: list[LayerCall]) -> str:
    defect = defects[key]
    if defect.layer.why:
        return defect.layer.why
    if defect.layer.sums.dead:
        return "dead: every activation on the upright images is 0"
    whole = key.layer.startswith(OUTPUT)
    inner = [other for other, layer in defects.items() if defect.layer.call in layer.layer.within]
    if defect.exact != "no" or not inner or (blamed if whole else key not in blamed):
        return ""
    open_ones = [other.layer for other in inner if defects[other].exact == "undecided"]
    if open_ones:
        return f"breaks by an operation of its own or by a layer that is undecided: {', '.join(open_ones[:3])}"
    return "breaks by an operation of its own: every layer within it is exact"
