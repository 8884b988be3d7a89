"""Separable group convolutions: the filter is a product of one over space and one over channels and the group axis.

Two kinds, by what shares a spatial filter: the group axis (g), or the group axis and the input channels (gc). The
product is the filter of an ordinary group convolution and is then moved as any other, so that the same sizes are exact.

Source: Lengyel & van Gemert 2021, Exploiting learned symmetries in group equivariant convolutions (ICIP). Names and
shapes of parameters are those of its authors' code.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from eqviz.models.convolutions import GroupConv2d


class _SeparableConv2d(GroupConv2d):
    """What both kinds share: the two parameters, how they are drawn, and their product."""

    shares_channels: bool

    def _add_weight(self, fibre: int) -> None:
        spatial = (1, 1) if self.shares_channels else (self.in_channels,)
        self.depthwise_weight = nn.Parameter(torch.empty(self.out_channels, *spatial, *self.kernel_size))
        self.pointwise_weight = nn.Parameter(torch.empty(self.out_channels, self.in_channels, fibre, 1, 1))

    def _draw_weight(self) -> None:
        """Uniformly, so that products have the variance of an ordinary filter, 1 / (3 in_channels k^2).

        Spatial filters get a variance of 1/k^2, so that their squares add up to 1 on average; the other factor is drawn
        as an ordinary convolution of kernel 1 is. (The source draws both as an ordinary filter. Their products are then
        smaller by sqrt(3 in_channels k^2), and a residual is next to nothing beside its shortcut.)
        """
        spatial, pointwise = math.sqrt(3) / self.kernel_size[0], 1 / math.sqrt(self.in_channels)
        nn.init.uniform_(self.depthwise_weight, -spatial, spatial)
        nn.init.uniform_(self.pointwise_weight, -pointwise, pointwise)

    def full_weight(self) -> Float[Tensor, "out in fibre size size"]:
        """The filter before it is moved, the product of both: `(out, in, |G|, k, k)`."""
        spatial = self.depthwise_weight.reshape(self.out_channels, -1, 1, *self.kernel_size)
        return spatial * self.pointwise_weight


class GSeparableConv2d(_SeparableConv2d):
    """Group convolution whose spatial filter is shared along the group axis: `(B, in, |G|, H, W)`, as `GroupConv2d`.

    The filter is `w[o, i, v] = depthwise_weight[o, i] * pointwise_weight[o, i, v]`, of `depthwise_weight`
    `(out, in, k, k)` and `pointwise_weight` `(out, in, |G|, 1, 1)`. Arguments, shapes, errors as for `GroupConv2d`.

    Source: Lengyel & van Gemert 2021, the kind called g.

    >>> layer = GSeparableConv2d("p4", 2, 5, 3, padding=1)
    >>> layer.full_weight().shape, sum(weight.numel() for weight in layer.parameters())
    (torch.Size([5, 2, 4, 3, 3]), 135)
    """

    shares_channels = False


class GCSeparableConv2d(_SeparableConv2d):
    """Group convolution with one spatial filter for every output: `(B, in, |G|, H, W)`, as `GroupConv2d`.

    The filter is `w[o, i, v] = depthwise_weight[o, 0, 0] * pointwise_weight[o, i, v]`, of `depthwise_weight`
    `(out, 1, 1, k, k)` and `pointwise_weight` `(out, in, |G|, 1, 1)`. Arguments, shapes, errors as for `GroupConv2d`.

    Source: Lengyel & van Gemert 2021, the kind called gc.

    >>> layer = GCSeparableConv2d("p4", 2, 5, 3, padding=1)
    >>> layer.full_weight().shape, sum(weight.numel() for weight in layer.parameters())
    (torch.Size([5, 2, 4, 3, 3]), 90)
    """

    shares_channels = True


SEPARABLE: dict[str, type[GroupConv2d]] = {"": GroupConv2d, "g": GSeparableConv2d, "gc": GCSeparableConv2d}
"""Kinds of group convolution by what a network's argument `separable` calls them; none is the ordinary one."""
