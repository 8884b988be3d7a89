"""The symmetry of one network, layer by layer: orbit statistics in float32 and float64, and the rounding floor."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from torch import nn

from eqviz.capture.orbit_capture import capture, image_batches, require_repeatable
from eqviz.capture.precision import in_float64, rounding_energy
from eqviz.fields.field_types import FieldType
from eqviz.fields.layer_calls import LayerCall
from eqviz.fields.statistics import OrbitStatistics
from eqviz.groups.group import Group

FLOOR_IMAGES = 16


@dataclass(frozen=True)
class Symmetry:
    """What is measured of one network: `single` in its own dtype, `double` in float64 on the same images.

    `rounding` is the energy of the rounding error of each layer, |Phi - Phi_64|^2 / |Phi_64|^2.
    """

    single: OrbitStatistics
    double: OrbitStatistics
    rounding: Mapping[LayerCall, float]

    def equivariance(self) -> pd.DataFrame:
        """The table `equivariance`, with `floor`: the breaking fraction that rounding alone gives in that layer.

        Rounding errors of energy r would give the breaking fraction r (1 - 1/|G|) if they were independent over the
        orbit; they are correlated, so exact layers lie somewhat below it. G is the group whose breaking fraction the
        row has: its exact subgroup where `grid`. NaN for a float64 network.
        """
        table = self.single.equivariance()
        G = self.single.group
        share = {True: 1 - 1 / G.exact_subgroup.order, False: 1 - 1 / G.order}
        rows = zip(table["layer"], table["call"], table["grid"], strict=True)
        known = {} if self.single.dtype == "float64" else self.rounding
        floor = [share[bool(grid)] * known.get(LayerCall(layer, call), float("nan")) for layer, call, grid in rows]
        return table.assign(floor=floor)

    def equivariance_elements(self) -> pd.DataFrame:
        """The table `equivariance_elements`."""
        return self.single.equivariance_elements()

    def spectrum(self) -> pd.DataFrame:
        """The table `spectrum`."""
        return self.single.spectrum()

    def subgroups(self) -> pd.DataFrame:
        """The table `subgroups`; a subgroup survives if its residual falls from float32 to float64 as rounding does."""
        return self.single.subgroups(double=self.double)

    def skipped_layers(self) -> pd.DataFrame:
        """The table `skipped_layers`: layers that were asked for and are in no other table, and why."""
        skipped = {**self.double.skipped, **self.single.skipped}
        return pd.DataFrame({"layer": list(skipped), "reason": list(skipped.values())}, dtype=str)


def measure_symmetry(
    model: nn.Module,
    images: Any,
    group: str | Group = "p4",
    layers: str | Iterable[str] = "*",
    fields: Mapping[str, str | FieldType] | None = None,
    batch_size: int = 64,
    *,
    mask: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Symmetry:
    """Capture a network's orbit statistics in its own dtype and in float64, and its rounding floor on a few images.

    Arguments as in `eqviz.capture`; `images` are gone through three times and must be the same each time: a tensor, an
    array, or a DataLoader without random augmentation. Costs about four times a capture in float32 alone. `progress`
    is called with the number of images done, over both passes.

    >>> import torch
    >>> found = measure_symmetry(nn.Sequential(nn.Conv2d(1, 2, 3)), torch.rand(2, 1, 8, 8), "C4")
    >>> found.subgroups().query("layer == '0'")["survives"].tolist()
    [True, False, False]
    """
    require_repeatable(images)
    done = 0

    def second(images_done: int) -> None:
        if progress is not None:
            progress(done + images_done)

    single = capture(model, images, group, layers, fields, batch_size, mask=mask, progress=second)
    done = single.images
    double = capture(in_float64(model), images, group, layers, fields, batch_size, mask=mask, progress=second)
    few = next(image_batches(images, FLOOR_IMAGES))
    return Symmetry(*in_both(single, double), rounding_energy(model, few, layers, batch_size))


def in_both(single: OrbitStatistics, double: OrbitStatistics) -> tuple[OrbitStatistics, OrbitStatistics]:
    """Both with the layers that both have; what one of them lacks is among the skipped layers of both, with the reason.

    A network may do other things in float64, such as give out something that is no number.
    """
    skipped = {**double.skipped, **single.skipped, **_only_there(double, single), **_only_there(single, double)}
    first, second = (
        replace(mine, layers={key: mine.layers[key] for key in mine.layers if key in other.layers}, skipped=skipped)
        for mine, other in ((single, double), (double, single))
    )
    return first, second


def _only_there(mine: OrbitStatistics, other: OrbitStatistics) -> dict[str, str]:
    """The layers that were measured here alone, and why they were not there."""
    missing = [key for key in mine.layers if key not in other.layers]
    return {
        key.layer: f"measured in {mine.dtype} alone; in {other.dtype}: {other.skipped.get(key.layer, 'it did not run')}"
        for key in missing
    }
