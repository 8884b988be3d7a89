"""One image seen through one layer of several networks: the feature maps that figures show."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from eqviz.capture.decomposition import decompose
from eqviz.errors import EqvizError
from eqviz.fields.grid_action import act_by_interpolation, act_on_grid
from eqviz.fields.layer_calls import layer_names
from eqviz.groups.group import group as named_group
from eqviz.studies.devices import choose_device
from eqviz.studies.measuring import test_images
from eqviz.studies.measuring_settings import Settings
from eqviz.studies.run_folders import Run

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Example:
    """What one layer of one run makes of one image x and of its moved copy g x.

    image           (channel, height, width), values 0 to 1
    moved           g x, the same
    element         g, in words
    filter          of a convolution: what this channel makes of the first input channel, (kernel, kernel)
    feature         one channel of f(x), (height, width)
    aligned         the same channel of g^-1 f(g x)
    relative_error  |g^-1 f(g x) - f(x)| / |f(x)| over the whole layer
    """

    run: str
    layer: str
    element: str
    channel: int
    image: Array
    moved: Array
    feature: Array
    aligned: Array
    relative_error: float
    filter: Array | None = None


def feature_example(
    run: Run, epoch: int, settings: Settings, layer: str, *, image: int = 0, element: int = 1,
    channel: int | None = None,
) -> Example:  # fmt: skip
    """The example of one run: its test image number `image`, and an element of the group (the first that moves it).

    Shown is the channel (at the identity of the group axis) with the most energy, unless one is given; the filter is
    at the identity too. Raises EqvizError for a layer without maps, and for the trivial group.
    """
    group = named_group(settings.group or run.group)
    if group.order == 1:
        raise EqvizError("group", expected="a group that moves the image", found=group.name, fix="choose another group")
    images = test_images(run, settings)
    chosen = torch.from_numpy(images.images[image : image + 1])
    model = run.build(epoch).to(choose_device(settings.device))
    parts = decompose(model, run.normalisation.apply(chosen), layer, group, mask=settings.mask)
    upright, moved = _maps(parts.aligned[0, 0], layer), _maps(parts.aligned[element, 0], layer)
    shown = int(upright.flatten(1).double().square().sum(1).argmax()) if channel is None else channel
    error = (parts.aligned[element, 0] - parts.aligned[0, 0]).double().norm() / parts.aligned[0, 0].double().norm()
    g = group.elements[element]
    copy = act_on_grid(chosen, g) if g.on_grid else act_by_interpolation(chosen, g)
    return Example(
        run.name, layer, str(g), shown, _array(chosen[0]), _array(copy[0]), _array(upright[shown]),
        _array(moved[shown]), float(error), _filter(layer_names(model).get(layer), shown),
    )  # fmt: skip


def _filter(module: nn.Module | None, channel: int) -> Array | None:
    """The filter from the first input channel to `channel`, (kernel, kernel), of a convolution; None for others.

    Weights are (out, in, kernel, kernel), or (out, in, fibre, kernel, kernel) for group convolutions.
    """
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.dim() not in (4, 5) or channel >= len(weight):
        return None
    return _array(weight[channel, 0, 0] if weight.dim() == 5 else weight[channel, 0])


def _maps(features: Tensor, layer: str) -> Tensor:
    """One map a channel, (channel, height, width), at the identity of the group axis if there is one."""
    if features.dim() == 4:
        return features[:, 0]
    if features.dim() == 3:
        return features
    raise EqvizError(
        f"layer {layer}", expected="feature maps", found=f"activations of shape {tuple(features.shape)}",
        fix="choose a layer before the global pool",
    )  # fmt: skip


def _array(tensor: Tensor) -> Array:
    return np.asarray(tensor.detach().cpu().numpy(), dtype=np.float64)
