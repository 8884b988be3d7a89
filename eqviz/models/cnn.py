"""The seven-layer CNN for small images, as a group network and as its plain twin."""

from jaxtyping import Float
from torch import Tensor, nn

from eqviz.groups.group import Group
from eqviz.models.arguments import whole_number
from eqviz.models.families import LayerFamily, layer_family


class _SevenLayers(nn.Module):
    """Seven convolutions, each followed by batch norm and ReLU; one 2x2 maximum pool; global pools; a classifier."""

    def __init__(self, layers: LayerFamily, in_channels: int, classes: int, channels: int, dropout: float) -> None:
        super().__init__()
        whole_number("in_channels", in_channels)
        whole_number("channels", channels)
        self.conv1, self.bn1, self.relu1 = _unit(layers, layers.lifting(in_channels, channels, 3, padding=1), channels)
        self.drop1 = layers.dropout(dropout)
        self.conv2, self.bn2, self.relu2 = _unit(layers, layers.convolution(channels, channels, 3, padding=1), channels)
        self.pool = layers.max_pool(2)
        self.conv3, self.bn3, self.relu3 = _unit(layers, layers.convolution(channels, channels, 3, padding=1), channels)
        self.drop3 = layers.dropout(dropout)
        self.conv4, self.bn4, self.relu4 = _unit(layers, layers.convolution(channels, channels, 3, padding=1), channels)
        self.drop4 = layers.dropout(dropout)
        self.conv5, self.bn5, self.relu5 = _unit(layers, layers.convolution(channels, channels, 3, padding=1), channels)
        self.drop5 = layers.dropout(dropout)
        self.conv6, self.bn6, self.relu6 = _unit(layers, layers.convolution(channels, channels, 3, padding=1), channels)
        self.conv7, self.bn7, self.relu7 = _unit(layers, layers.convolution(channels, channels, 4), channels)
        self.global_pool = layers.global_pool()
        self.coset_pool = layers.coset_max()
        self.fc = layers.linear(channels, classes)
        self.field_type = self.fc.field_type

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch classes"]:
        """Class scores; images of 8x8 pixels or more."""
        x = self.drop1(self.relu1(self.bn1(self.conv1(images))))
        x = self.pool(self.relu2(self.bn2(self.conv2(x))))
        x = self.drop3(self.relu3(self.bn3(self.conv3(x))))
        x = self.drop4(self.relu4(self.bn4(self.conv4(x))))
        x = self.drop5(self.relu5(self.bn5(self.conv5(x))))
        x = self.relu6(self.bn6(self.conv6(x)))
        x = self.relu7(self.bn7(self.conv7(x)))
        return self.fc(self.coset_pool(self.global_pool(x)))  # type: ignore[no-any-return]  # modules give Any


def _unit(layers: LayerFamily, convolution: nn.Module, channels: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    return convolution, layers.normalisation(channels), layers.relu()


class GroupCNN(_SevenLayers):
    """Seven group convolutions, one 2x2 maximum pool after the second: `(B, in, H, W)` to `(B, classes)`.

    Kernel 3 with padding 1 six times, then kernel 4; batch norm and ReLU after each; dropout after 1, 3, 4 and 5; then
    the mean over space, the maximum over the group axis and a linear classifier. On even H and W the output is exactly
    invariant, on odd ones it is not. `channels` counts channels, each with |G| elements. With 3-channel images and 10
    classes: 24,990 parameters for p4 with 10 channels, 24,328 for p4m with 7. All convolutions but the first are
    separable if asked for, "g" or "gc" (see `eqviz.models.separable`).

    Raises EqvizError for a group off the pixel grid, sizes that are not positive or an unknown kind of `separable`.
    Source: Cohen & Welling 2016, section 8.1 (P4CNN).

    >>> import torch
    >>> GroupCNN("p4", channels=2)(torch.zeros(5, 1, 28, 28)).shape
    torch.Size([5, 10])
    """

    def __init__(
        self,
        group: str | Group,
        in_channels: int = 1,
        classes: int = 10,
        channels: int = 10,
        dropout: float = 0.3,
        separable: str = "",
    ) -> None:
        super().__init__(layer_family(group, separable), in_channels, classes, channels, dropout)


class PlainCNN(_SevenLayers):
    """The plain (Z2) twin of :class:`GroupCNN`, of ordinary layers with 20 channels: `(B, in, H, W)` to `(B, classes)`.

    Its maps are declared `image` and its output `invariant`, which its filters do not keep: that is the comparison.
    With 3-channel images and 10 classes it has 25,570 parameters.

    Raises EqvizError for sizes that are not positive.
    Source: Cohen & Welling 2016, section 8.1 (Z2CNN).

    >>> import torch
    >>> PlainCNN(channels=2)(torch.zeros(5, 1, 28, 28)).shape
    torch.Size([5, 10])
    """

    def __init__(self, in_channels: int = 1, classes: int = 10, channels: int = 20, dropout: float = 0.3) -> None:
        super().__init__(layer_family(None), in_channels, classes, channels, dropout)


def p4cnn(
    in_channels: int = 1, classes: int = 10, channels: int = 10, dropout: float = 0.3, separable: str = ""
) -> GroupCNN:
    """Seven-layer CNN over rotations by quarter turns.

    Shapes, errors and source as for :class:`GroupCNN`.

    >>> p4cnn(channels=2).conv2.weight.shape
    torch.Size([2, 2, 4, 3, 3])
    """
    return GroupCNN("C4", in_channels, classes, channels, dropout, separable)


def p4mcnn(
    in_channels: int = 1, classes: int = 10, channels: int = 7, dropout: float = 0.3, separable: str = ""
) -> GroupCNN:
    """Seven-layer CNN over quarter turns and reflections.

    Shapes, errors and source as for :class:`GroupCNN`.

    >>> p4mcnn(channels=2).conv2.weight.shape
    torch.Size([2, 2, 8, 3, 3])
    """
    return GroupCNN("D4", in_channels, classes, channels, dropout, separable)


def z2cnn(in_channels: int = 1, classes: int = 10, channels: int = 20, dropout: float = 0.3) -> PlainCNN:
    """Seven-layer CNN with ordinary convolutions.

    Shapes, errors and source as for :class:`PlainCNN`.

    >>> z2cnn(channels=2).conv2.weight.shape
    torch.Size([2, 2, 3, 3])
    """
    return PlainCNN(in_channels, classes, channels, dropout)
