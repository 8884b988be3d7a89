"""How orientation-selective a layer is: its fibre content, spread over the irreps of the fibre representation.

The fibre of a regular field at a position is a function on the group: the answer of one filter in all its
orientations. Its part in the trivial irrep is the same in every orientation; the rest tells orientations apart. This
is content, not a defect: an exactly equivariant layer may hold any share of it. How far a layer is from equivariance
is in the spectrum of its aligned orbit.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from eqviz.capture.features import ANALYSED_KINDS
from eqviz.capture.layers import resolve_field
from eqviz.capture.orbit_capture import run_orbit
from eqviz.errors import EqvizError
from eqviz.fields.field_types import FieldType, Regular, Vector
from eqviz.fields.layer_calls import LayerCall, layer_names
from eqviz.fields.orbit import check_fits
from eqviz.fields.steerable import Steerable
from eqviz.fields.sums import LayerInfo
from eqviz.groups.group import Group
from eqviz.groups.group import group as named_group
from eqviz.groups.irreps import Irrep, irreps
from eqviz.tables import LAYER_KEYS, MODEL_KEYS, conform

Matrices = npt.NDArray[np.float64]
FibreField = Regular | Vector | Steerable

_COLUMNS = ("layer", "call", "depth", "kind", "subsamples", "field", "irrep", "energy", "n")


@dataclass(frozen=True, eq=False)
class FibreSums:
    """Squared norms of the isotypic parts of all fibres, (irrep,), summed over positions, channels and images."""

    energies: npt.NDArray[np.float64]
    images: int

    def __add__(self, other: "FibreSums") -> "FibreSums":
        return FibreSums(self.energies + other.energies, self.images + other.images)


def orientation_selectivity(
    model: nn.Module,
    images: Float[Tensor, "image channel height width"],
    group: str | Group = "p4",
    layers: str | Iterable[str] = "*",
    fields: Mapping[str, str | FieldType] | None = None,
    batch_size: int = 64,
    *,
    kinds: Iterable[str] = ANALYSED_KINDS,
    progress: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """The table `orientation_selectivity` without its run keys: fibre energy by irrep, a row a layer call and irrep.

    images   (n, channel, height, width), upright and normalised as the model wants them; one forward pass of each
    group    the group of the fields or a subgroup of it, whose irreps are told apart; nothing is moved
    layers   globs of module paths, of which those of `kinds` are taken

    `energy` is sum |P_r f|^2 / sum |f|^2 over the fibres f of a layer's output, at all positions, channels and images,
    with P_r = d_r / (|G| e_r) sum_g chi_r(g^-1) rho(g) on the group axis: fractions that add to 1. The selectivity of
    a layer is 1 minus the energy of its trivial irrep (A or A1), which comes first. Layers without a group axis
    (images, invariant features) have no rows; NaN for a dead layer.

    Raises EqvizError for a network in which no layer has a group axis, and as `eqviz.capture` does.

    >>> from eqviz.models.registry import build_model
    >>> table = orientation_selectivity(build_model("p4cnn", channels=2), torch.rand(2, 1, 8, 8), layers="conv1, fc")
    >>> table["irrep"].tolist(), round(float(table["energy"].sum()), 6)
    (['A', 'B', 'E'], 1.0)
    """
    G = named_group(group)
    known, given, wanted = layer_names(model), dict(fields or {}), frozenset(kinds)
    sums: dict[LayerCall, FibreSums] = {}
    about: dict[LayerCall, tuple[LayerInfo, FieldType]] = {}

    def receive(key: LayerCall, info: LayerInfo, aligned: Tensor) -> None:
        if info.kind not in wanted:
            return
        output = aligned[0]  # under the trivial group the aligned orbit is the layer's output itself
        if key not in about:
            module = known[key.layer] if key.layer in known else known[key.layer.partition("[")[0]]
            about[key] = info, resolve_field(key.layer, module, tuple(output.shape), given)[0]
        field = about[key][1]
        if isinstance(field, Regular | Vector) or (isinstance(field, Steerable) and not field.still):
            check_fits(field, tuple(output.shape), G.elements)
            found = fibre_energies(output, field, G)
            sums[key] = sums[key] + found if key in sums else found

    def tell(done: int) -> None:
        if progress is not None:
            progress(done / len(images))

    left_out = run_orbit(model, images, named_group("C1"), layers, given, batch_size, False, receive, tell)
    kept = sorted((key for key in sums if key not in left_out), key=lambda key: about[key][0].depth)
    if not kept:
        raise EqvizError(
            "layers", expected="at least one with a group axis", found="none that is declared to have one",
            fix="declare its field type, as in fields={'conv*': 'regular(C4)'}, or leave this network out",
        )  # fmt: skip
    rows = (row for key in kept for row in _rows(key, *about[key], sums[key], G))
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def fibre_energies(features: Float[Tensor, "image ..."], field: FibreField, group: Group) -> FibreSums:
    """Squared norms of the isotypic parts of the fibres of a field `(image, ...)`, in float64.

    >>> field = Regular(named_group("C4"))
    >>> one_orientation = torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
    >>> fibre_energies(one_orientation, field, field.group).energies.round(9).tolist()
    [0.25, 0.25, 0.5]
    """
    columns = fibres(features, field).flatten(1).cpu().double()
    parts = (torch.from_numpy(projector) for projector in fibre_projectors(field, group).values())
    energies = [float(torch.linalg.vector_norm(part @ columns)) ** 2 for part in parts]
    return FibreSums(np.array(energies), len(features))


def fibre_shares(sums: FibreSums) -> npt.NDArray[np.float64]:
    """Fractions of the energy, (irrep,), which add to 1; NaN for a dead layer."""
    total = sums.energies.sum()
    return sums.energies / total if total > 0 else np.full_like(sums.energies, np.nan)


def fibres(features: Float[Tensor, "image ..."], field: FibreField) -> Float[Tensor, "fibre ..."]:
    """The same features with the axis on which rho acts first."""
    if isinstance(field, Vector | Steerable):
        return features.movedim(1, 0)
    order = field.group.order
    axes = (order, -1) if field.group_first else (-1, order)
    split = features.reshape(len(features), *axes, *features.shape[2:]) if field.flattened else features
    return split.movedim(1 if field.group_first else 2, 0)


def fibre_projectors(field: FibreField, group: Group) -> dict[str, Matrices]:
    """P_r = d_r / (|G| e_r) sum_g chi_r(g^-1) rho(g) on the fibre, by the name of the irrep, the trivial one first.

    `group` is that of the field or a subgroup of it, under which more is isotropic.

    >>> field = Regular(named_group("D4"))
    >>> [int(P.trace().round()) for P in fibre_projectors(field, field.group).values()]
    [1, 1, 1, 1, 4]
    """
    matrices = fibre_matrices(field, group)

    def projector(irrep: Irrep) -> Matrices:
        scale = irrep.dimension / (group.order * irrep.endomorphisms)
        character = np.array([irrep.character[group.inverse(g)] for g in range(group.order)])
        return np.asarray(scale * np.einsum("g,gij->ij", character, matrices))

    return {irrep.name: projector(irrep) for irrep in irreps(group)}


def fibre_matrices(field: FibreField, group: Group) -> Matrices:
    """rho(g) on the fibre, (element, fibre, fibre): for a regular field permutations of its group axis."""
    if isinstance(field, Steerable):
        return np.stack([field.fibre_matrix(g) for g in group.elements])
    if isinstance(field, Vector):
        return np.stack([field.matrices[field.group.index(g)] for g in group.elements])
    plain, order = Regular(field.group, reversed=field.reversed), field.group.order
    basis = torch.eye(order, dtype=torch.float64).reshape(order, 1, order)
    # what becomes of the basis vectors are the columns
    return np.stack([plain.act(basis, g).reshape(order, order).T.numpy() for g in group.elements])


def orientation_selectivity_summary(table: pd.DataFrame) -> pd.DataFrame:
    """The table `orientation_selectivity_summary`: mean, lowest and highest energy of every irrep over seeds."""
    by = [*MODEL_KEYS, *LAYER_KEYS, "kind", "subsamples", "irrep"]
    columns = {
        "energy": ("energy", "mean"), "lowest": ("energy", "min"), "highest": ("energy", "max"),
        "n_seeds": ("energy", "count"),
    }  # fmt: skip
    summary = table.groupby(by, sort=False, observed=True, dropna=False).agg(**columns).reset_index()
    return conform(summary, "orientation_selectivity_summary")


def _rows(key: LayerCall, info: LayerInfo, field: FieldType, sums: FibreSums, group: Group) -> list[dict[str, object]]:
    shared = {
        "layer": key.layer, "call": key.call, "depth": info.depth, "kind": info.kind, "subsamples": info.subsamples,
        "field": field.name,
    }  # fmt: skip
    shares = zip(irreps(group), fibre_shares(sums), strict=True)
    return [{**shared, "irrep": irrep.name, "energy": float(share), "n": sums.images} for irrep, share in shares]
