"""Explanations to look at: the attribution of x beside that of g x moved back, as arrays."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from torch import Tensor, nn

from eqviz.analysis.attribution_methods import STEPS, input_methods
from eqviz.analysis.attribution_orbit import ExplainedOrbit, Instrument, ignore, moving_group
from eqviz.capture.hooks import watching
from eqviz.errors import EqvizError
from eqviz.fields.field_types import Image
from eqviz.fields.layer_calls import placement
from eqviz.groups.group import Group

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AttributionExample:
    """The attribution of some images x and of g x, to pixels, summed over colours; in units of the class score.

    method, element  which method, and g in words
    targets          (image,), the class that is explained: the one predicted for x
    upright          (image, height, width), the attribution of x
    moved_back       (image, height, width), g^-1 applied to the attribution of g x
    cosine           (image,), the cosine of the two over colours and pixels; NaN where one of them is 0
    """

    method: str
    element: str
    targets: npt.NDArray[np.int64]
    upright: Array
    moved_back: Array
    cosine: Array


def attribution_example(
    model: nn.Module,
    images: Float[Tensor, "image channel height width"],
    group: str | Group = "p4",
    *,
    method: str = "integrated_gradients",
    element: int = 1,
    baseline: float | Tensor | None = None,
    steps: int = STEPS,
    batch_size: int = 64,
) -> AttributionExample:
    """Explain a few images, and the same images moved by the element of that number in the (exact sub)group.

    Other arguments, and what is raised, as in :func:`eqviz.analysis.attribution.attribution`; black, where no baseline
    is given, is that of these images. EqvizError also for an element that the group does not have.

    >>> import torch
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    >>> attribution_example(model, torch.randn(2, 1, 8, 8), "C4", method="saliency").upright.shape
    (2, 8, 8)
    """
    G = moving_group(group)
    device, dtype = placement(model)
    shown = images.to(device, dtype)
    instrument = Instrument.fitting([shown], G, baseline, steps)
    known = list(input_methods(steps, instrument.windows))
    if method not in known:
        raise EqvizError("method", expected=f"one of {', '.join(known)}", found=repr(method), fix="choose one of these")
    if not 0 < element < G.order:
        raise EqvizError(
            "element", expected=f"from 1 to {G.order - 1}, an element of {G}", found=str(element), fix="choose 1"
        )
    with watching(model, {}, ignore) as watch:
        orbit = ExplainedOrbit.of(watch.run, shown, G, instrument.baseline, batch_size).of_elements((0, element))
        found = orbit.aligned([instrument.explain(method, part) for part in orbit.parts], Image()).cpu().double()
    upright, moved_back = (np.asarray(part.numpy(), dtype=np.float64) for part in found.sum(2))
    targets = np.asarray(orbit.targets.cpu().numpy(), dtype=np.int64)
    return AttributionExample(method, str(G.elements[element]), targets, upright, moved_back, _cosines(found))


def _cosines(found: Float[Tensor, "2 image channel height width"]) -> Array:
    upright, moved = found.flatten(2)
    return np.asarray(((upright * moved).sum(1) / (upright.norm(dim=1) * moved.norm(dim=1))).numpy())
