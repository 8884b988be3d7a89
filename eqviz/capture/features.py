"""The features of some layers on the orbit of a few images, as tensors: for probes, maps and geometry.

Unlike the orbit statistics these do not add up: they are kept, so maps are averaged down first.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eqviz.capture.layers import resolve_field
from eqviz.capture.orbit_capture import image_batches, require_repeatable, run_orbit
from eqviz.errors import EqvizError
from eqviz.fields.field_types import FieldType
from eqviz.fields.layer_calls import LayerCall, layer_names
from eqviz.fields.orbit import symmetric_part
from eqviz.fields.sums import LayerInfo
from eqviz.groups.group import Group
from eqviz.groups.group import group as named_group

ANALYSED_KINDS = ("convolution", "pooling", "block", "linear", "output")
"""Kinds of layers that heavy analyses look at; normalisation and activations in between add little."""

LARGEST_MAP = 8
"""Side of the maps that are kept; larger ones are averaged down."""


@dataclass(frozen=True, eq=False)
class OrbitFeatures:
    """The aligned orbit A_g = rho(g)^-1 Phi(g x) of one layer call on some images, on the CPU.

    `aligned` is `(element, image, ...)`, in the order of the elements of `group`.
    """

    key: LayerCall
    info: LayerInfo
    field: FieldType
    group: Group
    aligned: Tensor

    @property
    def symmetric(self) -> Tensor:
        """S, the mean of A_g over the group: `(image, ...)`."""
        return symmetric_part(self.aligned)

    @property
    def breaking(self) -> Tensor:
        """D_g = A_g - S: `(element, image, ...)`."""
        return self.aligned - self.symmetric

    def moved(self, features: Tensor | None = None) -> Tensor:
        """What the layer gave on the moved images, Phi(g x) = rho(g) A_g; or rho(g) applied to other `features`.

        `features` is `(element, image, ...)`. Returns the same shape; raises EqvizError where elements exchange
        height and width of maps that are not square.
        """
        source = self.aligned if features is None else features
        parts = [self.field.act(part, g) for part, g in zip(source, self.group.elements, strict=True)]
        if len({part.shape for part in parts}) > 1:
            raise EqvizError(
                f"layer {self.key.layer}", expected="square maps, on which every element acts",
                found=f"maps of {tuple(source.shape[-2:])}",
                fix="choose a group that keeps height and width, such as D2",
            )  # fmt: skip
        return torch.stack(parts)


def orbit_features(
    model: nn.Module,
    images: Any,
    group: str | Group = "p4",
    layers: str | Iterable[str] = "*",
    fields: Mapping[str, str | FieldType] | None = None,
    batch_size: int = 64,
    *,
    kinds: Iterable[str] = ANALYSED_KINDS,
    largest_map: int = LARGEST_MAP,
    progress: Callable[[float], None] | None = None,
) -> dict[LayerCall, OrbitFeatures]:
    """The features of the chosen layers on the orbit of `images`, by layer call in execution order.

    Arguments as in `eqviz.capture`. Elements that interpolate are left out: the group is its exact subgroup. Only
    layers of `kinds` are kept. Maps larger than `largest_map` x `largest_map` are averaged down to that by adaptive
    average pooling, which every element of D4 passes through at every size. Layers that cannot be aligned, or run for
    some of the images only, are left out. `progress` is told the fraction of images done. Holds all that is returned in
    memory: some 10 kB an image, element and layer. Raises EqvizError as `eqviz.capture` does.

    >>> found = orbit_features(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), torch.rand(3, 1, 14, 14), "C4")
    >>> [(key.layer, tuple(features.aligned.shape)) for key, features in found.items()]
    [('0', (4, 3, 2, 8, 8)), ('(output)', (4, 3, 2, 8, 8))]
    """
    G = named_group(group).exact_subgroup
    known, given, wanted = layer_names(model), dict(fields or {}), frozenset(kinds)
    require_repeatable(images)
    total = sum(len(batch) for batch in image_batches(images, 1 << 30))
    parts: dict[LayerCall, list[Tensor]] = {}
    about: dict[LayerCall, tuple[LayerInfo, FieldType]] = {}

    def receive(key: LayerCall, info: LayerInfo, aligned: Tensor) -> None:
        if info.kind not in wanted:
            return
        if key not in about:
            module = known[key.layer] if key.layer in known else known[key.layer.partition("[")[0]]
            about[key] = info, resolve_field(key.layer, module, tuple(aligned.shape[1:]), given)[0]
        parts.setdefault(key, []).append(averaged_down(aligned, largest_map).cpu())

    def tell(done: int) -> None:
        if progress is not None:
            progress(done / total)

    left_out = run_orbit(model, images, G, layers, given, batch_size, False, receive, tell)
    whole = [key for key, found in parts.items() if sum(part.shape[1] for part in found) == total]
    kept = sorted((key for key in whole if key not in left_out), key=lambda key: about[key][0].depth)
    return {key: OrbitFeatures(key, *about[key], G, torch.cat(parts[key], dim=1)) for key in kept}


def averaged_down(features: Tensor, side: int) -> Tensor:
    """Maps `(element, batch, ..., height, width)` no larger than `side` on each axis; what has no maps stays as it is.

    >>> averaged_down(torch.arange(16.0).reshape(1, 1, 1, 4, 4), 2).flatten().tolist()
    [2.5, 4.5, 10.5, 12.5]
    """
    if features.dim() < 5 or max(features.shape[-2:]) <= side:
        return features
    height, width = (min(side, n) for n in features.shape[-2:])
    pooled = F.adaptive_avg_pool2d(features.flatten(0, -4), (height, width))
    return pooled.reshape(*features.shape[:-2], height, width)
