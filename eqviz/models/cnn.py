"""The seven-layer CNN for small images, as a group network and as its plain twin, with one pool or two.

Parameters have the names of the published network (`conv1` to `conv7`, `bn1` to `bn7`, `fc`), so that its state dicts
load as they are. Pools and dropout have no parameters: one state dict fits both variants.
"""

from jaxtyping import Float
from torch import Tensor, nn

from eqviz.errors import EqvizError
from eqviz.groups.group import Group
from eqviz.models.arguments import brief, whole_number
from eqviz.models.families import LayerFamily, layer_family


class _SevenLayers(nn.Module):
    """Seven convolutions, batch norm and ReLU after each; one 2x2 maximum pool or two; global pools; a classifier."""

    def __init__(
        self, layers: LayerFamily, in_channels: int, classes: int, channels: int, dropout: float, pools: int
    ) -> None:
        super().__init__()
        if pools not in (1, 2):
            raise EqvizError("pools", expected="1 or 2", found=brief(pools), fix="change it")
        whole_number("in_channels", in_channels)
        whole_number("channels", channels)
        self.conv1, self.bn1, self.relu1 = _unit(layers, layers.lifting(in_channels, channels, 3, padding=1), channels)
        self.drop1 = layers.dropout(dropout)
        self.conv2, self.bn2, self.relu2 = _unit(layers, layers.convolution(channels, channels, 3, padding=1), channels)
        self.pool = layers.max_pool(2)
        self.conv3, self.bn3, self.relu3 = _unit(layers, layers.convolution(channels, channels, 3, padding=1), channels)
        self.pool3: nn.Module | None = layers.max_pool(2) if pools == 2 else None
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
        """Class scores; images of 8x8 pixels or more, of 16x16 with two pools."""
        x = self.drop1(self.relu1(self.bn1(self.conv1(images))))
        x = self.pool(self.relu2(self.bn2(self.conv2(x))))
        x = self.relu3(self.bn3(self.conv3(x)))
        x = self.drop3(x if self.pool3 is None else self.pool3(x))
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
    invariant, on odd ones it is not. `pools=2` pools after the third layer too: exact where H and W are multiples of 4.
    `channels` counts channels, each with |G| elements. With 3-channel images and 10 classes: 24,990 parameters for p4
    with 10 channels, 24,328 for p4m with 7. All convolutions but the first are separable if asked for, "g" or "gc" (see
    `eqviz.models.separable`).

    Raises EqvizError for a group off the pixel grid, sizes that are not positive, other numbers of pools than 1 and 2
    or an unknown kind of `separable`.
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
        pools: int = 1,
    ) -> None:
        super().__init__(layer_family(group, separable), in_channels, classes, channels, dropout, pools)


class PlainCNN(_SevenLayers):
    """The plain (Z2) twin of :class:`GroupCNN`, of ordinary layers with 20 channels: `(B, in, H, W)` to `(B, classes)`.

    Its maps are declared `image` and its output `invariant`, which its filters do not keep: that is the comparison.
    With 3-channel images and 10 classes it has 25,570 parameters.

    Raises EqvizError for sizes that are not positive and for other numbers of pools than 1 and 2.
    Source: Cohen & Welling 2016, section 8.1 (Z2CNN).

    >>> import torch
    >>> PlainCNN(channels=2)(torch.zeros(5, 1, 28, 28)).shape
    torch.Size([5, 10])
    """

    def __init__(
        self, in_channels: int = 1, classes: int = 10, channels: int = 20, dropout: float = 0.3, pools: int = 1
    ) -> None:
        super().__init__(layer_family(None), in_channels, classes, channels, dropout, pools)


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


def p4cnn_two_pools(
    in_channels: int = 3, classes: int = 10, channels: int = 10, dropout: float = 0.0, separable: str = ""
) -> GroupCNN:
    """Seven-layer CNN over quarter turns, pools after layers 2 and 3: exact on multiples of 4.

    The network of the published code, which has no dropout and ends in a log-softmax that is left out here: it adds
    one number to all scores of an image, and loss, predicted class and exactness stay as they are. The code's stored
    results are of the variant with one pool, :func:`p4cnn`, whose state dicts have the same names and shapes.

    Shapes and errors as for :class:`GroupCNN`.
    Source: Edixhoven, Lengyel & van Gemert 2023, Using and Abusing Equivariance (published code).

    >>> network = p4cnn_two_pools(channels=2)
    >>> network.pool3, list(network.state_dict()) == list(p4cnn().state_dict())
    (GroupMaxPool2d(kernel_size=2, stride=2, padding=0), True)
    """
    return GroupCNN("C4", in_channels, classes, channels, dropout, separable, pools=2)


def p4mcnn_two_pools(
    in_channels: int = 3, classes: int = 10, channels: int = 7, dropout: float = 0.0, separable: str = ""
) -> GroupCNN:
    """Seven-layer CNN over quarter turns and reflections, pools after layers 2 and 3: exact on multiples of 4.

    It completes the family; none was published: GrouPy has no even kernels over p4m, which the last layer needs.

    Shapes, errors and source as for :func:`p4cnn_two_pools`.

    >>> p4mcnn_two_pools(channels=2).conv2.weight.shape
    torch.Size([2, 2, 8, 3, 3])
    """
    return GroupCNN("D4", in_channels, classes, channels, dropout, separable, pools=2)


def z2cnn_two_pools(in_channels: int = 3, classes: int = 10, channels: int = 20, dropout: float = 0.0) -> PlainCNN:
    """Seven-layer CNN with ordinary convolutions, pools after layers 2 and 3.

    Shapes and errors as for :class:`PlainCNN`; source as for :func:`p4cnn_two_pools`.

    >>> z2cnn_two_pools(channels=2).conv2.weight.shape
    torch.Size([2, 2, 3, 3])
    """
    return PlainCNN(in_channels, classes, channels, dropout, pools=2)
