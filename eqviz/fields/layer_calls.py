"""Layers and their calls: what a layer is called, what it gives out, where its weights are."""

import difflib
import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from eqviz.errors import EqvizError
from eqviz.fields.geometric_tensors import is_geometric

OUTPUT = "(output)"
"""The layer name of the model itself, whose path is empty."""


class LayerCall(NamedTuple):
    """A layer, by module path, and which of its calls in one forward pass (from 0)."""

    layer: str
    call: int


def layer_names(model: nn.Module) -> dict[str, nn.Module]:
    """Every module of the model by its path, the model itself as `(output)`, last."""
    names = {path: module for path, module in model.named_modules() if path}
    return {**names, OUTPUT: model}


def matches(name: str, glob: str) -> bool:
    """Whether a layer name matches this glob; brackets may also stand for themselves, as in `head[0]`.

    >>> matches("head[0]", "he*[0]"), matches("conv1", "conv[12]"), matches("conv1", "conv")
    (True, True, False)
    """
    return fnmatch.fnmatchcase(name, glob) or fnmatch.fnmatchcase(name, glob.replace("[", "[[]"))


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """Up to five known layer names that look like `name`; the first few if none does."""
    names = list(known)
    return difflib.get_close_matches(name.replace("*", ""), names, n=5, cutoff=0.4) or names[:5]


def tensors_in(output: Any, suffix: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors in an output, with the place of each in tuples, lists and dicts, such as `[0]` or `[logits]`.

    The geometric tensors of e2cnn and escnn count as the tensors that they hold.
    """
    for place, item in carriers_in(output, suffix):
        yield place, item if isinstance(item, Tensor) else item.tensor


def carriers_in(output: Any, suffix: str = "") -> Iterator[tuple[str, Any]]:
    """The same, but geometric tensors as they are, with their types."""
    if isinstance(output, Tensor) or is_geometric(output):
        yield suffix, output
    elif isinstance(output, Mapping):
        for key, item in output.items():
            yield from carriers_in(item, f"{suffix}[{key}]")
    elif isinstance(output, list | tuple):
        for place, item in enumerate(output):
            yield from carriers_in(item, f"{suffix}[{place}]")


def placement(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Device and floating dtype of a model's weights, or of its buffers; CPU and float32 for one with neither.

    Raises EqvizError if they are spread over several devices or dtypes.
    """
    found = {(p.device, p.dtype) for p in model.parameters() if p.is_floating_point()}
    found = found or {(b.device, b.dtype) for b in model.buffers() if b.is_floating_point()}
    if len(found) > 1:
        shown = ", ".join(sorted(f"{dtype} on {device}" for device, dtype in found))
        raise EqvizError(
            "model", expected="weights of one dtype on one device", found=shown,
            fix="move the model with model.to(device, dtype)",
        )  # fmt: skip
    return found.pop() if found else (torch.device("cpu"), torch.float32)
