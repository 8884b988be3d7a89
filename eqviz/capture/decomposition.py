"""The aligned orbit of one layer as tensors, split into its symmetric and symmetry-breaking parts: for looking at."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from eqviz.capture.orbit_capture import run_orbit
from eqviz.errors import EqvizError
from eqviz.fields.field_types import FieldType
from eqviz.fields.layer_calls import LayerCall, layer_names
from eqviz.fields.orbit import Decomposition
from eqviz.fields.sums import LayerInfo
from eqviz.groups.group import Group
from eqviz.groups.group import group as named_group


def decompose(
    model: nn.Module,
    images: Any,
    layer: str,
    group: str | Group = "p4",
    fields: Mapping[str, str | FieldType] | None = None,
    batch_size: int = 64,
    *,
    call: int = 0,
    mask: bool = False,
) -> Decomposition:
    """The aligned orbit A_g of one layer on a few images, its symmetric part S and the rest, D_g = A_g - S.

    Arguments as in `eqviz.capture`; `layer` is one module path, followed by the item for a layer that gives several
    tensors, as in `head[0]`; `call` is which of its calls. The tensors are on the
    CPU: `aligned` and `breaking` (element, image, ...), `symmetric` (image, ...).

    >>> parts = decompose(nn.Sequential(nn.Conv2d(1, 2, 3)), torch.rand(2, 1, 8, 8), "0", "C4")
    >>> parts.aligned.shape, parts.symmetric.shape
    (torch.Size([4, 2, 2, 6, 6]), torch.Size([2, 2, 6, 6]))
    """
    wanted = LayerCall(layer, call)
    path = layer if layer in layer_names(model) else layer.partition("[")[0]
    found: list[Tensor] = []

    def receive(key: LayerCall, info: LayerInfo, aligned: Tensor) -> None:
        del info
        if key == wanted:
            found.append(aligned.cpu())

    skipped = run_orbit(model, images, named_group(group), [path], fields or {}, batch_size, mask, receive)
    if not found or wanted in skipped:
        raise EqvizError(
            f"layer {layer}", expected=f"a tensor from its call {call}",
            found=skipped.get(wanted, "no such call or tensor"), fix="choose another layer or call",
        )  # fmt: skip
    return Decomposition.of(torch.cat(found, dim=1))
