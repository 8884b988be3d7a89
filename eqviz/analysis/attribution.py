"""Does the explanation turn with the image? Attributions of moved images against moved attributions."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pandas as pd
from torch import Tensor, nn

from eqviz.analysis.attribution_layers import OrbitLayer, map_layers, orbit_layers
from eqviz.analysis.attribution_methods import STEPS, completeness, grad_cam
from eqviz.analysis.attribution_orbit import ExplainedOrbit, Instrument, OrbitPart, ignore, moving_group
from eqviz.analysis.explanation_sums import CompletenessSums, CosineSums, cosine_sums
from eqviz.analysis.pool_ties import TieCounts, pool_ties
from eqviz.capture.hooks import watching
from eqviz.capture.orbit_capture import image_batches, require_repeatable
from eqviz.errors import EqvizError
from eqviz.fields.field_types import FieldType, Image
from eqviz.fields.layer_calls import placement
from eqviz.groups.group import Group
from eqviz.tables import LAYER_KEYS, MODEL_KEYS, conform

INPUT = "(input)"
"""The layer name of the image itself."""

GRAD_CAM = "grad_cam"
METHODS = ("integrated_gradients", "saliency", "occlusion", GRAD_CAM)

_INPUT_KEYS: Mapping[str, object] = {"layer": INPUT, "call": 0, "depth": -1, "kind": "input", "subsamples": False}


def attribution(
    model: nn.Module,
    images: Any,
    group: str | Group = "p4",
    layers: str | Iterable[str] = "*",
    fields: Mapping[str, str | FieldType] | None = None,
    batch_size: int = 64,
    *,
    methods: Sequence[str] = METHODS,
    baseline: float | Tensor | None = None,
    steps: int = STEPS,
    window: int | None = None,
    stride: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """The table `attribution`: cosine between the attribution of g x and g applied to the attribution of x.

    images     (n, channel, height, width), normalised: a tensor, an array or batches that can be gone through again
    group      its elements off the grid are left out: the group is its exact subgroup
    layers     globs of the layers for Grad-CAM; of these, convolutions, pools and blocks with maps
    methods    integrated_gradients, saliency (the gradient with its sign) and occlusion by pixels of the image, layer
               `(input)`; grad_cam by places of a layer's maps. All of them with their sign
    baseline   the image that stands for "nothing there", x0: a number, or a tensor (channel, height, width) that the
               group leaves as it is; None for black, the lowest value of each channel over all the images
    steps      points on the path of integrated gradients
    window, stride  of occlusion in pixels, for both axes; chosen so that the group maps windows onto windows

    What is explained is the score, before a softmax, of the class predicted for the upright image, for every g. A row
    a method and layer: `cosine` is the mean over images and g other than the identity, `cosine_distance` 1 minus it
    (exact also below 1e-16), `cosine_lowest` the lowest, `cosine_pooled` sum <a, b> / sqrt(sum |a|^2 sum |b|^2).
    `undefined` pairs have no cosine, for one of the two attributions is 0; they are in none of these. `tied_windows`
    is the fraction of windows of all maximum pools on the orbit whose maximum is attained more than once,
    `tied_windows_with_gradient` that of the windows that pass a gradient of this score on; both belong to the network
    and are the same in every row. `completeness` is for integrated gradients the largest |sum of attribution -
    (f(x) - f(x0))| over the root mean square of f(x) - f(x0). Of a layer that runs several times the last call counts.

    The model runs in evaluation mode, on its own device and in its own dtype, and is left as it was. `progress` is
    told the fraction done. Raises EqvizError as `eqviz.capture` does, and for a group that moves nothing, a baseline
    or windows that it does not leave as they are, an unknown method, and a model that is no classifier.

    Integrated gradients weigh the gradient of a pixel by x - x0. From a black baseline flat black background does not
    count, and with it most of what ties in maximum pools do; from the mean of the images (0) it does.

    Source: Crabbe & van der Schaar, "Evaluating the robustness of interpretability methods through explanation
    invariance and equivariance", NeurIPS 2023, definitions 2.4 and 2.5, with the cosine as similarity.

    >>> import torch
    >>> table = attribution(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), torch.randn(2, 1, 8, 8), "C4")
    >>> table["method"].tolist()
    ['integrated_gradients', 'saliency', 'occlusion']
    """
    G = moving_group(group)
    unknown = [method for method in methods if method not in METHODS]
    if unknown or not methods:
        raise EqvizError(
            "methods", expected=f"some of {', '.join(METHODS)}", found=", ".join(unknown) or "none", fix="choose these"
        )
    require_repeatable(images)
    device, dtype = placement(model)
    batches = [batch.to(device, dtype) for batch in image_batches(images, max(1, batch_size // G.order))]
    instrument = Instrument.fitting(batches, G, baseline, steps, window, stride)
    own = orbit_layers(model, batches[0][:1], G, layers, fields or {}, batch_size, required=False)
    asked_for = list(_explanations(methods, own, instrument))
    if not asked_for:
        raise EqvizError(
            "layers", expected="at least one layer with maps, for grad_cam", found="none", fix="choose other layers"
        )
    sums = [ExplanationSums() for _ in asked_for]
    ties, done, steps_in_all = TieCounts(), 0, (len(asked_for) + 1) * len(batches)
    with watching(model, {}, ignore) as watch:
        for batch in batches:
            orbit = ExplainedOrbit.of(watch.run, batch, G, instrument.baseline, batch_size)
            for place, explanation in enumerate(asked_for):
                sums[place] += explanation.measure(orbit)
                done += 1
                if progress is not None:
                    progress(done / steps_in_all)
            ties = sum((pool_ties(model, part.asked) for part in orbit.parts), ties)
            done += 1
    if progress is not None:
        progress(1.0)
    shared = {"tied_windows": ties.fraction, "tied_windows_with_gradient": ties.fraction_with_gradient}
    rows = zip(asked_for, sums, strict=True)
    return pd.DataFrame([explanation.keys() | total.values() | shared for explanation, total in rows])


@dataclass(frozen=True)
class ExplanationSums:
    """All that is kept of one method at one layer; adds up over batches."""

    cosines: CosineSums = field(default_factory=CosineSums)
    completeness: CompletenessSums = field(default_factory=CompletenessSums)
    images: int = 0

    def __add__(self, other: "ExplanationSums") -> "ExplanationSums":
        return ExplanationSums(
            self.cosines + other.cosines, self.completeness + other.completeness, self.images + other.images
        )

    def values(self) -> dict[str, float | int]:
        """The columns that follow from the sums."""
        return {**self.cosines.values(), "completeness": self.completeness.value, "n": self.images}


@dataclass(frozen=True, eq=False)
class Explanation:
    """One method at one layer (`place`); `acts` is how the group acts on what `attribute` gives for a part."""

    method: str
    place: Mapping[str, object]
    acts: FieldType
    attribute: Callable[[OrbitPart], Tensor]

    def keys(self) -> dict[str, object]:
        """The columns that say what it is."""
        return {"method": self.method, **self.place}

    def measure(self, orbit: ExplainedOrbit) -> ExplanationSums:
        """The sums of one batch of images."""
        attributions = [self.attribute(part) for part in orbit.parts]
        complete = CompletenessSums()
        if self.method == "integrated_gradients":
            for part, attributed in zip(orbit.parts, attributions, strict=True):
                complete += CompletenessSums.of(*completeness(part.asked, attributed))
        return ExplanationSums(cosine_sums(orbit.aligned(attributions, self.acts)), complete, len(orbit.targets))


def _explanations(
    methods: Sequence[str], layers: Sequence[OrbitLayer], instrument: Instrument
) -> Iterator[Explanation]:
    for method in METHODS:
        if method in methods and method != GRAD_CAM:
            yield Explanation(method, _INPUT_KEYS, Image(), partial(instrument.explain, method))
    if GRAD_CAM in methods:
        for layer, acts in map_layers(layers):
            yield Explanation(GRAD_CAM, layer.keys(), acts, partial(_grad_cam, layer.module))


def _grad_cam(layer: nn.Module, part: OrbitPart) -> Tensor:
    return grad_cam(part.asked, layer)


def attribution_summary(table: pd.DataFrame) -> pd.DataFrame:
    """The table `attribution_summary`: the cosine distance of every method and layer over seeds.

    Mean, lowest and highest over seeds; `cosine_lowest` is the lowest of all pairs of all seeds, `tied_windows` and
    `tied_windows_with_gradient` are means. Seeds without a cosine do not count in `n_seeds`.
    """
    by = [*MODEL_KEYS, "method", *LAYER_KEYS, "kind", "subsamples"]
    summary = (
        table.groupby(by, sort=False, observed=True, dropna=False)
        .agg(
            cosine=("cosine", "mean"),
            cosine_lowest=("cosine_lowest", "min"),
            cosine_distance=("cosine_distance", "mean"),
            lowest=("cosine_distance", "min"),
            highest=("cosine_distance", "max"),
            tied_windows=("tied_windows", "mean"),
            tied_windows_with_gradient=("tied_windows_with_gradient", "mean"),
            n_seeds=("cosine_distance", "count"),
        )
        .reset_index()
    )
    return conform(summary, "attribution_summary")
