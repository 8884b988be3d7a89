"""Ties in maximum pools: windows whose maximum is attained more than once.

Of equal entries torch sends the gradient to the first one, and "first" does not turn with the image: on flat
background this is why gradients of an exactly invariant network are only nearly equivariant. `torch.amax`, by which
eqviz takes the maximum over the group axis, shares the gradient between equal entries and does no such harm.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn import functional as F

from eqviz.analysis.attribution_methods import Asked, differentiable
from eqviz.models.pooling import GroupMaxPool2d

Pair = tuple[int, int]


@dataclass(frozen=True)
class TieCounts:
    """Windows of all maximum pools, over images: how many, how many tied, and the same of those that matter.

    Those that matter (`live`) are reached by a gradient of the score and pass it on. A maximum of exactly 0, in maps
    with nothing below 0 that a layer gave, does not: it comes from a rectifier at rest.
    """

    windows: int = 0
    tied: int = 0
    live: int = 0
    live_tied: int = 0

    def __add__(self, other: "TieCounts") -> "TieCounts":
        return TieCounts(
            self.windows + other.windows,
            self.tied + other.tied,
            self.live + other.live,
            self.live_tied + other.live_tied,
        )

    @property
    def fraction(self) -> float:
        """Tied windows, as a fraction of all; NaN for a network without maximum pools."""
        return self.tied / self.windows if self.windows else float("nan")

    @property
    def fraction_with_gradient(self) -> float:
        """The same of the windows that matter."""
        return self.live_tied / self.live if self.live else float("nan")


def pool_ties(model: nn.Module, asked: Asked) -> TieCounts:
    """Count ties over all calls of `nn.MaxPool2d` and `GroupMaxPool2d` in `model`, and where gradients of scores go.

    Runs one forward and one backward pass of each batch; hooks are removed, also when the model raises.
    """
    total = TieCounts()
    for images, targets in asked.parts():
        with _pools_watched(model) as seen, torch.enable_grad(), differentiable():
            scores = asked.forward(images.clone().requires_grad_())
            chosen = scores if targets is None else scores.gather(1, targets[:, None])
            outputs = [output for output, _, _ in seen]
            gradients = torch.autograd.grad(chosen.sum(), outputs, allow_unused=True) if outputs else ()
        for (output, tied, dead), gradient in zip(seen, gradients, strict=True):
            reached = torch.zeros_like(tied) if gradient is None else (gradient != 0).reshape(tied.shape)
            live = reached & ~(dead & (output.detach() == 0).reshape(tied.shape))
            total += TieCounts(tied.numel(), int(tied.sum()), int(live.sum()), int((live & tied).sum()))
    return total


@contextmanager
def _pools_watched(model: nn.Module) -> Iterator[list[tuple[Tensor, Tensor, bool]]]:
    """Of every call of a maximum pool its output, which windows are tied, and whether it follows a rectifier."""
    seen: list[tuple[Tensor, Tensor, bool]] = []

    def hook(module: nn.Module, inputs: Any, output: Any) -> Tensor | None:
        if not isinstance(output, Tensor):  # with return_indices it is a tuple, for an unpooling layer
            return None
        # known by its numbers: an in-place rectifier on a view does not stand in the graph as one
        rectified = not inputs[0].is_leaf and bool((inputs[0] >= 0).all())
        seen.append((output, tied_windows(module, inputs[0].detach(), output.detach()), rectified))
        return output.clone()  # an in-place layer that follows must not change what is kept

    handles = [
        pool.register_forward_hook(hook) for pool in model.modules() if isinstance(pool, nn.MaxPool2d | GroupMaxPool2d)
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def tied_windows(pool: nn.Module, maps: Tensor, pooled: Tensor) -> Bool[Tensor, "map new_height new_width"]:
    """Which windows of a maximum pool hold their maximum more than once; all leading axes of `maps` become one.

    >>> pool = nn.MaxPool2d(2)
    >>> maps = torch.tensor([[[[1.0, 1.0, 3.0, 1.0], [0.0, 0.0, 2.0, 0.0]]]])
    >>> tied_windows(pool, maps, pool(maps)).tolist()
    [[[True, False]]]
    """
    kernel, stride, padding, dilation = (
        _pair(getattr(pool, name)) for name in ("kernel_size", "stride", "padding", "dilation")
    )
    flat, height, width = maps.flatten(0, -3)[:, None], pooled.shape[-2], pooled.shape[-1]
    reach = [
        (n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip((height, width), stride, dilation, kernel, strict=True)
    ]
    beyond = [max(0, r - n - p) for r, n, p in zip(reach, maps.shape[-2:], padding, strict=True)]
    framed = F.pad(flat, (padding[1], beyond[1], padding[0], beyond[0]), value=float("-inf"))[
        ..., : reach[0], : reach[1]
    ]
    windows = F.unfold(framed, kernel, dilation, 0, stride)
    largest = pooled.reshape(len(flat), 1, height * width)
    return ((windows == largest).sum(1) > 1).reshape(len(flat), height, width)


def _pair(value: int | Pair) -> Pair:
    return value if isinstance(value, tuple) else (value, value)
