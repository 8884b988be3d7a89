"""How far a network is from equivariant under small rotations, shifts and scalings: Lie derivatives, layer by layer."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import Tensor, nn

from eqviz.capture.dual_pass import LayerDerivatives, run_duals
from eqviz.capture.features import ANALYSED_KINDS
from eqviz.capture.orbit_capture import image_batches, require_repeatable
from eqviz.errors import EqvizError
from eqviz.fields.field_types import FieldType
from eqviz.fields.generators import UNITS
from eqviz.fields.layer_calls import LayerCall
from eqviz.fields.orbit_tables import DEAD, NOT_FINITE
from eqviz.fields.sums import LayerInfo
from eqviz.groups.group import Group
from eqviz.groups.group import group as named_group
from eqviz.tables import LAYER_KEYS, MODEL_KEYS, RUN_KEYS, columns, concatenate

Array = npt.NDArray[np.float64]

LIE_KINDS = (*ANALYSED_KINDS, "activation")
"""Kinds of layers that are looked at: pointwise nonlinearities alias, which breaks continuous symmetries."""


@dataclass(frozen=True, eq=False)
class LieSums:
    """Sums over images of the squared norms of one layer call; all but the first for each transformation.

    features     |Phi(x)|^2
    change       |DPhi(x)[X x]|^2
    expected     |X Phi(x)|^2
    error        |L|^2, L = DPhi(x)[X x] - X Phi(x)
    edge         |L|^2 on the outermost rows and columns of the map; NaN for a layer without a map
    coarse       |L - L'|^2, L' being L with spatial derivatives of order 2
    local        |L_l|^2 of the layer l alone, L_l = Dl(h)[X h] - X l(h); NaN where it was not measured
    local_coarse |L_l - L_l'|^2
    images       how many images are summed
    edge_pixels  the fraction of the pixels of its map that are outermost
    """

    features: float
    change: Array
    expected: Array
    error: Array
    edge: Array
    coarse: Array
    local: Array
    local_coarse: Array
    images: int
    edge_pixels: float

    def __add__(self, other: "LieSums") -> "LieSums":
        return LieSums(
            self.features + other.features, self.change + other.change, self.expected + other.expected,
            self.error + other.error, self.edge + other.edge, self.coarse + other.coarse, self.local + other.local,
            self.local_coarse + other.local_coarse, self.images + other.images, self.edge_pixels,
        )  # fmt: skip


def lie_sums(found: LayerDerivatives) -> LieSums:
    """The sums of one batch; differences are taken before squaring, sums run in float64."""
    error = found.moved - found.expected
    unknown = np.full(len(error[0]), np.nan)
    local = None if found.alone is None else found.alone - found.expected
    return LieSums(
        features=float(_energies(found.features[None])[0]),
        change=_energies(found.moved[0]),
        expected=_energies(found.expected[0]),
        error=_energies(error[0]),
        edge=_energies(error[0]) - _energies(error[0][..., 1:-1, 1:-1]) if found.mapped else unknown,
        coarse=_energies(error[0] - error[1]),
        local=unknown if local is None else _energies(local[0]),
        local_coarse=unknown if local is None else _energies(local[0] - local[1]),
        images=len(found.features),
        edge_pixels=_edge_pixels(*found.features.shape[-2:]) if found.mapped else float("nan"),
    )


def _edge_pixels(height: int, width: int) -> float:
    return 1 - max(0, height - 2) * max(0, width - 2) / (height * width)


def _energies(parts: Tensor) -> Array:
    """The squared norm of each item of the first axis, in float64."""
    return np.asarray(parts.cpu().double().flatten(1).square().sum(1).numpy())


def lie_errors(sums: LieSums) -> dict[str, Array]:
    """The columns of the table `lie_derivative` that are ratios of sums, one entry a transformation.

    All but `edge_share`, a fraction of the error, are relative to the features: sqrt(sum |..|^2 / sum |Phi|^2). NaN for
    a dead layer.
    """
    named = {
        "lie_error": sums.error, "change": sums.change, "expected": sums.expected, "local_error": sums.local,
        "floor": sums.coarse, "local_floor": sums.local_coarse,
    }  # fmt: skip
    relative = {name: np.sqrt(energy / (sums.features or np.nan)) for name, energy in named.items()}
    return {**relative, "edge_share": np.clip(sums.edge / np.where(sums.error > 0, sums.error, np.nan), 0, 1)}


def lie_derivative(
    model: nn.Module,
    images: Any,
    group: str | Group = "p4",
    layers: str | Iterable[str] = "*",
    fields: Mapping[str, str | FieldType] | None = None,
    batch_size: int = 64,
    *,
    transformations: Sequence[str] = tuple(UNITS),
    kinds: Iterable[str] = LIE_KINDS,
    fade: bool = False,
    progress: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """The table `lie_derivative` without its run keys: the local equivariance error of every layer and transformation.

    A one-parameter group T_t moves the images, and its representation rho(t) the features of a layer Phi. The Lie
    derivative is how fast they come apart,

        L Phi(x) = d/dt at t = 0 of rho(-t) Phi(T_t x) = DPhi(x)[X x] - X Phi(x),

    with the generators X of :func:`eqviz.fields.generators.generate`; a layer is equivariant under the continuous group
    exactly when it is 0. DPhi(x)[X x] is exact, by forward-mode differentiation. Derivatives of images and maps are
    central differences of order 4. Columns:

    transformation  rotation, translation x, translation y, scale; `unit` is that of t: radian, pixel (of the input
                    image, in every layer) or log scale
    lie_error       sqrt(sum |L Phi|^2 / sum |Phi|^2) over images: how much of the layer breaks, by unit of t
    change          the same of DPhi(x)[X x]: how much the features change at all
    expected        the same of X Phi(x): how much those of an equivariant layer would
    local_error     the same of the layer l alone on its actual input h, Dl(h)[X h] - X l(h); NaN where it takes several
                    tensors or the type of its input is not known, `note` says so. Where maxima tie, as in a pool of
                    zeros next to an edge, a derivative is not unique: it is that of the first of them
    floor           the same of the difference to L with derivatives of order 2 in place of 4: an error no larger may be
                    all due to the central differences, which where maps are not resolved cost more than the floor
                    says; local_floor: the same of the layer alone
    edge_share      fraction of sum |L Phi|^2 on the outermost rows and columns of the map, which are `edge_pixels` of
                    its pixels: more than that where padding is to blame
    n               how many images

    For a field over a group with a fibre a rotation turns the fibre too; as the group is finite, by trigonometric
    interpolation between its elements (:func:`eqviz.fields.generators.fibre_generator`). Even an exact p4 network has
    an error under *continuous* rotation. Maps are turned about their own centre, and what lies beyond their edge is
    not looked at: images need not be black there, but convolutions pad with zeros, and that is in the error. With
    `fade` the images vanish smoothly towards the edge of the inscribed disc, which leaves the padding nothing to see.

    Other arguments as in `eqviz.capture`; elements of the group must act on every field. `batch_size` images go through
    the network at once, an image counting once for each of two orders and each transformation. `kinds` of layers are
    looked at. `progress` is told the fraction of images done. Raises EqvizError as `eqviz.capture` does, for an unknown
    transformation, and for a model with an operation that has no forward-mode derivative.

    Source: Gruver, Finzi, Goldblum & Wilson 2023, The Lie derivative for measuring learned equivariance (ICLR); there
    the mean square by output dimension, here relative to the features.

    >>> import torch
    >>> found = lie_derivative(nn.Sequential(nn.Conv2d(1, 2, 1)), torch.rand(2, 1, 8, 8), layers="0")
    >>> found["unit"].tolist(), bool(found["lie_error"].max() < 1e-5)  # kernels of one pixel: nothing to break
    (['radian', 'pixel', 'pixel', 'log scale'], True)
    """
    names = _known(transformations)
    require_repeatable(images)
    total = sum(len(batch) for batch in image_batches(images, 1 << 30)) if progress is not None else 0
    sums: dict[LayerCall, LieSums] = {}
    about: dict[LayerCall, tuple[LayerInfo, str]] = {}

    def receive(key: LayerCall, info: LayerInfo, found: LayerDerivatives) -> None:
        about.setdefault(key, (info, found.note))
        part = lie_sums(found)
        sums[key] = sums[key] + part if key in sums else part

    def tell(done: int) -> None:
        if progress is not None:
            progress(done / total)

    G = named_group(group).exact_subgroup
    run_duals(model, images, G, layers, dict(fields or {}), batch_size, names, kinds, fade, receive, tell)
    if not sums:
        raise EqvizError(
            "layers", expected=f"at least one layer of kind {', '.join(kinds)} whose field type is known", found="none",
            fix="declare field types for these layers, or choose others",
        )  # fmt: skip
    rows = [row for key in sums for row in _rows(key, *about[key], sums[key], names)]
    own = [column for column in columns("lie_derivative") if column not in RUN_KEYS]
    return pd.DataFrame(rows)[own].sort_values("depth", kind="stable", ignore_index=True)


def _known(transformations: Sequence[str]) -> tuple[str, ...]:
    names = (transformations,) if isinstance(transformations, str) else tuple(dict.fromkeys(transformations))
    unknown = [name for name in names if name not in UNITS]
    if unknown or not names:
        raise EqvizError(
            "transformations", expected=f"some of {', '.join(UNITS)}", found=", ".join(map(repr, unknown)) or "none",
            fix="choose among these",
        )  # fmt: skip
    return names


def _rows(
    key: LayerCall, info: LayerInfo, note: str, sums: LieSums, transformations: Sequence[str]
) -> list[dict[str, object]]:
    if not sums.features or not np.isfinite(sums.features):
        note = NOT_FINITE if sums.features else DEAD
    errors = lie_errors(sums)
    return [
        {
            **key._asdict(), "depth": info.depth, "kind": info.kind, "subsamples": info.subsamples,
            "field": info.field, "transformation": name, "unit": UNITS[name],
            **{column: float(values[place]) for column, values in errors.items()}, "edge_pixels": sums.edge_pixels,
            "note": note, "n": sums.images,
        }
        for place, name in enumerate(transformations)
    ]  # fmt: skip


def lie_derivative_summary(table: pd.DataFrame) -> pd.DataFrame:
    """The table `lie_derivative_summary`: mean, lowest and highest errors over seeds, and the largest floors.

    `n_seeds` counts the runs whose layer has an error: a dead one has none.
    """
    by = [*MODEL_KEYS, *LAYER_KEYS, "kind", "subsamples", "transformation", "unit"]
    grouped = table.groupby(by, sort=False, observed=True, dropna=False)
    summary = grouped.agg(
        lie_error=("lie_error", "mean"), lowest=("lie_error", "min"), highest=("lie_error", "max"),
        change=("change", "mean"), expected=("expected", "mean"), floor=("floor", "max"),
        edge_share=("edge_share", "mean"), edge_pixels=("edge_pixels", "mean"),
        local_error=("local_error", "mean"), local_lowest=("local_error", "min"),
        local_highest=("local_error", "max"), local_floor=("local_floor", "max"), n_seeds=("lie_error", "count"),
    )  # fmt: skip
    return concatenate([summary.reset_index()], "lie_derivative_summary")
