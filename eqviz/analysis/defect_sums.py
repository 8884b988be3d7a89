"""Sums over images of what every layer does to the symmetry, by itself and with all layers before it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from eqviz.capture.layer_probing import Probed, probe_layers
from eqviz.fields.field_types import FieldType
from eqviz.fields.layer_calls import LayerCall
from eqviz.fields.sums import LayerInfo, reduce_orbit
from eqviz.groups.group import Group

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DefectSums:
    """Squared defects of one layer call, summed over images; NaN where they cannot be measured.

    local       (|G|,) sum of |l(rho(g) h) - rho(g) l(h)|^2, with h the layer's input on the upright image; 0 for e
    cumulative  (|G|,) sum of |A_g - A_e|^2, with A_g = rho(g)^-1 Phi(g x)
    upright     sum of |l(h)|^2
    images      how many images are summed
    """

    local: Array
    cumulative: Array
    upright: float
    images: int

    @classmethod
    def of(cls, probed: Probed, order: int) -> "DefectSums":
        """The sums of one batch, under a group of that order."""
        local, alone_norm = _from_upright(probed.alone, order)
        cumulative, orbit_norm = (
            (local, alone_norm) if probed.orbit is probed.alone else _from_upright(probed.orbit, order)
        )
        return cls(local, cumulative, alone_norm if np.isnan(orbit_norm) else orbit_norm, probed.images)

    def __add__(self, other: "DefectSums") -> "DefectSums":
        return DefectSums(
            self.local + other.local,
            self.cumulative + other.cumulative,
            self.upright + other.upright,
            self.images + other.images,
        )

    @property
    def local_energy(self) -> float:
        """Mean over g != e of sum |l(rho(g) h) - rho(g) l(h)|^2 / sum |l(h)|^2; NaN for a dead layer."""
        return self._energy(self.local)

    @property
    def cumulative_energy(self) -> float:
        """Mean over g != e of sum |A_g - A_e|^2 / sum |A_e|^2; NaN for a dead layer."""
        return self._energy(self.cumulative)

    @property
    def dead(self) -> bool:
        """Whether every activation is 0 on all upright images."""
        return self.upright == 0

    def _energy(self, squares: Array) -> float:
        return float(squares[1:].mean() / self.upright) if self.upright else float("nan")


def _from_upright(aligned: Tensor | None, order: int) -> tuple[Array, float]:
    """Squared distances to the upright one by element, and its squared norm, summed over images."""
    if aligned is None:
        return np.full(order, np.nan), float("nan")
    sums = reduce_orbit(aligned).summed()
    return sums.distances[0], float(sums.norms[0])


@dataclass(frozen=True, eq=False)
class MeasuredLayer:
    """One output of one layer call: what it is, the call that gave it, the calls around that one, and its sums.

    `why` says why something could not be measured, or is "".
    """

    info: LayerInfo
    call: LayerCall
    within: tuple[LayerCall, ...]
    sums: DefectSums
    why: str


def measure_defects(
    model: nn.Module,
    images: Any,
    group: Group,
    layers: str | Iterable[str],
    fields: Mapping[str, str | FieldType],
    batch_size: int,
    progress: Callable[[int], None] | None = None,
) -> dict[LayerCall, MeasuredLayer]:
    """The defects of the chosen layers of a model, in its own dtype; arguments as for `eqviz.local_defect`.

    `group` is one on the grid, `progress` is called with the number of images done.
    """
    found: dict[LayerCall, MeasuredLayer] = {}

    def receive(probed: Probed) -> None:
        sums = DefectSums.of(probed, group.order)
        held = found.get(probed.key)
        if held is None:
            found[probed.key] = MeasuredLayer(probed.info, probed.call, probed.within, sums, probed.why)
        else:
            found[probed.key] = replace(held, sums=held.sums + sums, why=held.why or probed.why)

    probe_layers(model, images, group, layers, fields, batch_size, receive, progress)
    return found
