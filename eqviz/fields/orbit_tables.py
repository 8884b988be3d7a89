"""From orbit sums to tidy rows: one function a table, algebra only.

Every function works on sums over images (one row a layer) and on sums kept for each image (one row a layer and image,
with a column `image`). Values are ratios of sums (pooled) in the first case, ratios of each image in the second.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eqviz.fields.exactness import exact_by_fall, first_look
from eqviz.fields.layer_calls import LayerCall
from eqviz.fields.measures import (
    breaking_fraction,
    cosines,
    isotypic_energies,
    over_group,
    ratio,
    relative_errors,
    subgroup_residual,
)
from eqviz.fields.sums import LayerOrbit, OrbitSums
from eqviz.groups.group import Group
from eqviz.groups.irreps import irreps

Layers = Mapping[LayerCall, LayerOrbit]
Array = npt.NDArray[np.float64]
DEAD = "dead: every activation is 0, or so small that its square is, so there is no ratio"
NOT_FINITE = "not finite: some activations, or their squares, are NaN or infinite"


def equivariance_rows(group: Group, layers: Layers) -> pd.DataFrame:
    """Breaking fraction, relative L2 error, cosine and L1 of every layer, over the group.

    breaking_fraction  sum_g |D_g|^2 / sum_g |A_g|^2, in [0, 1]
    relative_error     root mean square over g != e of |A_g - A_e| / |A_e|
    cosine             mean over g != e of the cosine between A_g and A_e
    l1                 sum over g != e of the mean absolute difference (Edixhoven et al. 2023), on the activations'
    scale relative_l1        mean over g != e of sum |A_g - A_e| / sum |A_e|

    A group with interpolated elements gives two rows a layer: `grid` True over its exact elements, `grid` False with
    the errors over the interpolated ones and the breaking fraction of the whole group.
    """
    exact = list(group.members(group.exact_subgroup))
    interpolated = [g for g in range(group.order) if g not in exact]
    parts = []
    for key, layer in layers.items():
        parts.append(_equivariance(key, layer, exact, exact, grid=True))
        if interpolated:
            parts.append(_equivariance(key, layer, [0, *interpolated], list(range(group.order)), grid=False))
    return _join(parts)


def _equivariance(
    key: LayerCall, layer: LayerOrbit, errors: list[int], whole: list[int], *, grid: bool
) -> pd.DataFrame:
    part, orbit = layer.sums.of_elements(errors), layer.sums.of_elements(whole)
    absolute, relative = _l1(part, layer.info.values)
    return _rows(
        key, layer, kind=layer.info.kind, subsamples=layer.info.subsamples, field=layer.info.field,
        field_source=layer.info.field_source, grid=grid,
        breaking_fraction=breaking_fraction(orbit.norms, orbit.distances),
        relative_error=over_group(relative_errors(part.norms, part.distances), squares=True),
        cosine=over_group(cosines(part.norms, part.distances)),
        l1=absolute[..., 1:].sum(-1), relative_l1=over_group(relative),
        note=_note(orbit.norms.sum(-1)),
    )  # fmt: skip


def _note(energy: npt.ArrayLike) -> npt.NDArray[Any]:
    return np.where(energy == 0, DEAD, np.where(np.isfinite(energy), "", NOT_FINITE))


def _l1(sums: OrbitSums, values: int) -> tuple[Array, Array]:
    """Mean absolute difference to the upright image, and relative to the sum of absolute values; (..., |G|) each."""
    images = 1 if sums.norms.ndim > 1 else sums.images
    return sums.differences / (images * values), ratio(sums.differences, sums.magnitude[..., None])


def element_rows(group: Group, layers: Layers) -> pd.DataFrame:
    """Relative L2 error, cosine and L1 of every layer for every element other than the identity."""
    parts = []
    for key, layer in layers.items():
        errors = relative_errors(layer.sums.norms, layer.sums.distances)
        angles = cosines(layer.sums.norms, layer.sums.distances)
        absolute, relative = _l1(layer.sums, layer.info.values)
        parts += [
            _rows(
                key, layer, element=str(element), grid=element.on_grid, relative_error=errors[..., g],
                cosine=angles[..., g], l1=absolute[..., g], relative_l1=relative[..., g],
            )
            for g, element in enumerate(group.elements)
            if g > 0
        ]  # fmt: skip
    return _join(parts)


def spectrum_rows(group: Group, layers: Layers, epsilon: float) -> pd.DataFrame:
    """Energy fraction of every irrep in every layer; over the irreps they add to 1, the non-trivial ones to b."""
    parts = []
    for key, layer in layers.items():
        energies = isotypic_energies(group, layer.sums.norms, layer.sums.distances, epsilon=epsilon)
        parts += [_rows(key, layer, irrep=r.name, energy=energies[..., i]) for i, r in enumerate(irreps(group))]
    return _join(parts)


def subgroup_rows(group: Group, layers: Layers, epsilon: float, double: Layers | None = None) -> pd.DataFrame:
    """Residual of every subgroup in every layer, and whether it survives.

    With `double`, the same images in float64, a subgroup survives if its residual falls as rounding does (NA where
    undecided). Without, by :func:`eqviz.fields.exactness.first_look` (NA where it cannot tell).
    """
    parts = []
    for key, layer in layers.items():
        for H in group.subgroups:
            residual = subgroup_residual(group, H, layer.sums.norms, layer.sums.distances)
            if double is None:
                survives = _screened(residual, epsilon)
            else:
                twin = double[key].sums
                survives = _by_fall(residual, subgroup_residual(group, H, twin.norms, twin.distances))
            parts.append(_rows(key, layer, subgroup=H.name, residual=residual, survives=survives))
    table = _join(parts)
    return table.astype({"survives": "boolean"}) if len(table) else table


def _screened(residual: Array, epsilon: float) -> list[bool | None]:
    return [first_look(float(value), epsilon) for value in np.atleast_1d(residual)]


def _by_fall(single: Array, double: Array) -> list[bool | None]:
    answers = {"yes": True, "no": False, "undecided": None}
    pairs = zip(np.atleast_1d(single), np.atleast_1d(double), strict=True)
    return [answers[exact_by_fall(float(low), float(high))] for low, high in pairs]


def _rows(key: LayerCall, layer: LayerOrbit, **columns: object) -> pd.DataFrame:
    """One row, or one for each image, with the layer's keys first and the number of images last but for notes."""
    each_image = layer.sums.norms.ndim > 1
    images = layer.sums.images
    keys: dict[str, object] = {"layer": key.layer, "call": key.call, "depth": layer.info.depth}
    if each_image:
        keys["image"] = np.arange(images)
    values = {
        name: np.atleast_1d(column) if isinstance(column, np.ndarray) else column for name, column in columns.items()
    }
    note = {"note": values.pop("note")} if "note" in values else {}
    rows = 1 if not each_image else images
    return pd.DataFrame({**keys, **values, "n": 1 if each_image else images, **note}, index=range(rows))


def _join(parts: list[pd.DataFrame]) -> pd.DataFrame:
    if not parts:
        return pd.DataFrame(columns=["layer", "call", "depth"])
    table = pd.concat(parts, ignore_index=True)
    order = dict.fromkeys(table["layer"])
    table["layer"] = pd.Categorical(table["layer"], categories=list(order), ordered=True)
    return table
