"""Second moments of a layer's channel vectors on an image and on its moved copy: enough to fit and judge linear maps.

A channel vector stacks all channels and fibre entries at one position of a map. Pixels are moved back by the grid
action, exactly; the fibre is left as the layer gave it, so no field type has to be known.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn

from eqviz.capture.features import ANALYSED_KINDS
from eqviz.capture.orbit_capture import run_orbit
from eqviz.errors import EqvizError
from eqviz.fields.field_types import FieldType
from eqviz.fields.grid_action import act_on_maps
from eqviz.fields.layer_calls import LayerCall
from eqviz.fields.sums import LayerInfo
from eqviz.groups.group import Element, Group

Array = npt.NDArray[np.float64]

LARGEST_DIMENSION = 256
"""Longest channel vector whose moments are kept; they grow with its square."""


@dataclass(frozen=True, eq=False)
class ChannelMoments:
    """Sums over images and positions of products of x = Phi(x)(u) and y_g = Phi(g x)(g u), by fold.

    xx      (fold, d, d)           sum of x x^T
    xy      (fold, element, d, d)  sum of x y_g^T, for every element but the identity
    yy      (fold, element)        sum of |y_g|^2
    images  how many images are summed, in each fold: (fold,)
    """

    xx: Array
    xy: Array
    yy: Array
    images: npt.NDArray[np.int64]

    def __add__(self, other: "ChannelMoments") -> "ChannelMoments":
        return ChannelMoments(self.xx + other.xx, self.xy + other.xy, self.yy + other.yy, self.images + other.images)

    @property
    def dimension(self) -> int:
        """d, the length of a channel vector."""
        return int(self.xx.shape[-1])

    def of(self, folds: Iterable[int]) -> "ChannelMoments":
        """The sums over some of the folds, as a single fold."""
        pick = list(folds)
        return ChannelMoments(
            self.xx[pick].sum(0, keepdims=True), self.xy[pick].sum(0, keepdims=True),
            self.yy[pick].sum(0, keepdims=True), self.images[pick].sum(0, keepdims=True),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class ChannelLayer:
    """What is kept of one layer call.

    shape      of its output on one image
    dimension  length of its channel vectors
    moments    None where they are longer than was asked for
    """

    info: LayerInfo
    shape: tuple[int, ...]
    dimension: int
    moments: ChannelMoments | None


class PixelAction(FieldType):
    """The grid action on the pixels of maps, `(batch, ..., height, width)` with four axes or more, and no other.

    What has fewer axes stays as it is, and so does the fibre.
    """

    @property
    def name(self) -> str:
        """The name `pixels`."""
        return "pixels"

    def act(self, features: Tensor, element: Element) -> Tensor:
        """Pixels moved by the element, if there are maps."""
        return act_on_maps(features, element) if features.dim() > 3 else features

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whatever has an axis beside the batch."""
        return len(shape) >= 2

    def channel_shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """The two axes of a map, if there are maps."""
        return (*(1,) * (len(shape) - 2), *shape[-2:]) if len(shape) > 3 else (1,) * len(shape)


def channel_moments(
    model: nn.Module,
    images: Any,
    group: Group,
    layers: str | Iterable[str] = "*",
    batch_size: int = 64,
    *,
    folds: int = 4,
    kinds: Iterable[str] = ANALYSED_KINDS,
    largest: int = LARGEST_DIMENSION,
    progress: Callable[[int], None] | None = None,
) -> dict[LayerCall, ChannelLayer]:
    """The moments of the chosen layers of `kinds`, in execution order. Image i belongs to fold i mod `folds`.

    `group` consists of elements on the pixel grid. Outputs with four axes or more are maps, others are one vector an
    image. Only sums are kept, so memory does not grow with the images. Raises EqvizError as `eqviz.capture` does.

    >>> from eqviz.groups.group import group
    >>> kept = channel_moments(nn.Conv2d(1, 2, 3), torch.rand(4, 1, 8, 8), group("C4"))
    >>> kept[LayerCall("(output)", 0)].moments.xy.shape
    (4, 3, 2, 2)
    """
    if not group.on_grid:
        raise EqvizError(
            "group", expected="elements that map the pixel grid onto itself", found=str(group),
            fix=f"take {group.exact_subgroup}",
        )  # fmt: skip
    wanted = frozenset(kinds)
    found: dict[LayerCall, ChannelLayer] = {}
    seen: dict[LayerCall, int] = {}

    def receive(key: LayerCall, info: LayerInfo, orbit: Tensor) -> None:
        if info.kind not in wanted:
            return
        fold = (torch.arange(orbit.shape[1]) + seen.get(key, 0)) % folds
        seen[key] = seen.get(key, 0) + orbit.shape[1]
        vectors = channel_vectors(orbit)
        sums = moments_of(vectors, fold, folds) if vectors.shape[-1] <= largest else None
        before = found[key].moments if key in found else None
        total = sums if before is None or sums is None else before + sums
        found[key] = ChannelLayer(info, tuple(orbit.shape[2:]), vectors.shape[-1], total)

    left_out = run_orbit(model, images, group, layers, {"*": PixelAction()}, batch_size, False, receive, progress)
    kept = sorted((key for key in found if key not in left_out), key=lambda key: found[key].info.depth)
    return {key: found[key] for key in kept}


def channel_vectors(orbit: Float[Tensor, "element image ..."]) -> Float[Tensor, "element image position entry"]:
    """The channel vectors of maps `(element, image, ..., height, width)`, or of `(element, image, ...)` without maps.

    >>> channel_vectors(torch.zeros(4, 2, 3, 8, 5, 6)).shape, channel_vectors(torch.zeros(4, 2, 3, 8)).shape
    (torch.Size([4, 2, 30, 24]), torch.Size([4, 2, 1, 24]))
    """
    if orbit.dim() > 4:
        return orbit.flatten(-2).flatten(2, -2).mT
    return orbit.flatten(2)[:, :, None]


def moments_of(
    vectors: Float[Tensor, "element image position entry"], fold: torch.Tensor, folds: int
) -> ChannelMoments:
    """The moments of some images; `fold` (image,) says which fold each belongs to. Products and sums are in float64.

    >>> vectors = torch.tensor([[[[1.0, 2.0]]], [[[2.0, 1.0]]]])
    >>> moments_of(vectors, torch.tensor([0]), 1).xy.tolist()
    [[[[2.0, 1.0], [4.0, 2.0]]]]
    """
    order, _, _, d = vectors.shape
    xx, xy, yy = np.zeros((folds, d, d)), np.zeros((folds, order - 1, d, d)), np.zeros((folds, order - 1))
    for one in range(folds):
        rows = vectors[:, fold == one].cpu().double().flatten(1, 2).numpy()
        xx[one] = rows[0].T @ rows[0]
        xy[one] = rows[0].T @ rows[1:]
        yy[one] = np.square(rows[1:]).sum((1, 2))
    return ChannelMoments(xx, xy, yy, np.bincount(fold.numpy(), minlength=folds).astype(np.int64))
