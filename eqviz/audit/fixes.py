"""A model that first brings its input to a size at which it is exact."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import product
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from eqviz.fields.field_types import declare, declared

Kind = Literal["pad", "resize"]
Size = tuple[int, int]

REACH = 16
"""How many pixels a pad may add to a side to be even."""


class PaddedInput(nn.Module):
    """Images (batch, channel, height, width) with zeros around them, at `size` (height, width).

    An even number of pixels is added alike on both sides; of an odd number the extra one is added at the bottom or
    right, which breaks the symmetry by itself. Raises ValueError for images larger than `size`.

    >>> import torch
    >>> PaddedInput((4, 6))(torch.ones(1, 1, 2, 6)).sum((0, 1, 3)).tolist()
    [0.0, 6.0, 6.0, 0.0]
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size

    def forward(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel new_h new_w"]:
        """The images with their border."""
        down, right = (new - old for new, old in zip(_lying(images, self.size), images.shape[-2:], strict=True))
        if min(down, right) < 0:
            raise ValueError(f"images of {tuple(images.shape[-2:])} are larger than {self.size}")
        return F.pad(images, (right // 2, right - right // 2, down // 2, down - down // 2))


class ResizedInput(nn.Module):
    """Images (batch, channel, height, width) at `size`, bilinearly, antialiased where they shrink.

    Pixel centres are aligned as squares of area are, so that resizing commutes with quarter turns and flips.

    >>> import torch
    >>> ResizedInput((1, 4))(torch.tensor([[[[0.0, 1.0]]]])).flatten().tolist()
    [0.0, 0.25, 0.75, 1.0]
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size

    def forward(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel new_h new_w"]:
        """The images at the new size."""
        return F.interpolate(
            images, size=_lying(images, self.size), mode="bilinear", align_corners=False, antialias=True
        )


def _lying(images: Tensor, size: Size) -> Size:
    """`size`, its longer side along the longer side of the images: turned images are brought to the turned size."""
    height, width = images.shape[-2:]
    turned = (height - width) * (size[0] - size[1]) < 0
    return (size[1], size[0]) if turned else size


def fitted_input(model: nn.Module, kind: Kind, size: Size) -> nn.Sequential:
    """`model` on images that are first padded or resized to `size`; a field type that it declares is declared again.

    >>> list(dict(fitted_input(nn.Identity(), "pad", (4, 6)).named_children()))
    ['pad', 'model']
    """
    first = PaddedInput(size) if kind == "pad" else ResizedInput(size)
    fitted = nn.Sequential(OrderedDict([(kind, first), ("model", model)]))
    field = declared(model)
    return fitted if field is None else declare(fitted, field)


def fitting_size(
    kind: Kind, input_size: Size, below: Size | None, above: Size | None, is_safe: Callable[[Size], bool]
) -> Size | None:
    """The size to bring an input of `input_size` to, or None if there is none near.

    `below` and `above` are the nearest safe sizes. A resize takes the nearer one, and the larger of two equally
    near. A pad takes `above` if that adds an even number of pixels to each side; else the first size up to 16 pixels
    above that does and `is_safe`; else `above`, with a pad that is uneven.

    >>> fitting_size("resize", (32, 32), (25, 25), (33, 33), lambda size: False)
    (33, 33)
    >>> fitting_size("pad", (27, 27), None, (30, 30), lambda size: size[0] % 3 == 0)
    (33, 33)
    """
    if kind == "resize":
        near = [size for size in (above, below) if size is not None]
        return min(
            near, key=lambda size: sum(abs(new - old) for new, old in zip(size, input_size, strict=True)), default=None
        )
    if above is None or _even(input_size, above):
        return above
    return next((size for size in _evenly_above(input_size) if is_safe(size)), above)


def _distance(one: Size, other: Size) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))


def _even(old: Size, new: Size) -> bool:
    return all((after - before) % 2 == 0 for before, after in zip(old, new, strict=True))


def _evenly_above(size: Size) -> Iterator[Size]:
    """Larger sizes by even numbers of pixels; both sides grow alike where they are equal."""
    height, width = size
    steps = range(0, REACH + 1, 2)
    added = [(a, a) for a in steps] if height == width else sorted(product(steps, steps), key=sum)
    yield from ((height + a, width + b) for a, b in added if a or b)
