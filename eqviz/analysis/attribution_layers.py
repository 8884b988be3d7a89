"""The layers that attributions are about: what each of them is, how the group acts on it, and how much it breaks."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from eqviz.capture.features import ANALYSED_KINDS
from eqviz.capture.layers import resolve_field
from eqviz.capture.orbit_capture import run_orbit
from eqviz.errors import EqvizError
from eqviz.fields.field_types import FieldType, Image, Invariant, Regular
from eqviz.fields.layer_calls import LayerCall, layer_names
from eqviz.fields.sums import LayerInfo, reduce_orbit
from eqviz.groups.group import Group

Fields = Mapping[str, str | FieldType]


@dataclass(frozen=True, eq=False)
class OrbitLayer:
    """One call of one layer: its module, field type, what it is, its shape (batch first) and its breaking fraction."""

    key: LayerCall
    module: nn.Module
    field: FieldType
    info: LayerInfo
    shape: tuple[int, ...]
    breaking: float

    def keys(self) -> dict[str, object]:
        """The columns that say which layer it is."""
        return {
            "layer": self.key.layer, "call": self.key.call, "depth": self.info.depth, "kind": self.info.kind,
            "subsamples": self.info.subsamples,
        }  # fmt: skip


def orbit_layers(
    model: nn.Module,
    images: Any,
    G: Group,
    layers: str | Iterable[str],
    fields: Fields,
    batch_size: int,
    *,
    kinds: Collection[str] | None = ANALYSED_KINDS,
    required: bool = True,
) -> list[OrbitLayer]:
    """The layers of these kinds (None: all) that can be aligned, in execution order.

    Raises EqvizError as `eqviz.capture` does, and where there is none if one is `required`.
    """
    known = layer_names(model)
    found: dict[LayerCall, OrbitLayer] = {}
    energies: dict[LayerCall, tuple[float, float]] = {}

    def receive(key: LayerCall, info: LayerInfo, aligned: Tensor) -> None:
        if kinds is not None and info.kind not in kinds:
            return
        sums = reduce_orbit(aligned).summed()
        broken, whole = energies.get(key, (0.0, 0.0))
        broken += float(sums.distances.sum()) / (2 * G.order)
        whole += float(sums.norms.sum())
        energies[key] = broken, whole
        module = known.get(key.layer) or known[key.layer.partition("[")[0]]
        shape = tuple(aligned.shape[1:])
        field = resolve_field(key.layer, module, shape, fields)[0]
        fraction = broken / whole if whole else float("nan")
        found[key] = OrbitLayer(key, module, field, info, shape, fraction)

    left_out = run_orbit(model, images, G, layers, fields, batch_size, False, receive)
    usable = [one for key, one in found.items() if key not in left_out]
    if required and not usable:
        reasons = "; ".join(f"{key.layer}: {reason}" for key, reason in list(left_out.items())[:3])
        raise EqvizError(
            "layers", expected="at least one layer that can be aligned", found=reasons or "none of a kind that counts",
            fix="declare field types for these layers, or choose others",
        )  # fmt: skip
    return sorted(usable, key=lambda one: one.info.depth)


def map_layers(layers: Iterable[OrbitLayer]) -> Iterator[tuple[OrbitLayer, FieldType]]:
    """The layers whose output is one tensor of maps, and how the group acts on their Grad-CAM.

    Grad-CAM sums over the axis after the batch. A group axis of its own stays, and the field type with it; in any
    other layout the sum runs over the fibre too, and what is left is an image. Of a layer that runs several times the
    last call counts. Left out are outputs of the network, layers without maps, and fibres before the channels, over
    which captum would sum in place of the channels.
    """
    known = [one for one in layers if one.info.kind not in ("linear", "output") and "[" not in one.key.layer]
    last = {one.key.layer: one for one in known}
    for one in known:
        if last[one.key.layer] is one and len(one.shape) >= 4 and not isinstance(one.field, Invariant):
            fibre = isinstance(one.field, Regular) and not one.field.flattened
            if not (isinstance(one.field, Regular) and fibre and one.field.group_first):
                yield one, one.field if fibre else Image()
