"""Sums over an aligned orbit: all that eqviz keeps of a layer's activations.

For every layer the squared norms and pairwise squared distances of its aligned orbit, summed over images, and the sums
of absolute values beside them. They add over batches, shards and machines; every table is algebra on them.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

Array = npt.NDArray[np.float64]
LONGEST_ROW = 1024
"""Entries that are summed in their own dtype; more are summed in float64."""

ENTRIES_IN_CACHE = 2**21
"""Entries, of all elements together, that are reduced in one go on a CPU."""


@dataclass(frozen=True, eq=False)
class OrbitSums:
    """Sums over images, or rows for each image (then every array has a leading batch axis).

    norms        (..., |G|)        sum of |A_g|^2
    distances    (..., |G|, |G|)   sum of |A_g - A_h|^2
    differences  (..., |G|)        sum of the absolute values of A_g - A_e
    magnitude    (...)             sum of the absolute values of A_e
    images       how many images are summed
    """

    norms: Array
    distances: Array
    differences: Array
    magnitude: Array
    images: int

    def __add__(self, other: "OrbitSums") -> "OrbitSums":
        return OrbitSums(
            self.norms + other.norms,
            self.distances + other.distances,
            self.differences + other.differences,
            np.asarray(self.magnitude + other.magnitude),
            self.images + other.images,
        )

    def summed(self) -> "OrbitSums":
        """Rows for each image added up."""
        magnitude = np.asarray(self.magnitude.sum(0))
        return OrbitSums(self.norms.sum(0), self.distances.sum(0), self.differences.sum(0), magnitude, self.images)

    def of_elements(self, positions: list[int]) -> "OrbitSums":
        """The same for some elements only, the identity among them first."""
        pick = np.asarray(positions)
        return OrbitSums(
            self.norms[..., pick],
            self.distances[..., pick[:, None], pick],
            self.differences[..., pick],
            self.magnitude,
            self.images,
        )


def reduce_orbit(aligned: Float[Tensor, "element batch ..."]) -> OrbitSums:
    """Norms, pairwise distances and absolute differences of an aligned orbit, a row for each image.

    Differences are taken before squaring. Sums run in the tensor's own dtype (float32 for shorter ones) over some
    hundred entries at a time, where it is fast and rounding cannot pile up, and in float64 over these and over images.

    >>> sums = reduce_orbit(torch.tensor([[[3.0, 4.0]], [[3.0, 0.0]]]))
    >>> sums.norms, sums.distances[0, 0]
    (array([[25.,  9.]]), array([ 0., 16.]))
    """
    order, batch = aligned.shape[:2]
    values = aligned if aligned.dtype in (torch.float32, torch.float64) else aligned.float()
    rows = values.reshape(order, batch, -1, _row_length(aligned.shape[2:]))
    norms, differences = torch.zeros(2, batch, order, dtype=torch.float64)
    distances = torch.zeros(batch, order, order, dtype=torch.float64)
    magnitude = torch.zeros(batch, dtype=torch.float64)
    for part in torch.split(rows, _rows_at_once(rows), dim=2):
        room = torch.empty_like(part[1:])  # used again for every g: fresh memory costs more than the subtraction
        for g in range(order - 1):
            difference = torch.sub(part[g + 1 :], part[g], out=room[g:])
            distances[:, g, g + 1 :] += _sum_of_squares(difference)
            if g == 0:
                differences[:, 1:] += _sum_of_magnitudes(difference.abs_())
        norms += _sum_of_squares(part)
        magnitude += _sum_of_magnitudes(part[:1].abs())[:, 0]
    distances = distances + distances.mT
    return OrbitSums(norms.numpy(), distances.numpy(), differences.numpy(), magnitude.numpy(), batch)


def _row_length(shape: tuple[int, ...]) -> int:
    """How many entries to sum in one go: the last axes, as many as stay within 1024 entries, but at least one axis."""
    length = 1
    for size in reversed(shape):
        if length > 1 and length * size > LONGEST_ROW:
            break
        length *= size
    return length


def _rows_at_once(rows: Float[Tensor, "element batch row entry"]) -> int:
    """How many rows, at least one, so that they and their differences stay in the cache; on a GPU all of them."""
    order, batch, count, length = rows.shape
    return max(1, ENTRIES_IN_CACHE // (order * batch * length)) if rows.is_cpu else max(1, count)


def _sum_of_squares(rows: Float[Tensor, "element batch row entry"]) -> Float[Tensor, "batch element"]:
    # to the CPU before float64, which MPS does not have
    norms: Tensor = torch.linalg.vector_norm(rows, dim=-1).cpu().double()
    return norms.square().sum(-1).T


def _sum_of_magnitudes(magnitudes: Float[Tensor, "element batch row entry"]) -> Float[Tensor, "batch element"]:
    # a plain sum: on the CPU it is several times as fast as vector_norm(ord=1)
    return magnitudes.sum(-1).cpu().double().sum(-1).T


@dataclass(frozen=True)
class LayerInfo:
    """What a captured layer is.

    depth         place in execution order, from 0
    kind          convolution, pooling, normalisation, activation, dropout, linear, block, output or other
    subsamples    whether its map is coarser than its input's
    field         name of the field type by which it was aligned
    field_source  declared (by the model), given (by the user) or by shape
    values        numbers an image, the size of its activation
    """

    depth: int
    kind: str
    subsamples: bool
    field: str
    field_source: str
    values: int


@dataclass(frozen=True)
class LayerOrbit:
    """One call of one layer: what it is, and the sums over its aligned orbit."""

    info: LayerInfo
    sums: OrbitSums
