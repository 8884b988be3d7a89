"""What a network does with an image of zeros: at which sizes it runs, what it gives out, and what of that counts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from eqviz.errors import told
from eqviz.fields.geometric_tensors import is_geometric
from eqviz.studies.streams import own_randomness

Size = tuple[int, int]

_SCORES = ("logits", "logit", "scores", "pred", "preds", "prediction", "predictions", "output", "out", "y_hat", "y")
"""Keys of outputs that hold the scores of classes, the likeliest first."""

_SHOWN = 6


@dataclass(frozen=True)
class Output:
    """What a network gives out for one image: the `item` that counts (None where it is all there is), its shape, and
    all items in words; `sure` where the item has a telling name, or is the only one.
    """

    item: str | int | None
    shape: tuple[int, ...]
    items: tuple[str, ...] = ()
    sure: bool = True

    @property
    def is_map(self) -> bool:
        """Whether it has numbers for each pixel, as of a segmentation."""
        return len(self.shape) > 2

    @property
    def classes(self) -> int | None:
        """How many numbers there are for an image; None for a map."""
        return self.shape[1] if len(self.shape) == 2 else None


def try_size(network: nn.Module, channels: int, size: Size, classes: int | None = None) -> Output | str:
    """What the network gives out at this input size (height, width); why not, where it fails.

    Of several outputs one with so many `classes` is the likelier to be the scores.

    >>> try_size(nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveMaxPool2d(1), nn.Flatten()), 1, (8, 8)).shape
    (1, 3)
    """
    try:
        with torch.no_grad(), own_randomness():
            output = network(torch.zeros(1, channels, *size))
    except (Exception, SystemExit) as error:
        return told(error, 200)
    output = output.tensor if is_geometric(output) else output
    if isinstance(output, Tensor):
        return Output(None, tuple(output.shape)) if output.dim() >= 2 else "it gives no tensor with images in its rows"
    return _chosen(output, classes)


def sizes_that_run(network: nn.Module, channels: int, sizes: Iterable[Size], enough: int) -> list[Size]:
    """The first input sizes, as many as are enough, at which the network gives something out."""
    runs = (size for size in sizes if isinstance(try_size(network, channels, size), Output))
    return list(islice(runs, enough))


def _chosen(output: Any, classes: int | None) -> Output | str:
    """The item of several that counts: scores by name, else by their number, else a row of numbers or any tensor."""
    tensors = {key: value for key, value in _items(output).items() if isinstance(value, Tensor) and value.dim() >= 2}
    if not tensors:
        return f"it gives a {type(output).__name__} without a tensor that has images in its rows"
    rows = [key for key, value in tensors.items() if value.dim() == 2]
    named = [key for word in _SCORES for key in tensors if str(key).lower() == word]
    wide = [key for key in rows if tensors[key].shape[1] == classes]
    item = [*named, *wide, *rows, *tensors][0]
    items = tuple(f"{key!r}: {tuple(value.shape)}" for key, value in tensors.items())
    return Output(item, tuple(tensors[item].shape), items[:_SHOWN], item in named or len(tensors) == 1)


def _items(output: Any) -> dict[str | int, Any]:
    """What an output holds, by what reaches it: the keys of a dictionary, the places in a tuple."""
    if isinstance(output, Mapping):
        return {key: value for key, value in output.items() if isinstance(key, str)}
    if isinstance(output, list | tuple):
        return dict(enumerate(output))
    return {}
