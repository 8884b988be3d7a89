"""The class scores of a network on the orbit of a batch: what analyses of its output start from."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int
from torch import Tensor

from eqviz.errors import EqvizError
from eqviz.fields.layer_calls import tensors_in
from eqviz.fields.orbit import OrbitBatch


def orbit_scores(
    run: Callable[[OrbitBatch], Any], parts: Sequence[OrbitBatch], images: int, classes: int
) -> Float[np.ndarray, "element image class"]:
    """The scores f(g x) for every element g, in float64; `run` gives what the model returns on one part of the orbit.

    Nothing moves the scores (the trivial representation), so they are aligned as they are. Raises EqvizError if the
    output holds no scores of at least `classes` classes.
    """
    found: dict[int, npt.NDArray[np.float64]] = {}
    for part in parts:
        stacked = scores_in(run(part), len(part.positions) * images, classes)
        by_element = stacked.detach().cpu().double().numpy().reshape(len(part.positions), images, -1)
        found.update(zip(part.positions, by_element, strict=True))
    return np.stack([found[position] for position in sorted(found)])


def scores_in(output: Any, images: int, classes: int) -> Tensor:
    """The scores (image, class) in what a model returned: its first tensor of `images` rows and enough columns."""
    shapes = []
    for _, tensor in tensors_in(output):
        shape = tuple(tensor.shape)
        if tensor.is_floating_point() and len(shape) == 2 and shape[0] == images and shape[1] >= classes:
            return tensor
        shapes.append(shape)
    raise EqvizError(
        "model output", expected=f"class scores of shape ({images}, {classes} or more)",
        found=str(shapes or type(output).__name__),
        fix="check that the labels are those that the model was trained on",
    )  # fmt: skip


def class_count(images: Tensor, labels: Int[np.ndarray, " label"]) -> int:
    """How many classes the labels 0, 1, ... need at least. Raises EqvizError if they are not one an image from 0 on."""
    if len(labels) != len(images) or not len(labels):
        raise EqvizError(
            "labels", expected=f"one for each of {max(len(images), 1)} images", found=f"{len(labels)}",
            fix="give the images and their labels together",
        )  # fmt: skip
    if labels.min() < 0:
        raise EqvizError(
            "labels", expected="class numbers from 0 on", found=f"{labels.min()}", fix="leave out unlabelled images"
        )
    return int(labels.max()) + 1
