"""The breaking fraction of a layer as a function of the image that can be differentiated."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from eqviz.analysis.attribution_layers import OrbitLayer
from eqviz.fields.layer_calls import tensors_in
from eqviz.fields.orbit import align, orbit, symmetric_part
from eqviz.groups.group import Group


@contextmanager
def breaking_function(
    run: Callable[[Tensor], Any], layer: OrbitLayer, G: Group
) -> Iterator[Callable[[Tensor], Tensor]]:
    """b_l(x) = sum_g |D_g(x)|^2 / sum_g |A_g(x)|^2 for each image: from (n, channel, height, width) to (n,), float64.

    A_g(x) = rho(g)^-1 Phi_l(g x) and D_g = A_g - S as everywhere. The gradient goes through the whole orbit: elements
    on the grid only permute pixels. b_l(h x) = b_l(x) for every h in G and every network, for h x has the same orbit;
    so the gradient turns with the image even where maximum pools are tied. 0 where the layer is dead on the orbit; on
    a path along which the layer wakes up b jumps, and integrated gradients miss the jump: their completeness says so.

    `run` is the forward pass of the model that the layer belongs to. The hook is gone when the context ends.
    """
    outputs: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        items = {suffix: tensor for suffix, tensor in tensors_in(output) if layer.key.layer.endswith(suffix)}
        # a copy: an in-place layer that follows must not change what is kept
        outputs.append(items[max(items, key=len)].clone())

    def function(images: Tensor) -> Tensor:
        aligned: dict[int, Tensor] = {}
        for part in orbit(images, G):
            outputs.clear()
            run(part.images)
            elements = [G.elements[g] for g in part.positions]
            aligned.update(zip(part.positions, align(outputs[layer.key.call], elements, layer.field), strict=True))
        return breaking_fractions(torch.stack([aligned[g] for g in range(G.order)]))

    handle = layer.module.register_forward_hook(keep)
    try:
        yield function
    finally:
        handle.remove()
        outputs.clear()


def breaking_fractions(aligned: Float[Tensor, "element image ..."]) -> Float[Tensor, " image"]:
    """sum_g |D_g|^2 / sum_g |A_g|^2 of every image; 0, with gradient 0, where all activations are 0.

    >>> breaking_fractions(torch.tensor([[[1.0], [0.0]], [[-1.0], [0.0]]])).tolist()
    [1.0, 0.0]
    """
    broken, whole = (_energy(part) for part in (aligned - symmetric_part(aligned), aligned))
    dead = whole == 0
    return torch.where(dead, torch.zeros_like(whole), broken / torch.where(dead, torch.ones_like(whole), whole))


def _energy(orbits: Float[Tensor, "element image ..."]) -> Float[Tensor, " image"]:
    fine = orbits.cpu() if orbits.device.type == "mps" else orbits  # which has no float64
    return fine.double().flatten(2).square().sum(2).sum(0)
