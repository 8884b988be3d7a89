"""Captum's attribution methods on one batch: which pixels, or which places of a map, a score rests on.

The classes are captum's (Kokhlikyan et al., "Captum", 2020); here they are only called, in batches that fit. All of
them are signed: a negative value speaks against the class.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from captum.attr import IntegratedGradients, LayerGradCam, Occlusion, Saliency
from jaxtyping import Float, Int
from torch import Tensor, nn

from eqviz.analysis.occlusion_windows import Windows
from eqviz.errors import EqvizError
from eqviz.fields.geometric_tensors import with_tensor
from eqviz.fields.layer_calls import tensors_in
from eqviz.fields.stated_types import gives_geometric

Forward = Callable[[Tensor], Tensor]
"""From images (n, channel, height, width) to scores (n, class), or to one number an image, (n,)."""

STEPS = 32
"""Points of the Gauss-Legendre rule on the path from the baseline to the image."""


@dataclass(frozen=True, eq=False)
class Asked:
    """Some images, and the class whose score is explained: `targets` (n,), None where the score is one number.

    `baseline` (1, channel, height, width) is the image that stands for "nothing there".
    """

    forward: Forward
    images: Tensor
    targets: Tensor | None
    baseline: Tensor
    batch_size: int = 64

    def parts(self, factor: int = 1) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Images and targets by as many as make a batch when each of them becomes `factor` images."""
        size = max(1, self.batch_size // factor)
        for start in range(0, len(self.images), size):
            chosen = slice(start, start + size)
            yield self.images[chosen].detach(), None if self.targets is None else self.targets[chosen]


def integrated_gradients(asked: Asked, *, steps: int = STEPS) -> Float[Tensor, "image channel height width"]:
    """(x - x0) times the mean gradient on the straight path from the baseline x0 to x, by `steps` points.

    Source: Sundararajan, Taly & Yan, "Axiomatic attribution for deep networks", ICML 2017, equation 1.

    >>> asked = Asked(lambda x: x.square().flatten(1).sum(1), torch.full((1, 1, 1, 2), 3.0), None, torch.zeros(1))
    >>> integrated_gradients(asked).round().tolist()
    [[[[9.0, 9.0]]]]
    """
    method = IntegratedGradients(asked.forward)
    return _joined(
        method.attribute(images, asked.baseline.expand_as(images[:1]), target=targets, n_steps=steps)
        for images, targets in asked.parts(steps)
    )


def completeness(
    asked: Asked, attribution: Float[Tensor, "image channel height width"]
) -> tuple[Float[Tensor, " image"], Float[Tensor, " image"]]:
    """By how much sum of attribution and f(x) - f(x0) differ, and f(x) - f(x0) itself, for each image, in float64.

    Integrated gradients are complete (the axiom of their paper, proposition 1): what is left is the error of the rule
    that takes the integral.
    """
    method, deltas, start = IntegratedGradients(asked.forward), [], 0
    for images, targets in asked.parts(2):
        own = attribution[start : start + len(images)]
        deltas.append(method.compute_convergence_delta(own, asked.baseline, images, target=targets).cpu().double())
        start += len(images)
    delta = torch.cat(deltas)
    return delta, attribution.cpu().double().flatten(1).sum(1) - delta


def saliency(asked: Asked) -> Float[Tensor, "image channel height width"]:
    """The gradient of the score itself, with its sign (captum's default is its absolute value).

    Source: Simonyan, Vedaldi & Zisserman, "Deep inside convolutional networks", 2014, section 3, before the maximum
    over colours is taken.
    """
    method = Saliency(asked.forward)
    # images that ask for gradients already: captum warns where it has to ask itself
    return _joined(
        method.attribute(images.clone().requires_grad_(), target=targets, abs=False)
        for images, targets in asked.parts()
    )


def occlusion(asked: Asked, windows: Windows) -> Float[Tensor, "image channel height width"]:
    """By how much the score falls when a window is filled with the baseline: for each pixel, the mean over its windows.

    Source: Zeiler & Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, section 4.2.
    """
    method, channels = Occlusion(asked.forward), asked.images.shape[1]
    at_once = max(1, asked.batch_size // 4)
    return _joined(
        method.attribute(
            images, (channels, *windows.size), (channels, *windows.stride), asked.baseline.expand_as(images[:1]),
            target=targets, perturbations_per_eval=at_once,
        )
        for images, targets in asked.parts(at_once)
    )  # fmt: skip


def grad_cam(asked: Asked, layer: nn.Module) -> Float[Tensor, "image 1 ..."]:
    """A layer's maps, weighted by their mean gradient and summed over channels, without the final rectifier.

    The mean runs over all axes after the channels, so over the group axis too, which stays in the result: from
    (n, channel, |G|, height, width) to (n, 1, |G|, height, width). Of a layer that runs several times captum takes
    the last call.

    Source: Selvaraju et al., "Grad-CAM", ICCV 2017, equations 1 and 2.
    """
    with _tensors_of(layer) as source:
        method = LayerGradCam(asked.forward, source)
        return _joined(method.attribute(images, target=targets) for images, targets in asked.parts())


@contextmanager
def _tensors_of(layer: nn.Module) -> Iterator[nn.Module]:
    """A module that gives out, as it is, the tensor that the layer does: captum takes no geometric tensors."""
    if not gives_geometric(layer):
        yield layer
        return
    tap = nn.Identity()
    handle = layer.register_forward_hook(lambda module, inputs, output: with_tensor(output, tap(output.tensor)))
    try:
        yield tap
    finally:
        handle.remove()


def _joined(parts: Iterator[Any]) -> Tensor:
    with differentiable():
        return torch.cat([part.detach() for part in parts])


@contextmanager
def differentiable() -> Iterator[None]:
    """What autograd says of a model without gradients, as EqvizError."""
    try:
        yield
    except RuntimeError as error:
        raise EqvizError(
            "model", expected="scores that can be differentiated by the images", found=str(error).split("\n")[0][:200],
            fix="remove detach(), argmax and in-place operations from its forward pass",
        ) from error  # fmt: skip


def input_methods(steps: int, windows: Windows) -> dict[str, Callable[[Asked], Tensor]]:
    """The methods that explain by input pixels, by name."""
    return {
        "integrated_gradients": partial(integrated_gradients, steps=steps),
        "saliency": saliency,
        "occlusion": partial(occlusion, windows=windows),
    }


def class_scores(forward: Callable[[Tensor], Any], images: Tensor) -> Float[Tensor, "image class"]:
    """The scores (n, class) in what a model returns: its first such tensor of floating-point numbers."""
    shapes: list[Sequence[int]] = []
    for _, tensor in tensors_in(forward(images)):
        if tensor.dim() == 2 and len(tensor) == len(images) and tensor.is_floating_point():
            return tensor
        shapes.append(tuple(tensor.shape))
    raise EqvizError(
        "model output", expected=f"class scores of shape ({len(images)}, classes)", found=str(shapes or "no tensor"),
        fix="explain a classifier",
    )  # fmt: skip


def predicted(forward: Forward, images: Tensor, batch_size: int) -> Int[Tensor, " image"]:
    """The class with the largest score, for each image."""
    return torch.cat([forward(part).argmax(1) for part in torch.split(images, batch_size)])
