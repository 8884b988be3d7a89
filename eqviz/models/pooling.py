"""Pooling over space and over the group axis; none has parameters.

Source: Cohen & Welling 2016, section 6.3 (pooling over space, and over cosets of a subgroup).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from eqviz.fields.field_types import declare
from eqviz.models.arguments import whole_number


class _SpatialPool(nn.Module):
    """The window of a spatial pool: `kernel_size`, `stride` (default: the kernel size), `padding`; both axes alike."""

    kind = "pooling"
    dilation = 1
    ceil_mode = False

    def __init__(self, kernel_size: int, stride: int | None = None, padding: int = 0) -> None:
        super().__init__()
        self.kernel_size = whole_number("kernel_size", kernel_size)
        self.stride = whole_number("stride", kernel_size if stride is None else stride)
        self.padding = whole_number("padding", padding, least=0)

    def extra_repr(self) -> str:
        """The window, as torch prints it."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class GroupMaxPool2d(_SpatialPool):
    """Maximum over spatial windows: `(B, C, |G|, H, W)` to `(B, C, |G|, H', W')`, every group element by itself.

    Raises EqvizError for a kernel or stride below 1. It declares no field type: it knows no group (use `declare`).

    >>> GroupMaxPool2d(2)(torch.arange(16.0).reshape(1, 1, 1, 4, 4)).flatten().tolist()
    [5.0, 7.0, 13.0, 15.0]
    """

    def forward(
        self, features: Float[Tensor, "batch channel group height width"]
    ) -> Float[Tensor, "batch channel group new_height new_width"]:
        """The maximum of every window."""
        pooled = F.max_pool2d(features.flatten(1, 2), self.kernel_size, self.stride, self.padding)
        return pooled.reshape(*features.shape[:3], *pooled.shape[-2:])


class GroupAvgPool2d(_SpatialPool):
    """Mean over spatial windows: `(B, C, |G|, H, W)` to `(B, C, |G|, H', W')`; padding counts as zeros.

    Raises EqvizError for a kernel or stride below 1. It declares no field type: it knows no group (use `declare`).

    >>> GroupAvgPool2d(2)(torch.arange(16.0).reshape(1, 1, 1, 4, 4)).flatten().tolist()
    [2.5, 4.5, 10.5, 12.5]
    """

    count_include_pad = True
    divisor_override = None

    def forward(
        self, features: Float[Tensor, "batch channel group height width"]
    ) -> Float[Tensor, "batch channel group new_height new_width"]:
        """The mean of every window."""
        pooled = F.avg_pool2d(features.flatten(1, 2), self.kernel_size, self.stride, self.padding)
        return pooled.reshape(*features.shape[:3], *pooled.shape[-2:])


class GlobalAveragePool(nn.Module):
    """Mean over space: `(B, C, |G|, H, W)` to `(B, C, |G|)`, and `(B, C, H, W)` to `(B, C)`.

    >>> GlobalAveragePool()(torch.ones(2, 3, 4, 5, 6)).shape
    torch.Size([2, 3, 4])
    """

    kind = "pooling"

    def forward(
        self, features: Float[Tensor, "batch channel *group height width"]
    ) -> Float[Tensor, "batch channel *group"]:
        """The mean of every map."""
        return features.mean((-2, -1))


class CosetMaxPool(nn.Module):
    """Maximum over the group axis: `(B, C, |G|)` to `(B, C)`, an invariant.

    Of maps `(B, C, |G|, H, W)` it gives maps `(B, C, H, W)`, which are to be declared `image` (use `declare`).

    Source: Cohen & Welling 2016, section 6.3 (here the subgroup is the whole point group).

    >>> pool = CosetMaxPool()
    >>> pool(torch.tensor([[[1.0, 3.0, 2.0, 0.0]]])).tolist(), pool.field_type.name
    ([[3.0]], 'invariant')
    """

    kind = "pooling"

    def __init__(self) -> None:
        super().__init__()
        declare(self, "invariant")

    def forward(self, features: Float[Tensor, "batch channel group *space"]) -> Float[Tensor, "batch channel *space"]:
        """The maximum of every fibre."""
        return torch.amax(features, dim=2)
