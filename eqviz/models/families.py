"""One recipe, two networks: the constructors that tell a group network from its plain twin.

An architecture asks a :class:`LayerFamily` for its layers and does not mention the group again.
"""

from dataclasses import dataclass

from torch import nn

from eqviz.errors import EqvizError
from eqviz.fields.field_types import AnyModule, FieldType, Image, Invariant, Regular, declare
from eqviz.groups.group import Group
from eqviz.models.arguments import one_of, probability, whole_number
from eqviz.models.convolutions import LiftingConv2d, grid_group
from eqviz.models.normalisation import GroupBatchNorm2d
from eqviz.models.pooling import CosetMaxPool, GlobalAveragePool, GroupMaxPool2d
from eqviz.models.separable import SEPARABLE


@dataclass(frozen=True)
class LayerFamily:
    """Constructors of layers: of the group network, or of the plain one (Z2) if `group` is None.

    Every layer it makes declares the field type of its output: `regular(G)`, or `image` for the plain family.
    `separable` names the kind of its group convolutions in `SEPARABLE`.

    >>> layer_family("p4").convolution(2, 3, 3), layer_family(None).convolution(2, 3, 3)
    (GroupConv2d(C4, 2, 3, kernel_size=(3, 3), stride=(1, 1), padding=(0, 0), dilation=(1, 1), bias=True), \
Conv2d(2, 3, kernel_size=(3, 3), stride=(1, 1)))
    """

    group: Group | None
    separable: str = ""

    @property
    def field(self) -> FieldType:
        """The field type of its feature maps."""
        return Image() if self.group is None else Regular(self.group)

    @property
    def fibre(self) -> int:
        """Length of the group axis; 1 for the plain family."""
        return 1 if self.group is None else self.group.order

    def declared(self, module: AnyModule) -> AnyModule:
        """`module`, declared to give feature maps of this family."""
        return declare(module, self.field)

    def lifting(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> nn.Module:
        """The first convolution, on images; never separable, as images have no group axis to separate."""
        if self.group is None:
            return self.convolution(in_channels, out_channels, kernel_size, stride=stride, padding=padding, bias=bias)
        return LiftingConv2d(self.group, in_channels, out_channels, kernel_size, stride, padding, bias=bias)

    def convolution(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> nn.Module:
        """A convolution on feature maps; of kernel 1 it is an ordinary one, as nothing spatial can be separated."""
        whole_number("in_channels", in_channels)
        whole_number("out_channels", out_channels)
        if self.group is not None:
            layer = SEPARABLE["" if kernel_size == 1 else self.separable]
            return layer(self.group, in_channels, out_channels, kernel_size, stride, padding, bias=bias)
        return self.declared(nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=bias))

    def normalisation(self, channels: int) -> nn.Module:
        """Batch normalisation."""
        norm = nn.BatchNorm2d if self.group is None else GroupBatchNorm2d
        return self.declared(norm(whole_number("channels", channels)))

    def relu(self) -> nn.Module:
        """A rectifier."""
        return self.declared(nn.ReLU())

    def dropout(self, p: float) -> nn.Module:
        """Dropout of single values with probability `p`."""
        return self.declared(nn.Dropout(probability("dropout", p)))

    def max_pool(self, kernel_size: int) -> nn.Module:
        """Maximum over spatial windows that do not overlap."""
        return self.declared(nn.MaxPool2d(kernel_size) if self.group is None else GroupMaxPool2d(kernel_size))

    def global_pool(self, *, fibre: bool = True) -> nn.Module:
        """Mean over space: to `(B, C, |G|)`, or `(B, C)` for the plain family and where the group axis is gone."""
        return declare(GlobalAveragePool(), Invariant() if self.group is None or not fibre else self.field)

    def coset_max(self, *, space: bool = False) -> nn.Module:
        """Maximum over the group axis, `(B, C, |G|)` to `(B, C)`; nothing for the plain family.

        With `space` it stands before the mean over space, `(B, C, |G|, H, W)` to `(B, C, H, W)`.
        """
        pool = nn.Identity() if self.group is None else CosetMaxPool()
        return declare(pool, Image() if space else Invariant())

    def flatten(self) -> nn.Module:
        """The group axis joined to the channels, `(B, C, |G|)` to `(B, C*|G|)`; nothing for the plain family."""
        if self.group is None:
            return declare(nn.Identity(), Invariant())
        return declare(nn.Flatten(), Regular(self.group, flattened=True))

    def linear(self, in_features: int, out_features: int) -> nn.Module:
        """The classifier, whose output is meant to be invariant."""
        whole_number("classes", out_features)
        return declare(nn.Linear(in_features, out_features), Invariant())


def layer_family(name: str | Group | None, separable: str = "") -> LayerFamily:
    """The family of that group, or the plain one for None; `separable`: "", "g" or "gc".

    Raises EqvizError for a group off the pixel grid, an unknown kind of separable convolution, and any kind without a
    group, where there is no group axis to separate.

    >>> layer_family("p4m").field.name, layer_family(None).field.name
    ('regular(D4)', 'image')
    >>> layer_family("p4", "gc").convolution(2, 3, 3, bias=False).depthwise_weight.shape
    torch.Size([3, 1, 1, 3, 3])
    """
    kind = one_of("separable", separable, SEPARABLE)
    if name is None and kind:
        raise EqvizError("separable", expected="a group network", found=f"{kind!r} for a plain one", fix="leave it out")
    return LayerFamily(None if name is None else grid_group("network", name), kind)
