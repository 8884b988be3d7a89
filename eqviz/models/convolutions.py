"""Group convolutions: one gather that turns the filter into all its copies, then one ordinary convolution.

Source: Cohen & Welling 2016, Group equivariant convolutional networks, section 6 (filters g-transformed, then planar
convolution), equations 10 and 11. Weight layout and order of elements are those of the GrouPy lineage.
"""

import math
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from eqviz.errors import EqvizError
from eqviz.fields.field_types import Regular
from eqviz.fields.grid_action import act_on_grid
from eqviz.groups.group import Group, group
from eqviz.models.arguments import whole_number


def grid_group(about: str, name: str | Group) -> Group:
    """The group of that name, one whose elements all map the pixel grid onto itself.

    Raises EqvizError for an unknown name and for a group off the grid, whose filters would need interpolation.

    >>> grid_group("LiftingConv2d", "p4").name
    'C4'
    """
    found = group(name)
    if not found.on_grid:
        raise EqvizError(
            about, expected="a subgroup of D4, which keeps the pixel grid", found=found.name,
            fix=f"use {found.exact_subgroup}, its largest subgroup on the grid",
        )  # fmt: skip
    return found


@lru_cache(maxsize=64)
def lifting_index(group: Group, size: int) -> Int[Tensor, "group 1 size size"]:
    """Where each copy of a planar filter reads it: `weight.flatten()[index[u, 0]]` is the filter moved by u.

    >>> from eqviz.groups.group import group
    >>> lifting_index(group("C4"), 2)[1, 0].tolist()
    [[1, 3], [0, 2]]
    """
    cells = torch.arange(size * size, device="cpu").reshape(1, size, size)
    return torch.stack([act_on_grid(cells, element) for element in group.elements])


@lru_cache(maxsize=64)
def group_index(group: Group, size: int) -> Int[Tensor, "group group size size"]:
    """Where each copy of a filter on the group reads it: w_u[v] = u . w[u^-1 v], as positions in the flattened w.

    >>> from eqviz.groups.group import group
    >>> group_index(group("C4"), 1).flatten(1).tolist()
    [[0, 1, 2, 3], [3, 0, 1, 2], [2, 3, 0, 1], [1, 2, 3, 0]]
    """
    cells = torch.arange(group.order * size * size, device="cpu").reshape(group.order, size, size)
    sources = [[group.compose(group.inverse(u), v) for v in range(group.order)] for u in range(group.order)]
    return torch.stack(
        [act_on_grid(cells[source], element) for source, element in zip(sources, group.elements, strict=True)]
    )


class _Convolution(nn.Module):
    """What both group convolutions share: parameters, the gather of filter copies, the planar convolution."""

    kind = "convolution"
    index: Int[Tensor, "group fibre size size"]

    def __init__(
        self,
        group: Group,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        padding: int,
        dilation: int,
        bias: bool,
        index: Int[Tensor, "group fibre size size"],
    ) -> None:
        super().__init__()
        self.group = group
        self.field_type = Regular(group)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = (kernel_size, kernel_size)
        self.stride = (whole_number("stride", stride),) * 2
        self.padding = (whole_number("padding", padding, least=0),) * 2
        self.dilation = (whole_number("dilation", dilation),) * 2
        self._add_weight(index.shape[1])
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        own = index.to(next(self.parameters()).device, copy=True)  # the index is remembered, so that it may not change
        self.register_buffer("index", own, persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias uniformly in +-1/sqrt(in_channels k^2), as the GrouPy lineage does: |G| is ignored."""
        self._draw_weight()
        if self.bias is not None:
            nn.init.uniform_(self.bias, -self._bound, self._bound)

    @property
    def _bound(self) -> float:
        return 1 / math.sqrt(self.in_channels * self.kernel_size[0] * self.kernel_size[1])

    def _add_weight(self, fibre: int) -> None:
        self.weight = nn.Parameter(torch.empty(self.out_channels, self.in_channels, fibre, *self.kernel_size))

    def _draw_weight(self) -> None:
        nn.init.uniform_(self.weight, -self._bound, self._bound)

    def full_weight(self) -> Float[Tensor, "out in fibre size size"]:
        """The filter before it is moved, `(out, in, |G|, k, k)`, or `(out, in, 1, k, k)` where it lifts."""
        return self.weight

    def planar_filter(self) -> Float[Tensor, "out_group in_fibre size size"]:
        """The filter of the one planar convolution, `(out*|G|, in*fibre, k, k)`, the group axis running fastest."""
        order, fibre, size, _ = self.index.shape
        copies = self.full_weight().flatten(2).index_select(2, self.index.flatten())
        copies = copies.view(self.out_channels, self.in_channels, order, fibre, size, size)
        return copies.transpose(1, 2).reshape(self.out_channels * order, self.in_channels * fibre, size, size)

    def _convolve(
        self, maps: Float[Tensor, "batch in_fibre height width"]
    ) -> Float[Tensor, "batch out group new_height new_width"]:
        order = self.group.order
        bias = None if self.bias is None else self.bias.repeat_interleave(order)
        found = F.conv2d(maps, self.planar_filter(), bias, self.stride, self.padding, self.dilation)
        return found.reshape(len(found), self.out_channels, order, *found.shape[-2:])

    def _refuse(self, expected: str, features: Tensor) -> EqvizError:
        return EqvizError(
            f"{type(self).__name__} of {self.group}", expected=f"{expected} with {self.in_channels} channels",
            found=f"shape {tuple(features.shape)}", fix="check the layer before it and its group",
        )  # fmt: skip

    def extra_repr(self) -> str:
        """The arguments, as torch prints those of its own layers."""
        return (
            f"{self.group}, {self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}, dilation={self.dilation}, bias={self.bias is not None}"
        )


class LiftingConv2d(_Convolution):
    """Convolution from the plane to the group: `(B, in, H, W)` to `(B, out, |G|, H', W')`.

    `out[:, o, u] = bias[o] + sum_i conv(x[:, i], u . w[o, i])`, u moving the filter's pixels (rot90, then flip).
    `weight` has shape `(out, in, 1, k, k)`, `bias` `(out,)`. H' and W' as for `torch.nn.Conv2d`.

    Raises EqvizError for a group off the pixel grid, for sizes that are not positive, and for input of another shape.
    Source: Cohen & Welling 2016, equation 10 (first layer).

    >>> layer = LiftingConv2d("p4", 3, 10, 3, padding=1)
    >>> layer(torch.zeros(2, 3, 8, 9)).shape, layer.field_type.name
    (torch.Size([2, 10, 4, 8, 9]), 'regular(C4)')
    """

    def __init__(
        self,
        group: str | Group,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        bias: bool = True,
    ) -> None:
        on_grid = grid_group("LiftingConv2d", group)
        index = lifting_index(on_grid, whole_number("kernel_size", kernel_size))
        whole_number("in_channels", in_channels)
        whole_number("out_channels", out_channels)
        super().__init__(on_grid, in_channels, out_channels, kernel_size, stride, padding, dilation, bias, index)

    def forward(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch out group new_height new_width"]:
        """Convolve `images` with every copy of the filter."""
        if images.dim() != 4 or images.shape[1] != self.in_channels:
            raise self._refuse("images (batch, channel, height, width)", images)
        return self._convolve(images)


class GroupConv2d(_Convolution):
    """Convolution on the group: `(B, in, |G|, H, W)` to `(B, out, |G|, H', W')`.

    `out[:, o, u] = bias[o] + sum_iv conv(x[:, i, v], w_u[o, i, v])` with `w_u[o, i, v] = u . w[o, i, u^-1 v]`.
    `weight` has shape `(out, in, |G|, k, k)`, `bias` `(out,)`, shared along the group axis.

    Raises EqvizError for a group off the pixel grid, for sizes that are not positive, and for input of another shape.
    Source: Cohen & Welling 2016, equation 11 (later layers).

    >>> layer = GroupConv2d("p4m", 2, 5, 3, stride=2, padding=1)
    >>> layer(torch.zeros(1, 2, 8, 9, 9)).shape
    torch.Size([1, 5, 8, 5, 5])
    """

    def __init__(
        self,
        group: str | Group,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        bias: bool = True,
    ) -> None:
        on_grid = grid_group("GroupConv2d", group)
        index = group_index(on_grid, whole_number("kernel_size", kernel_size))
        whole_number("in_channels", in_channels)
        whole_number("out_channels", out_channels)
        super().__init__(on_grid, in_channels, out_channels, kernel_size, stride, padding, dilation, bias, index)

    def forward(
        self, features: Float[Tensor, "batch channel group height width"]
    ) -> Float[Tensor, "batch out group new_height new_width"]:
        """Convolve `features` over the plane and the group axis at once."""
        if features.dim() != 5 or tuple(features.shape[1:3]) != (self.in_channels, self.group.order):
            raise self._refuse("features (batch, channel, |G|, height, width)", features)
        return self._convolve(features.flatten(1, 2))
