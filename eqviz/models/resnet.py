"""Pre-activation residual networks, over a group or plain, by one class.

Source: He et al. 2016, Identity mappings in deep residual networks; group versions as in Cohen & Welling 2016, section
8.2. The stem is one k3 p1 convolution without a pool, and every stage but the first starts with stride 2 (k3 p1 in the
block, 1x1 in its shortcut). Such a stride is exact on odd sizes n and leaves (n + 1) / 2, so that three stages are
exact on n = 1 mod 4 and four on n = 1 mod 8.

The k3 convolutions in the blocks of group networks are separable if asked for, "g" or "gc" (see
`eqviz.models.separable`); stem and shortcuts stay ordinary. What published networks do differently is a `Wiring`; they
stand in `eqviz.models.published`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from eqviz.errors import EqvizError
from eqviz.groups.group import Group
from eqviz.models.arguments import one_of, whole_number
from eqviz.models.families import LayerFamily, layer_family

HEADS = ("coset_max", "flatten")


@dataclass(frozen=True)
class Wiring:
    """Where residual networks differ that have the same layers: parts no size of them depends on.

    `normalised_shortcut`: `downsample` is a 1x1 convolution of the block's input with a batch norm after it, not a
    convolution of the first ReLU's output. `max_first`: the coset maximum stands before the mean over space, not after
    it. `stage_names`: `{}` is the stage's number from 1 on; without it all stages are in one module of that name.
    """

    normalised_shortcut: bool = False
    max_first: bool = False
    stage_names: str = "layers"


class Block(nn.Module):
    """Batch norm, ReLU, k3 p1 convolution, twice; added to its input: `(B, C, [|G|,] H, W)` to the same, or half of it.

    Where stride or width change, the shortcut is a 1x1 convolution `downsample` of the first ReLU's output, otherwise
    the input itself; see `Wiring` for the other kind of shortcut. Declares the field type of its sum.

    Raises EqvizError for widths or strides that are not positive.
    Source: He et al. 2016, figure 4(e).

    >>> import torch
    >>> Block(layer_family("p4"), 2, 3, stride=2)(torch.zeros(1, 2, 4, 9, 9)).shape
    torch.Size([1, 3, 4, 5, 5])
    """

    kind = "block"

    def __init__(
        self,
        layers: LayerFamily,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        normalised_shortcut: bool = False,
    ) -> None:
        super().__init__()
        self.bn1 = layers.normalisation(in_channels)
        self.relu1 = layers.relu()
        self.conv1 = layers.convolution(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = layers.normalisation(out_channels)
        self.relu2 = layers.relu()
        self.conv2 = layers.convolution(out_channels, out_channels, 3, padding=1, bias=False)
        self.downsample: nn.Module | None = None
        self.shortcut_of_input = normalised_shortcut
        if stride != 1 or in_channels != out_channels:
            self.downsample = layers.convolution(in_channels, out_channels, 1, stride=stride, bias=False)
            if normalised_shortcut:
                norm = layers.normalisation(out_channels)
                self.downsample = layers.declared(nn.Sequential(self.downsample, norm))
        self.field_type = layers.field

    def forward(
        self, features: Float[Tensor, "batch channel *group height width"]
    ) -> Float[Tensor, "batch out *group new_height new_width"]:
        """The shortcut plus the residual."""
        active = self.relu1(self.bn1(features))
        source = features if self.shortcut_of_input else active
        shortcut = features if self.downsample is None else self.downsample(source)
        residual = self.conv2(self.relu2(self.bn2(self.conv1(active))))
        return shortcut + residual  # type: ignore[no-any-return]  # modules give Any


class ResNet(nn.Module):
    """Pre-activation ResNet, plain for `group=None`: images `(B, in, H, W)` to class scores `(B, classes)`.

    One stage of `blocks` blocks for every entry of `widths`. `head` comes after the mean over space: `coset_max` takes
    the maximum over the group axis (invariant wherever the features are exact), `flatten` gives the linear layer all
    C*|G| numbers, which breaks the symmetry at the very end. The plain network has no group axis: both are the same.
    `wiring` is for networks that were published in another one.

    Raises EqvizError for a group off the pixel grid, widths that are not positive, an unknown head or kind of
    `separable`, and for any of the latter without a group.

    >>> import torch
    >>> ResNet("p4", widths=(2, 4), blocks=1)(torch.zeros(5, 3, 9, 9)).shape
    torch.Size([5, 10])
    """

    def __init__(
        self,
        group: str | Group | None,
        widths: Sequence[int],
        blocks: int,
        in_channels: int = 3,
        classes: int = 10,
        head: str = "coset_max",
        separable: str = "",
        wiring: Wiring = Wiring(),
    ) -> None:
        super().__init__()
        if not widths:
            raise EqvizError("ResNet", expected="a width for every stage", found="no widths", fix="give one or more")
        one_of("head", head, HEADS)
        whole_number("in_channels", in_channels)
        for width in widths:
            whole_number("widths", width)
        layers = layer_family(group, separable)
        self.conv1 = layers.lifting(in_channels, widths[0], 3, padding=1, bias=False)
        self.stage_names = self._add_stages(layers, widths, blocks, wiring)
        self.bn1 = layers.normalisation(widths[-1])
        self.relu = layers.relu()
        self.max_first = wiring.max_first and head == "coset_max"
        self.global_pool = layers.global_pool(fibre=not self.max_first)
        self.head = layers.flatten() if head == "flatten" else layers.coset_max(space=self.max_first)
        features = widths[-1] * (layers.fibre if head == "flatten" else 1)
        self.fc = layers.linear(features, classes)
        self.field_type = self.fc.field_type

    def _add_stages(self, layers: LayerFamily, widths: Sequence[int], blocks: int, wiring: Wiring) -> tuple[str, ...]:
        """Stages as modules of this network; the names to call, one after another."""
        stages = []
        for number, width in enumerate(widths):
            before, stride = (widths[0], 1) if number == 0 else (widths[number - 1], 2)
            first = Block(layers, before, width, stride, wiring.normalised_shortcut)
            rest = [Block(layers, width, width) for _ in range(blocks - 1)]
            stages.append(layers.declared(nn.Sequential(first, *rest)))
        names = dict.fromkeys(wiring.stage_names.format(number) for number in range(1, len(stages) + 1))
        for name, stage in zip(names, stages if len(names) > 1 else [nn.Sequential(*stages)], strict=True):
            self.add_module(name, stage)
        return tuple(names)

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch classes"]:
        """Class scores."""
        features = self.conv1(images)
        for name in self.stage_names:
            features = self.get_submodule(name)(features)
        features = self.relu(self.bn1(features))
        if self.max_first:
            return self.fc(self.global_pool(self.head(features)))  # type: ignore[no-any-return]  # modules give Any
        return self.fc(self.head(self.global_pool(features)))  # type: ignore[no-any-return]  # modules give Any


_DEPTHS = {"resnet8": (3, 1), "resnet18": (4, 2), "resnet44": (3, 7)}
"""Stages, and blocks in each."""


def resnet_of_depth(
    name: str,
    group: str | None,
    widths: Sequence[int],
    in_channels: int,
    classes: int,
    head: str,
    separable: str = "",
    wiring: Wiring = Wiring(),
) -> ResNet:
    """The network with as many stages and blocks as `name` says: `resnet8`, `resnet18` or `resnet44`.

    Shapes and errors as for :class:`ResNet`; EqvizError too unless there is a width for every stage.

    >>> resnet_of_depth("resnet8", None, (1, 2, 3), 3, 10, "flatten").fc
    Linear(in_features=3, out_features=10, bias=True)
    """
    stages, blocks = _DEPTHS[name]
    if len(widths) != stages:
        raise EqvizError(
            f"widths of {name}", expected=f"{stages} of them, one for each stage", found=f"{len(widths)}",
            fix=f"give {stages}",
        )  # fmt: skip
    return ResNet(group, widths, blocks, in_channels, classes, head, separable, wiring)


def p4resnet44(
    in_channels: int = 3,
    classes: int = 10,
    widths: Sequence[int] = (16, 32, 64),
    head: str = "coset_max",
    separable: str = "",
) -> ResNet:
    """ResNet44 over quarter turns, exact on n = 1 mod 4 (histology: widths 4, 7, 14).

    Shapes and errors as for :class:`ResNet`; EqvizError too unless there are three widths.

    >>> p4resnet44(widths=(1, 2, 3)).layers[1][0].downsample.weight.shape
    torch.Size([2, 1, 4, 1, 1])
    """
    return resnet_of_depth("resnet44", "C4", widths, in_channels, classes, head, separable)


def p4mresnet44(
    in_channels: int = 3,
    classes: int = 10,
    widths: Sequence[int] = (12, 24, 48),
    head: str = "coset_max",
    separable: str = "",
) -> ResNet:
    """ResNet44 over quarter turns and reflections, exact on n = 1 mod 4.

    Shapes and errors as for :class:`ResNet`; EqvizError too unless there are three widths.

    >>> p4mresnet44(widths=(1, 2, 3)).layers[1][0].downsample.weight.shape
    torch.Size([2, 1, 8, 1, 1])
    """
    return resnet_of_depth("resnet44", "D4", widths, in_channels, classes, head, separable)


def z2resnet44(
    in_channels: int = 3, classes: int = 10, widths: Sequence[int] = (32, 64, 128), head: str = "coset_max"
) -> ResNet:
    """ResNet44 with ordinary convolutions.

    Shapes and errors as for :class:`ResNet`; EqvizError too unless there are three widths.

    >>> z2resnet44(widths=(1, 2, 3)).layers[1][0].downsample.weight.shape
    torch.Size([2, 1, 1, 1])
    """
    return resnet_of_depth("resnet44", None, widths, in_channels, classes, head)


def p4resnet18(
    in_channels: int = 3,
    classes: int = 10,
    widths: Sequence[int] = (32, 64, 128, 256),
    head: str = "coset_max",
    separable: str = "",
) -> ResNet:
    """ResNet18 over quarter turns, exact on n = 1 mod 8.

    Shapes and errors as for :class:`ResNet`; EqvizError too unless there are four widths.

    >>> p4resnet18(widths=(1, 2, 3, 4)).layers[1][0].downsample.weight.shape
    torch.Size([2, 1, 4, 1, 1])
    """
    return resnet_of_depth("resnet18", "C4", widths, in_channels, classes, head, separable)


def p4mresnet18(
    in_channels: int = 3,
    classes: int = 10,
    widths: Sequence[int] = (23, 46, 92, 184),
    head: str = "coset_max",
    separable: str = "",
) -> ResNet:
    """ResNet18 over quarter turns and reflections, exact on n = 1 mod 8.

    Shapes and errors as for :class:`ResNet`; EqvizError too unless there are four widths.

    >>> p4mresnet18(widths=(1, 2, 3, 4)).layers[1][0].downsample.weight.shape
    torch.Size([2, 1, 8, 1, 1])
    """
    return resnet_of_depth("resnet18", "D4", widths, in_channels, classes, head, separable)


def z2resnet18(
    in_channels: int = 3, classes: int = 10, widths: Sequence[int] = (64, 128, 256, 512), head: str = "coset_max"
) -> ResNet:
    """ResNet18 with ordinary convolutions.

    Shapes and errors as for :class:`ResNet`; EqvizError too unless there are four widths.

    >>> z2resnet18(widths=(1, 2, 3, 4)).layers[1][0].downsample.weight.shape
    torch.Size([2, 1, 1, 1])
    """
    return resnet_of_depth("resnet18", None, widths, in_channels, classes, head)


def p4resnet8(
    in_channels: int = 3,
    classes: int = 10,
    widths: Sequence[int] = (4, 8, 16),
    head: str = "coset_max",
    separable: str = "",
) -> ResNet:
    """ResNet8 over quarter turns, exact on n = 1 mod 4.

    One block a stage, 6n + 2 layers with n = 1, for machines without a GPU: 19,470 parameters.

    Shapes and errors as for :class:`ResNet`; EqvizError too unless there are three widths.

    >>> p4resnet8(widths=(1, 2, 3)).layers[1][0].downsample.weight.shape
    torch.Size([2, 1, 4, 1, 1])
    """
    return resnet_of_depth("resnet8", "C4", widths, in_channels, classes, head, separable)


def p4mresnet8(
    in_channels: int = 3,
    classes: int = 10,
    widths: Sequence[int] = (3, 6, 12),
    head: str = "coset_max",
    separable: str = "",
) -> ResNet:
    """ResNet8 over quarter turns and reflections, exact on n = 1 mod 4.

    One block a stage: 21,757 parameters with these widths, a tenth more than its P4 and Z2 siblings have.

    Shapes and errors as for :class:`ResNet`; EqvizError too unless there are three widths.

    >>> p4mresnet8(widths=(1, 2, 3)).layers[1][0].downsample.weight.shape
    torch.Size([2, 1, 8, 1, 1])
    """
    return resnet_of_depth("resnet8", "D4", widths, in_channels, classes, head, separable)


def z2resnet8(
    in_channels: int = 3, classes: int = 10, widths: Sequence[int] = (8, 16, 32), head: str = "coset_max"
) -> ResNet:
    """ResNet8 with ordinary convolutions.

    One block a stage: 19,858 parameters.

    Shapes and errors as for :class:`ResNet`; EqvizError too unless there are three widths.

    >>> z2resnet8(widths=(1, 2, 3)).layers[1][0].downsample.weight.shape
    torch.Size([2, 1, 1, 1])
    """
    return resnet_of_depth("resnet8", None, widths, in_channels, classes, head)
