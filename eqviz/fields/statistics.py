"""Orbit statistics of a network: additive, savable, and every table of the symmetry analysis follows from them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from eqviz.errors import EqvizError
from eqviz.fields import orbit_tables
from eqviz.fields.layer_calls import LayerCall
from eqviz.fields.samples import SampleFile
from eqviz.fields.sums import LayerInfo, LayerOrbit, OrbitSums
from eqviz.groups.group import Group, group

FORMAT = 1


@dataclass(frozen=True, eq=False)
class OrbitStatistics:
    """Orbit statistics of the captured layers of one network under one group.

    Made by `eqviz.capture`. Statistics of the same network on other images add up: `a + b`. `skipped` are layers that
    were asked for and could not be measured, with the reason. `samples` is where rows for each image were put, if
    they were asked for.
    """

    group: Group
    dtype: str
    device: str
    mask: bool
    layers: Mapping[LayerCall, LayerOrbit]
    skipped: Mapping[str, str] = field(default_factory=dict)
    samples: SampleFile | None = field(default=None, compare=False)

    @property
    def epsilon(self) -> float:
        """Machine epsilon of the dtype that the network ran in."""
        return float(torch.finfo(getattr(torch, self.dtype)).eps)

    @property
    def images(self) -> int:
        """How many images went in."""
        return max((layer.sums.images for layer in self.layers.values()), default=0)

    def equivariance(self, *, per_sample: bool = False) -> pd.DataFrame:
        """How far each layer is from equivariant, over the group; columns in `orbit_tables.equivariance_rows`.

        One row a layer (ratios of sums over images), or one a layer and image with `per_sample`.
        """
        return orbit_tables.equivariance_rows(self.group, self._layers(per_sample))

    def equivariance_elements(self, *, per_sample: bool = False) -> pd.DataFrame:
        """The same errors for each element other than the identity."""
        return orbit_tables.element_rows(self.group, self._layers(per_sample))

    def spectrum(self, *, per_sample: bool = False) -> pd.DataFrame:
        """In which way each layer breaks the symmetry: energy fraction of every irrep, which add to 1."""
        return orbit_tables.spectrum_rows(self.group, self._layers(per_sample), self.epsilon)

    def subgroups(self, *, per_sample: bool = False, double: "OrbitStatistics | None" = None) -> pd.DataFrame:
        """Which part of the symmetry survives: residual of every subgroup, and whether it is zero but for rounding.

        `double` are statistics of the same images in float64; with them the decision is by how far the residual
        falls. Without them it is a first look at its size, NA where that cannot tell; `eqviz.measure_symmetry`
        measures both and decides.
        """
        twin = None if double is None else double._layers(per_sample)
        return orbit_tables.subgroup_rows(self.group, self._layers(per_sample), self.epsilon, twin)

    def _layers(self, per_sample: bool) -> Mapping[LayerCall, LayerOrbit]:
        if not per_sample:
            return self.layers
        if self.samples is None:
            raise EqvizError(
                "per_sample", expected="statistics captured with per_sample=True", found="sums over images only",
                fix="capture again with per_sample=True",
            )  # fmt: skip
        sums = self.samples.read(self.group.order)
        return {key: LayerOrbit(layer.info, sums[key]) for key, layer in self.layers.items()}

    def __add__(self, other: "OrbitStatistics") -> "OrbitStatistics":
        """Statistics of all images of both. Rows for each image are not carried over."""
        if self._identity() != other._identity():
            raise EqvizError(
                "orbit statistics", expected="the same layers, group, mask and dtype on both sides of +",
                found="statistics that differ in these", fix="add only captures of one network under one group",
            )  # fmt: skip
        layers = {key: LayerOrbit(mine.info, mine.sums + other.layers[key].sums) for key, mine in self.layers.items()}
        return replace(self, layers=layers, samples=None)

    def _identity(self) -> tuple[object, ...]:
        return self.group, self.dtype, self.mask, {key: layer.info for key, layer in self.layers.items()}

    def to_json(self) -> str:
        """As text; float64 sums come back bit for bit."""
        layers = [
            {"layer": key.layer, "call": key.call, "info": asdict(layer.info), "sums": _lists(layer.sums)}
            for key, layer in self.layers.items()
        ]
        content = {
            "format": FORMAT, "group": self.group.name, "dtype": self.dtype, "device": self.device, "mask": self.mask,
            "skipped": dict(self.skipped), "layers": layers,
        }  # fmt: skip
        return json.dumps(content)

    @classmethod
    def from_json(cls, text: str) -> "OrbitStatistics":
        """Read what :meth:`to_json` wrote. Raises ValueError or KeyError for anything else."""
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise ValueError(f"orbit statistics of format {content['format']}, not {FORMAT}")
        layers = {
            LayerCall(item["layer"], item["call"]): LayerOrbit(LayerInfo(**item["info"]), _sums(item["sums"]))
            for item in content["layers"]
        }
        return cls(
            group(content["group"]), content["dtype"], content["device"], content["mask"], layers, content["skipped"]
        )


def _lists(sums: OrbitSums) -> dict[str, Any]:
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(sums).items()}


def _sums(lists: Mapping[str, Any]) -> OrbitSums:
    arrays = {name: np.asarray(value, dtype=np.float64) for name, value in lists.items() if name != "images"}
    return OrbitSums(**arrays, images=lists["images"])
