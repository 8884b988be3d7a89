"""The filters of steerable convolutions and linear maps: made anew from their weights, and freed from stored rounding.

A convolution of e2cnn or escnn (anything with `expand_parameters`, an `in_type` and an `out_type`) makes its filter K
of a stored basis, and in evaluation mode keeps it in a buffer `filter` (`matrix` for a linear map), with
`expanded_bias`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from eqviz.errors import EqvizError
from eqviz.fields.geometric_tensors import is_steerable_module
from eqviz.fields.grid_action import act_on_grid
from eqviz.fields.steerable import Steerable
from eqviz.fields.steerable_reading import steerable
from eqviz.groups.group import Element

ROUNDING = 64 * 2.0**-24
"""How far a filter may lie from the equivariant ones, relative to its largest number, to be one but for rounding.

Half a unit in the last place of float32 is 2^-24 of a number. An entry of a filter is a sum of some tens of products of
a weight and a stored number of the basis, and each of them brings an error of that kind. Filters of escnn were seen to
lie up to 10 times 2^-24 away (7 x 7, C16), those of e2cnn not at all; a true break of 1e-4 is 26 times this bound.
"""


def expanding(model: nn.Module) -> Iterator[nn.Module]:
    """The modules of a model that make filters of their weights."""
    for module in model.modules():
        if callable(getattr(module, "expand_parameters", None)) and is_steerable_module(module):
            yield module


def expand_anew(model: nn.Module) -> None:
    """Make the stored filters again: after a change of weights in evaluation mode."""
    with torch.no_grad():
        for module in expanding(model):
            if not module.training:
                module.train()
                module.eval()


def polish_filters(model: nn.Module) -> None:
    """Put every stored filter back onto the equivariant ones, if no more than float32 rounding keeps it off.

    The libraries store their bases in float32. In e2cnn entries that mirror each other come out as the same number;
    filters of escnn are equivariant up to 1e-6 only, and so they stay in a float64 copy of the network, where that
    would pass for a real break. An equivariant filter is one that no element of the group changes by moving it,

        K = 1/|G| sum_g rho_out(g) K(g^-1 .) rho_in(g)^-1,

    and the right-hand side is the nearest one to any K; likewise b = 1/|G| sum_g rho_out(g) b for the bias. G are the
    elements of both types that keep the pixel grid. A filter that this changes by more than `ROUNDING` is left as it
    is, so that what truly breaks is still seen to. Modules come out in evaluation mode, without which the library would
    make the filter again.
    """
    with torch.no_grad():
        for module in expanding(model):
            module.eval()
            try:
                inner, outer = steerable(module.in_type), steerable(module.out_type)
            except EqvizError:  # over no plane: it stays as it is
                continue
            for name in ("filter", "matrix", "expanded_bias"):
                stored = getattr(module, name, None)
                if isinstance(stored, Tensor):
                    setattr(module, name, _polished(module, stored, inner, outer))


def _polished(module: nn.Module, stored: Tensor, inner: Steerable, outer: Steerable) -> Tensor:
    """The nearest equivariant filter or bias, if it is near enough."""
    elements = [g for g in outer.exact_group.elements if inner.represents(g)]
    if stored.dim() == 1:
        found = _mean(outer.act_on_fibre(stored[None], g)[0] for g in elements)
    else:
        # a transposed convolution has its inputs first
        back = hasattr(module, "output_padding") and stored.dim() > 2
        weight = stored.transpose(0, 1) if back else stored
        if weight.shape[0] != outer.size or inner.size % weight.shape[1]:
            return stored
        part = _first_channels(inner, weight.shape[1])
        if part is None:
            return stored
        found = _mean(_moved(weight, part, outer, g) for g in elements)
        found = found.transpose(0, 1) if back else found
    near = (found - stored).abs().max() <= ROUNDING * stored.abs().max()
    return found.contiguous() if bool(near) else stored


def _moved(weight: Tensor, inner: Steerable, outer: Steerable, element: Element) -> Tensor:
    """rho_out(g) K(g^-1 .) rho_in(g)^-1 of weights (out, in, ...)."""
    moved = act_on_grid(weight, element) if weight.dim() == 4 else weight
    moved = inner.act_on_fibre(moved, element)  # rho is orthogonal: on the second axis this is a product with rho^-1
    return outer.act_on_fibre(moved.transpose(0, 1), element).transpose(0, 1)


def _mean(moved: Iterable[Tensor]) -> Tensor:
    return torch.stack(tuple(moved)).mean(0)


def _first_channels(field: Steerable, size: int) -> Steerable | None:
    """The fields of the first channels alone, which one group of a grouped convolution reads; they are all alike."""
    kinds, left = [], size
    for fibre, times in field.kinds:
        taken = min(times, left // fibre.size)
        kinds += [(fibre, taken)] if taken else []
        left -= taken * fibre.size
        if taken < times:
            break
    return None if left else replace(field, kinds=tuple(kinds))
