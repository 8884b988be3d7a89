"""Which pixels break the symmetry? The breaking fraction of a layer, attributed to the image."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from eqviz.analysis.attribution_layers import OrbitLayer, orbit_layers
from eqviz.analysis.attribution_methods import STEPS, Asked, completeness, integrated_gradients, saliency
from eqviz.analysis.attribution_orbit import ignore, invariant_baseline, moving_group, require_steps
from eqviz.analysis.breaking_function import breaking_function
from eqviz.analysis.explanation_sums import CompletenessSums
from eqviz.capture.hooks import watching
from eqviz.capture.orbit_capture import image_batches, require_repeatable
from eqviz.capture.precision import rounding_energy
from eqviz.errors import EqvizError
from eqviz.fields.field_types import FieldType
from eqviz.fields.layer_calls import layer_names, placement
from eqviz.groups.group import Group

Array = npt.NDArray[np.float64]

METHODS = ("integrated_gradients", "saliency")
"""How the breaking fraction is attributed: what adds up to it, and its gradient."""

FLOOR_IMAGES = 16

ROUNDING = 100.0
"""A breaking fraction of up to so many times the rounding floor is rounding, and its attribution no picture."""

FLOAT64_FLOOR = (64 * float(np.finfo(np.float64).eps)) ** 2
"""The floor of a network in float64, for which there is nothing finer to compare with: 64 units in the last place."""


@dataclass(frozen=True, eq=False)
class BreakingMaps:
    """The breaking fraction b(x) of one layer on some images, attributed to their pixels.

    layer, call, method
    maps               (image, height, width), summed over colours, signed: pixels above 0 raise the breaking.
                       Integrated gradients add up to b(x) - b(x0); saliency is b over units of the normalised image
    breaking           (image,), b(x), a fraction from 0 to 1
    breaking_baseline  b(x0), what the constant image x0 breaks
    floor              the breaking fraction that rounding alone gives in this layer
    completeness       the largest |sum of map - (b(x) - b(x0))| over the root mean square of b(x) - b(x0); NaN for
                       saliency, and where everything is rounding
    """

    layer: str
    call: int
    method: str
    maps: Array
    breaking: Array
    breaking_baseline: float
    floor: float
    completeness: float

    @property
    def rounding(self) -> bool:
        """Whether b is rounding in all images, so that the maps show nothing."""
        return bool(max(self.breaking.max(), self.breaking_baseline) <= ROUNDING * self.floor)


def breaking_maps(
    model: nn.Module,
    images: Any,
    layer: str,
    group: str | Group = "p4",
    fields: Mapping[str, str | FieldType] | None = None,
    batch_size: int = 64,
    *,
    call: int = 0,
    method: str = "integrated_gradients",
    baseline: float | Tensor = 0.0,
    steps: int = STEPS,
) -> BreakingMaps:
    """Attribute b(x) = sum_g |D_g(x)|^2 / sum_g |A_g(x)|^2 of one layer to the pixels of x.

    `layer` is one module path, or `(output)`; `call` which of its calls. Other arguments as in
    :func:`breaking_attribution`. b(g x) = b(x) for every network and g in the group, so the map of g x is g applied to
    the map of x. Where the layer is exact, b is rounding and so are the maps: see `rounding`.

    >>> maps = breaking_maps(nn.Sequential(nn.Conv2d(1, 2, 3)), torch.rand(2, 1, 8, 8), "0", "C4")
    >>> maps.maps.shape, bool((maps.breaking > 0).all()), maps.rounding
    ((2, 8, 8), True, False)
    """
    G = moving_group(group)
    _known(method)
    require_steps(steps)
    require_repeatable(images)
    path = layer if layer in layer_names(model) else layer.partition("[")[0]
    known = orbit_layers(model, images, G, [path], fields or {}, batch_size, kinds=None)
    found = next((one for one in known if one.key == (layer, call)), None)
    if found is None:
        raise EqvizError(
            f"layer {layer}", expected=f"an output of its call {call} that can be aligned", found="none",
            fix="choose another layer or call, or give its field type",
        )  # fmt: skip
    return _attributed(model, images, found, G, baseline, steps, batch_size)[method]


def breaking_attribution(
    model: nn.Module,
    images: Any,
    group: str | Group = "p4",
    layers: str | Iterable[str] = "*",
    fields: Mapping[str, str | FieldType] | None = None,
    batch_size: int = 64,
    *,
    baseline: float | Tensor = 0.0,
    steps: int = STEPS,
    edge: int = 1,
    progress: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """The table `breaking_attribution`: does the breaking come from the border of the image, where rows are cut off?

    images    (n, channel, height, width), normalised: a tensor, an array or batches that can be gone through again
    group     its elements off the grid are left out: the group is its exact subgroup
    layers    globs; with `*` up to three are chosen: the layer with the largest breaking fraction, the first that
              subsamples, and the output
    baseline  where integrated gradients start: a number, or an image (channel, height, width) that the group keeps
    steps     points on their path
    edge      how many of the outermost rows and columns are the border

    A row a layer and method. `breaking` is the mean of b(x) over images (each a ratio of its own), `breaking_baseline`
    that of the constant image, `floor` what rounding alone gives. `edge_share` is the fraction of the sum of |map| on
    the border, over all images, `edge_pixels` the fraction of the pixels there: equal if the border is like the rest.
    Both `edge_share` and `completeness` are NaN where the breaking is rounding. `progress` is told the fraction done.

    The model runs in evaluation mode, on its own device and in its own dtype, and is left as it was. Costs `steps`
    forward and backward passes of the orbit of every image for each layer. Raises EqvizError as `eqviz.capture` does,
    and for a group that moves nothing, a baseline that it moves, steps below 1 and an edge that covers the image.

    >>> table = breaking_attribution(nn.Sequential(nn.Conv2d(1, 2, 3)), torch.rand(2, 1, 8, 8), "C4", steps=4)
    >>> table[["method", "layer", "edge_pixels"]].values.tolist()[0]
    ['integrated_gradients', '0', 0.4375]
    """
    G = moving_group(group)
    require_steps(steps)
    require_repeatable(images)
    height, width = next(image_batches(images, 1)).shape[-2:]
    border = border_of(height, width, edge)
    chosen = orbit_layers(model, images, G, layers, fields or {}, batch_size)
    chosen = telling_layers(chosen) if layers == "*" else chosen
    rows: list[dict[str, object]] = []
    for done, layer in enumerate(chosen, start=1):
        found = _attributed(model, images, layer, G, baseline, steps, batch_size).values()
        rows += [{"method": maps.method, **layer.keys(), **_values(maps, border)} for maps in found]
        if progress is not None:
            progress(done / len(chosen))
    return pd.DataFrame(rows)


def telling_layers(layers: Sequence[OrbitLayer]) -> list[OrbitLayer]:
    """The layer with the largest breaking fraction, the first that subsamples, and the output, in execution order."""
    alive = [one for one in layers if one.breaking == one.breaking]  # not NaN
    subsampling = [one for one in alive if one.info.subsamples]
    output = [one for one in alive if one.info.kind == "output"]
    most = sorted(alive, key=lambda one: -one.breaking)  # stable: the first of equals
    wanted = {one.key for one in (*most[:1], *subsampling[:1], *output[:1])}
    return [one for one in alive if one.key in wanted]


def border_of(height: int, width: int, edge: int) -> npt.NDArray[np.bool_]:
    """Which pixels, (height, width), are among the `edge` outermost rows and columns; EqvizError if that is all.

    >>> border_of(3, 4, 1).astype(int).tolist()
    [[1, 1, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    """
    if not 1 <= edge < (min(height, width) + 1) // 2:
        raise EqvizError(
            "edge", expected=f"from 1 to less than half of {min(height, width)} pixels", found=str(edge), fix="choose 1"
        )
    border = np.ones((height, width), dtype=bool)
    border[edge : height - edge, edge : width - edge] = False
    return border


def _values(maps: BreakingMaps, border: npt.NDArray[np.bool_]) -> dict[str, float | int]:
    sizes = np.abs(maps.maps)
    whole = float(sizes.sum())
    share = float(sizes[:, border].sum()) / whole if whole and not maps.rounding else float("nan")
    return {
        "breaking": float(maps.breaking.mean()), "breaking_baseline": maps.breaking_baseline, "floor": maps.floor,
        "completeness": maps.completeness, "edge_share": share, "edge_pixels": float(border.mean()),
        "n": len(maps.breaking),
    }  # fmt: skip


def _attributed(
    model: nn.Module,
    images: Any,
    layer: OrbitLayer,
    G: Group,
    baseline: float | Tensor,
    steps: int,
    batch_size: int,
) -> dict[str, BreakingMaps]:
    """The maps of one layer by every method."""
    device, dtype = placement(model)
    floor = _floor(model, images, layer, G, batch_size, dtype)
    parts: dict[str, list[Tensor]] = {method: [] for method in METHODS}
    values, complete, at_baseline = [], CompletenessSums(), 0.0
    with watching(model, {}, ignore) as watch, breaking_function(watch.run, layer, G) as function:
        for batch in image_batches(images, max(1, batch_size // G.order)):
            shown = batch.to(device, dtype)
            start = invariant_baseline(shown, G, baseline)
            asked = Asked(function, shown, None, start, max(1, batch_size // G.order))
            parts["integrated_gradients"].append(integrated_gradients(asked, steps=steps))
            parts["saliency"].append(saliency(asked))
            complete += CompletenessSums.of(*completeness(asked, parts["integrated_gradients"][-1]))
            values.append(function(shown).cpu())
            at_baseline = float(function(start))
    breaking, maps = torch.cat(values).numpy(), {method: _summed(found) for method, found in parts.items()}
    found = {
        method: BreakingMaps(layer.key.layer, layer.key.call, method, maps[method], breaking, at_baseline, floor, miss)
        for method, miss in (("integrated_gradients", complete.value), ("saliency", float("nan")))
    }
    return {method: replace(one, completeness=float("nan")) if one.rounding else one for method, one in found.items()}


def _floor(model: nn.Module, images: Any, layer: OrbitLayer, G: Group, batch_size: int, dtype: torch.dtype) -> float:
    if dtype == torch.float64:
        return FLOAT64_FLOOR
    few = next(image_batches(images, FLOOR_IMAGES))
    name = layer.key.layer
    path = name if name in layer_names(model) else name.partition("[")[0]
    return (1 - 1 / G.order) * rounding_energy(model, few, [path], batch_size)[layer.key]


def _summed(parts: Sequence[Float[Tensor, "image channel height width"]]) -> Array:
    return np.asarray(torch.cat([part.cpu().double().sum(1) for part in parts]).numpy(), dtype=np.float64)


def _known(method: str) -> None:
    if method not in METHODS:
        raise EqvizError(
            "method", expected=f"one of {', '.join(METHODS)}", found=repr(method), fix="choose one of these"
        )
