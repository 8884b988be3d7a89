"""Batch normalisation that treats all group elements of a channel alike."""

from jaxtyping import Float
from torch import Tensor, nn

from eqviz.models.arguments import whole_number


class GroupBatchNorm2d(nn.BatchNorm3d):
    """Batch normalisation of `(B, C, |G|, H, W)` with one mean and variance a channel, over batch, fibre and space.

    One scale a channel, shared along the fibre, is what keeps it equivariant; statistics of each orientation by itself
    would break it. State-dict keys are those of `torch.nn.BatchNorm2d`. It declares no field type: it knows no group.

    Raises EqvizError if `channels` is not positive, ValueError for input that is not 5-d.
    Source: Ioffe & Szegedy 2015; shared along the group axis as in Cohen & Welling 2016, section 8.

    >>> import torch
    >>> norm = GroupBatchNorm2d(3)
    >>> norm(torch.randn(2, 3, 4, 5, 6)).shape, norm.running_mean.shape
    (torch.Size([2, 3, 4, 5, 6]), torch.Size([3]))
    """

    kind = "normalisation"

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(whole_number("channels", channels), eps=eps, momentum=momentum)

    def forward(
        self, input: Float[Tensor, "batch channel group height width"]
    ) -> Float[Tensor, "batch channel group height width"]:
        """Normalise, then scale and shift."""
        return super().forward(input)
