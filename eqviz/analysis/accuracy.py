"""How well a network classifies images that were rotated or reflected: accuracy for every angle."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from eqviz.capture.hooks import watching
from eqviz.capture.layers import shape_in_words
from eqviz.errors import EqvizError
from eqviz.fields.grid_action import act_by_interpolation, act_on_grid, mask_disc
from eqviz.fields.layer_calls import placement, tensors_in
from eqviz.groups.group import Element

LEFT_RIGHT = Element(Fraction(1, 2), reflected=True)
QUARTER_TURNS = (0.0, 90.0, 180.0, 270.0)
EVERY_TEN_DEGREES = tuple(float(angle) for angle in range(0, 360, 10))

Normalise = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Rotation:
    """A test condition: flip left-right first if `reflected`, then rotate counter-clockwise by `angle` degrees."""

    angle: float
    reflected: bool = False

    @property
    def element(self) -> Element:
        """The rotation alone, as an element of O(2)."""
        return Element(Fraction(self.angle / 360).limit_denominator(36000))

    @property
    def grid(self) -> bool:
        """Whether it only permutes pixels, so that nothing is interpolated."""
        return self.element.on_grid

    def of(self, images: Float[Tensor, "batch channel height width"], fill: float) -> Tensor:
        """The rotated images; between pixels bilinear, and `fill` where the picture ends."""
        source = act_on_grid(images, LEFT_RIGHT) if self.reflected else images
        if self.grid:
            return act_on_grid(source, self.element)
        return act_by_interpolation(source, self.element, fill=fill)


def rotations(angles: Sequence[float] = EVERY_TEN_DEGREES, *, reflections: bool = True) -> tuple[Rotation, ...]:
    """The given angles, each once and within 0 to 360 degrees, and the four quarter turns of the reflected image.

    >>> len(rotations()), len(rotations((0.0, 90.0), reflections=False))
    (40, 2)
    """
    mirrored = [Rotation(angle, reflected=True) for angle in QUARTER_TURNS] if reflections else []
    return (*dict.fromkeys(Rotation(float(angle) % 360) for angle in angles), *mirrored)


def accuracy_tables(
    model: nn.Module,
    images: Float[Tensor, "image channel height width"],
    labels: Int[np.ndarray, " image"],
    classes: Sequence[str],
    conditions: Sequence[Rotation],
    *,
    normalise: Normalise = lambda images: images,
    mask: bool = False,
    fill: float = 0.0,
    batch_size: int = 256,
    progress: Callable[[int], None] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accuracy for every condition, over all images and class by class: the tables `accuracy`, `accuracy_classes`.

    Images are in their own units (0 to 1); they are rotated, with `fill` beyond their edge, masked to the inscribed
    disc if asked for, and only then normalised. `accuracy` is the fraction of images whose largest score is that of
    their label, `balanced_accuracy` the mean of that fraction over the classes that occur. `progress` is called with
    the number of conditions done. Raises EqvizError if the model fails or does not give one score a class.
    """
    overall, by_class = [], []
    device, dtype = placement(model)
    with watching(model, {}, _ignore) as watch:

        def scores(batch: Tensor) -> Any:
            return watch.run(batch.to(device, dtype))

        for done, condition in enumerate(conditions, start=1):
            predicted = predict(scores, images, len(classes), condition, normalise, mask, fill, batch_size)
            keys = {
                "angle": condition.angle, "reflected": condition.reflected, "grid": condition.grid, "mask": mask,
                "fill": fill,
            }  # fmt: skip
            overall.append({**keys, **_scores(predicted, labels)})
            by_class += [{**keys, **row} for row in _class_scores(predicted, labels, classes)]
            if progress is not None:
                progress(done)
    return pd.DataFrame(overall), pd.DataFrame(by_class)


def predict(
    network: Callable[[Tensor], Any],
    images: Tensor,
    classes: int,
    condition: Rotation,
    normalise: Normalise,
    mask: bool,
    fill: float,
    batch_size: int,
) -> npt.NDArray[np.int64]:
    """The class with the largest score for every image under a condition; `network` gives the scores of a batch."""
    found = []
    for batch in torch.split(images, batch_size):
        moved = condition.of(batch, fill)
        shown = mask_disc(moved, fill=fill) if mask else moved
        scores = class_scores(network(normalise(shown)), len(batch), classes)
        found.append(scores.argmax(1).cpu())
    return np.asarray(torch.cat(found).numpy(), dtype=np.int64)


def missing_scores(model: nn.Module, images: Float[Tensor, "image channel height width"], classes: int) -> str:
    """Why the accuracy of `model` cannot be measured: what it gives out instead of a score a class; "" if it has them.

    `images` are normalised, and one or two of them do. Raises EqvizError if the model fails on them.

    >>> missing_scores(nn.Conv2d(1, 3, 3), torch.rand(2, 1, 8, 8), 10)
    'it gives out (batch, 3, 6, 6), no scores (batch, 10) of the 10 classes of the data'
    """
    device, dtype = placement(model)
    with watching(model, {}, _ignore) as watch:
        output = watch.run(images.to(device, dtype))
    tensors = [tensor for _, tensor in tensors_in(output)]
    if any(_are_scores(tensor, len(images), classes) for tensor in tensors):
        return ""
    given = " and ".join(_in_words(tensor) for tensor in tensors[:3]) or f"a {type(output).__name__} without a tensor"
    return f"it gives out {given}, no scores (batch, {classes}) of the {classes} classes of the data"


def class_scores(output: Any, images: int, classes: int) -> Tensor:
    """The scores (image, class) in what a model returned: its first tensor of that shape."""
    shapes = []
    for _, tensor in tensors_in(output):
        if _are_scores(tensor, images, classes):
            return tensor
        shapes.append(tuple(tensor.shape))
    raise EqvizError(
        "model output", expected=f"class scores of shape ({images}, {classes})",
        found=str(shapes or type(output).__name__),
        fix="check that the data have the classes that the model was trained on",
    )  # fmt: skip


def _are_scores(tensor: Tensor, images: int, classes: int) -> bool:
    """Whether the largest of each row of a tensor says a class."""
    return tuple(tensor.shape) == (images, classes) and tensor.dtype != torch.bool and not tensor.is_complex()


def _in_words(tensor: Tensor) -> str:
    real = tensor.is_floating_point()
    return shape_in_words(tuple(tensor.shape)) + ("" if real else f" of {str(tensor.dtype).removeprefix('torch.')}")


def _ignore(*_: object) -> None:
    """No layer is watched: the context only sets the modes of the model."""


def _scores(predicted: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> dict[str, float]:
    hits = predicted == labels
    per_class = [hits[labels == label].mean() for label in np.unique(labels)]
    return {"accuracy": float(hits.mean()), "balanced_accuracy": float(np.mean(per_class)), "n": len(labels)}


def _class_scores(
    predicted: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], classes: Sequence[str]
) -> Iterator[dict[str, object]]:
    for label in np.unique(labels):
        chosen = labels == label
        yield {"label": classes[label], "accuracy": float((predicted[chosen] == label).mean()), "n": int(chosen.sum())}
