"""Residual networks as their authors published them, under the names of their own state dicts.

They are `eqviz.models.resnet.ResNet` in another wiring: where a block changes width or stride, its shortcut is a 1x1
convolution of the block's input with a batch norm (`downsample.0` and `downsample.1`); and the networks for small and
natural images take the coset maximum before the mean over space. Those give their feature maps as a second output too,
which is left out here. Exact sizes are those of the other ResNets: n = 1 mod 4 with three stages, 1 mod 8 with four.

Source: the code published with Edixhoven, Lengyel & van Gemert 2023, Using and Abusing Equivariance; separable
convolutions from Lengyel & van Gemert 2021, Exploiting learned symmetries in group equivariant convolutions.
"""

from collections.abc import Sequence

from eqviz.models.resnet import ResNet, Wiring, resnet_of_depth

PUBLISHED = Wiring(normalised_shortcut=True, max_first=True)
"""The networks for CIFAR, Flowers and ImageNet."""

HISTOLOGY = Wiring(normalised_shortcut=True, stage_names="layer{}")
"""The network for PatchCamelyon: stages `layer1` to `layer3`, the mean before the maximum."""


def p4resnet44_published(
    in_channels: int = 3,
    classes: int = 10,
    widths: Sequence[int] = (16, 32, 64),
    head: str = "flatten",
    separable: str = "",
) -> ResNet:
    """ResNet44 over quarter turns, as published (width 16; 47 where gc-separable).

    Shapes and errors as for :class:`ResNet`; EqvizError too unless there are three widths.

    >>> p4resnet44_published(widths=(1, 2, 3)).layers[1][0].downsample[0].weight.shape
    torch.Size([2, 1, 4, 1, 1])
    """
    return resnet_of_depth("resnet44", "C4", widths, in_channels, classes, head, separable, wiring=PUBLISHED)


def p4mresnet44_published(
    in_channels: int = 3,
    classes: int = 10,
    widths: Sequence[int] = (12, 24, 48),
    head: str = "flatten",
    separable: str = "",
) -> ResNet:
    """ResNet44 over quarter turns and reflections, as published (width 12; 35 where gc-separable).

    Shapes and errors as for :class:`ResNet`; EqvizError too unless there are three widths.

    >>> p4mresnet44_published(widths=(1, 2, 3)).layers[1][0].downsample[0].weight.shape
    torch.Size([2, 1, 8, 1, 1])
    """
    return resnet_of_depth("resnet44", "D4", widths, in_channels, classes, head, separable, wiring=PUBLISHED)


def z2resnet44_published(
    in_channels: int = 3,
    classes: int = 10,
    widths: Sequence[int] = (32, 64, 128),
    head: str = "flatten",
) -> ResNet:
    """ResNet44 with ordinary convolutions, as published.

    Shapes and errors as for :class:`ResNet`; EqvizError too unless there are three widths.

    >>> z2resnet44_published(widths=(1, 2, 3)).layers[1][0].downsample[0].weight.shape
    torch.Size([2, 1, 1, 1])
    """
    return resnet_of_depth("resnet44", None, widths, in_channels, classes, head, wiring=PUBLISHED)


def p4resnet18_published(
    in_channels: int = 3,
    classes: int = 10,
    widths: Sequence[int] = (32, 64, 128, 256),
    head: str = "flatten",
    separable: str = "",
) -> ResNet:
    """ResNet18 over quarter turns, as published (width 32; 90 where gc-separable).

    Shapes and errors as for :class:`ResNet`; EqvizError too unless there are four widths.

    >>> p4resnet18_published(widths=(1, 2, 3, 4)).layers[1][0].downsample[0].weight.shape
    torch.Size([2, 1, 4, 1, 1])
    """
    return resnet_of_depth("resnet18", "C4", widths, in_channels, classes, head, separable, wiring=PUBLISHED)


def p4mresnet18_published(
    in_channels: int = 3,
    classes: int = 10,
    widths: Sequence[int] = (23, 46, 92, 184),
    head: str = "flatten",
    separable: str = "",
) -> ResNet:
    """ResNet18 over quarter turns and reflections, as published (width 23; 64 where gc-separable).

    Shapes and errors as for :class:`ResNet`; EqvizError too unless there are four widths.

    >>> p4mresnet18_published(widths=(1, 2, 3, 4)).layers[1][0].downsample[0].weight.shape
    torch.Size([2, 1, 8, 1, 1])
    """
    return resnet_of_depth("resnet18", "D4", widths, in_channels, classes, head, separable, wiring=PUBLISHED)


def z2resnet18_published(
    in_channels: int = 3,
    classes: int = 10,
    widths: Sequence[int] = (64, 128, 256, 512),
    head: str = "flatten",
) -> ResNet:
    """ResNet18 with ordinary convolutions, as published.

    Shapes and errors as for :class:`ResNet`; EqvizError too unless there are four widths.

    >>> z2resnet18_published(widths=(1, 2, 3, 4)).layers[1][0].downsample[0].weight.shape
    torch.Size([2, 1, 1, 1])
    """
    return resnet_of_depth("resnet18", None, widths, in_channels, classes, head, wiring=PUBLISHED)


def p4resnet44_histology(
    in_channels: int = 3, classes: int = 2, widths: Sequence[int] = (4, 7, 14), separable: str = ""
) -> ResNet:
    """ResNet44 over quarter turns for histology, as published: stages `layer1` to `layer3`.

    Shapes and errors as for :class:`ResNet`; EqvizError too unless there are three widths.

    >>> p4resnet44_histology(widths=(1, 2, 3)).layer2[0].downsample[0].weight.shape
    torch.Size([2, 1, 4, 1, 1])
    """
    return resnet_of_depth("resnet44", "C4", widths, in_channels, classes, "coset_max", separable, wiring=HISTOLOGY)


def z2resnet44_histology(in_channels: int = 3, classes: int = 2, widths: Sequence[int] = (8, 14, 28)) -> ResNet:
    """ResNet44 with ordinary convolutions for histology, as published: stages `layer1` to `layer3`.

    Shapes and errors as for :class:`ResNet`; EqvizError too unless there are three widths.

    >>> z2resnet44_histology(widths=(1, 2, 3)).layer2[0].downsample[0].weight.shape
    torch.Size([2, 1, 1, 1])
    """
    return resnet_of_depth("resnet44", None, widths, in_channels, classes, "coset_max", wiring=HISTOLOGY)
