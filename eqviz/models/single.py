"""One strided group convolution and a classifier: the smallest network that subsampling can break."""

from jaxtyping import Float
from torch import Tensor, nn

from eqviz.groups.group import Group
from eqviz.models.arguments import whole_number
from eqviz.models.families import layer_family


class OneConvolution(nn.Module):
    """A lifting convolution (k3 s2 p1), mean over space, maximum over the group axis, linear: to `(B, classes)`.

    On odd H and W the output is exactly invariant, so that it cannot tell an image from its moved copy; on even ones it
    can learn to. There is no ReLU and no batch norm: nothing but the stride is at work. With the defaults 14
    parameters, over any group.

    Raises EqvizError for a group off the pixel grid or sizes that are not positive.
    Source: Edixhoven, Lengyel & van Gemert 2023, Using and Abusing Equivariance (learned un-equivariance).

    >>> import torch
    >>> OneConvolution("p4")(torch.zeros(5, 1, 32, 32)).shape
    torch.Size([5, 2])
    """

    def __init__(self, group: str | Group, in_channels: int = 1, classes: int = 2, channels: int = 1) -> None:
        super().__init__()
        layers = layer_family(group)
        whole_number("in_channels", in_channels)
        whole_number("channels", channels)
        self.conv = layers.lifting(in_channels, channels, 3, stride=2, padding=1)
        self.global_pool = layers.global_pool()
        self.coset_pool = layers.coset_max()
        self.fc = layers.linear(channels, classes)
        self.field_type = self.fc.field_type

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch classes"]:
        """Class scores."""
        return self.fc(self.coset_pool(self.global_pool(self.conv(images))))  # type: ignore[no-any-return]  # modules give Any


def p4conv(in_channels: int = 1, classes: int = 2, channels: int = 1) -> OneConvolution:
    """One strided convolution over quarter turns, exact on odd sizes.

    Shapes, errors and source as for :class:`OneConvolution`.

    >>> sum(parameter.numel() for parameter in p4conv().parameters())
    14
    """
    return OneConvolution("C4", in_channels, classes, channels)


def p4mconv(in_channels: int = 1, classes: int = 2, channels: int = 1) -> OneConvolution:
    """One strided convolution over quarter turns and reflections, exact on odd sizes; even ones keep the transpose.

    Shapes, errors and source as for :class:`OneConvolution`.

    >>> p4mconv().conv.weight.shape
    torch.Size([1, 1, 1, 3, 3])
    """
    return OneConvolution("D4", in_channels, classes, channels)
