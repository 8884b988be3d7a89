"""Orbits of single images in the plane of the first two principal components of a layer's features.

An exactly equivariant layer gives the same aligned features A_g(x) = rho(g)^-1 Phi(g x) for every g: the orbit of an
image is one point. How far it spreads beside the distance between images is seen in the plane and told as a fraction.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from jaxtyping import Float
from sklearn.decomposition import PCA
from torch import Tensor, nn

from eqviz.capture.features import ANALYSED_KINDS, OrbitFeatures, orbit_features
from eqviz.capture.layers import layer_kind, select_layers, split_globs
from eqviz.errors import EqvizError
from eqviz.fields.field_types import FieldType
from eqviz.fields.layer_calls import LayerCall
from eqviz.groups.group import Group

POINTS = 24
CLASSES = 6
"""As many as a figure can tell apart by colour and marker."""

_ROUNDING = 16  # units in the last place: points that differ by less are one point
_FEATURES = ("convolution", "pooling", "block")
_COLUMNS = (
    "layer", "call", "depth", "kind", "subsamples", "image", "label", "element", "first", "second", "explained_first",
    "explained_second", "orbit_spread", "n",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Plane:
    """The points of some orbits in the plane of the first two principal components of all of them.

    coordinates   (element, image, 2), in units of the root mean square distance of all points from their mean
    explained     fractions of the variance along the two components
    orbit_spread  fraction of the variance that lies within orbits
    """

    coordinates: npt.NDArray[np.float64]
    explained: tuple[float, float]
    orbit_spread: float


def orbit_plane(
    model: nn.Module,
    images: Float[Tensor, "image channel height width"],
    labels: Sequence[object] | npt.NDArray[np.generic],
    group: str | Group = "p4",
    layers: str | Iterable[str] = "*",
    fields: Mapping[str, str | FieldType] | None = None,
    batch_size: int = 64,
    *,
    points: int = POINTS,
    classes: int = CLASSES,
    progress: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """The table `orbit_plane` without its run keys: where the aligned features of some images and of their orbits lie.

    images   (n, channel, height, width), normalised as the model wants them
    labels   one an image; numbers or names
    group    elements that interpolate are left out: the group is its exact subgroup
    layers   globs of module paths; `*` stands for two: the first layer that subsamples, and the last convolution,
             pooling or block, whose features the classifier reads
    points   how many images: the first ones of each of the first `classes` labels in turn

    `first`, `second` are coordinates along the principal components (scikit-learn's PCA of all elements and images of
    a layer call together), in units of the root mean square distance of the points from their mean in the full space.
    `explained_first`, `explained_second` are fractions of the variance. `orbit_spread` is
    sum_gx |A_g(x) - S(x)|^2 / sum_gx |A_g(x) - mean|^2 in the full space: 0 for an exactly equivariant layer, 1 if the
    orbit means of all images are the same. `image` is the position in `images`, `n` the number of images. Of layers
    whose features differ by rounding alone the coordinates are NaN. Maps larger than 8 x 8 are averaged down first.

    Raises EqvizError for labels that do not match the images, fewer than two images, or unknown layers.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.AvgPool2d(2))
    >>> table = orbit_plane(model, torch.rand(3, 1, 8, 8), [0, 1, 1], "C4")
    >>> len(table), table["layer"].unique().tolist(), bool(table["orbit_spread"].max() < 1e-9)
    (12, ['1'], True)
    """
    names = [str(label) for label in labels]
    if len(names) != len(images):
        raise EqvizError(
            "labels", expected=f"one for each of {len(images)} images", found=f"{len(names)}",
            fix="give the labels of these images",
        )  # fmt: skip
    chosen = chosen_images(np.asarray(labels), points, classes)
    if len(chosen) < 2:
        raise EqvizError(
            "images", expected="two or more, whose distances are compared", found=f"{len(chosen)}",
            fix="give more images",
        )  # fmt: skip
    globs = split_globs(layers)
    kinds = ANALYSED_KINDS if globs == ["*"] else _kinds(model, globs)
    found = orbit_features(model, images[chosen], group, globs, fields, batch_size, kinds=kinds, progress=progress)
    kept = default_layers(found) if globs == ["*"] else tuple(found)
    rows = (row for key in kept for row in _rows(found[key], chosen, [names[i] for i in chosen]))
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def chosen_images(labels: npt.NDArray[np.generic], points: int, classes: int) -> npt.NDArray[np.int64]:
    """Positions of the first images of each of the first `classes` labels in turn, `points` in all, in order.

    >>> chosen_images(np.array([7, 7, 7, 3, 3, 9]), points=4, classes=2).tolist()
    [0, 1, 3, 4]
    """
    places = [np.flatnonzero(labels == label) for label in np.unique(labels)[:classes]]
    ranked = [(rank, place) for own in places for rank, place in enumerate(own)]
    # a stable sort by rank: the first image of every label, then the second of every label, ...
    return np.array(sorted(place for _, place in sorted(ranked, key=lambda pair: pair[0])[:points]), dtype=np.int64)


def default_layers(found: Mapping[LayerCall, OrbitFeatures]) -> tuple[LayerCall, ...]:
    """The first layer call that subsamples and the last one before the classifier, in execution order."""
    subsampling = [key for key, features in found.items() if features.info.subsamples]
    classifier = max((f.info.depth for f in found.values() if f.info.kind == "linear"), default=float("inf"))
    before = [key for key, f in found.items() if f.info.kind in _FEATURES and f.info.depth < classifier]
    deep = before or list(found)
    if not deep:
        raise EqvizError(
            "layers", expected="a convolution, pooling, block or linear layer that can be aligned", found="none",
            fix="name a layer, and declare its field type",
        )  # fmt: skip
    return tuple(dict.fromkeys([*subsampling[:1], deep[-1]]))


def plane(aligned: Float[Tensor, "element image ..."]) -> Plane:
    """Principal components of all points A_g(x) of a layer, and the fraction of their variance within orbits.

    >>> found = plane(torch.tensor([[[1.0, 0.0], [-1.0, 0.0]], [[1.0, 0.0], [-1.0, 0.0]]]))
    >>> found.coordinates[0, :, 0].tolist(), found.explained, found.orbit_spread
    ([1.0, -1.0], (1.0, 0.0), 0.0)
    """
    order, images = aligned.shape[:2]
    values = aligned.double().reshape(order, images, -1).numpy()
    centred = values - values.mean((0, 1))
    variance = float(np.square(centred).sum() / (order * images))
    rounding = _ROUNDING * torch.finfo(aligned.dtype).eps
    if variance <= rounding**2 * float(np.square(values).sum() / (order * images)):
        return Plane(np.full((order, images, 2), np.nan), (float("nan"), float("nan")), float("nan"))
    within = float(np.square(values - values.mean(0)).sum() / (order * images))
    flat = centred.reshape(order * images, -1)
    # the full solver is deterministic, and its signs are fixed: the largest loading of a component is positive
    components = PCA(min(2, *flat.shape), svd_solver="full").fit(flat)
    scores, shares = np.zeros((order * images, 2)), np.zeros(2)
    scores[:, : components.n_components_] = components.transform(flat)
    shares[: components.n_components_] = components.explained_variance_ratio_
    coordinates = scores.reshape(order, images, 2) / np.sqrt(variance)
    return Plane(coordinates, (float(shares[0]), float(shares[1])), within / variance)


def _kinds(model: nn.Module, layers: Iterable[str]) -> set[str]:
    """Layers that are asked for are shown, whatever their kind."""
    return {layer_kind(name, module) for name, module in select_layers(model, layers).items()}


def _rows(features: OrbitFeatures, chosen: npt.NDArray[np.int64], names: Sequence[str]) -> Iterator[dict[str, object]]:
    found, info = plane(features.aligned), features.info
    shared = {
        "layer": features.key.layer, "call": features.key.call, "depth": info.depth, "kind": info.kind,
        "subsamples": info.subsamples, "explained_first": found.explained[0], "explained_second": found.explained[1],
        "orbit_spread": found.orbit_spread, "n": len(chosen),
    }  # fmt: skip
    for place, (image, label) in enumerate(zip(chosen, names, strict=True)):
        for g, element in enumerate(features.group.elements):
            first, second = found.coordinates[g, place]
            point = {"element": str(element), "first": float(first), "second": float(second)}
            yield {**shared, "image": int(image), "label": label, **point}
