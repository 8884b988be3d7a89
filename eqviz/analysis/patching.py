"""Does the network use what is broken? The breaking component of a layer scaled, and the rest of the network run.

At layer l, for the input g x, the activations are replaced by rho_l(g) (S(x) + s D_g(x)): s = 1 is the network as it
is, s = 0 leaves the symmetric component alone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from torch import Tensor, nn

from eqviz.analysis.orbit_scores import class_count, orbit_scores
from eqviz.analysis.patched_sums import PatchedSums
from eqviz.capture.features import ANALYSED_KINDS
from eqviz.capture.hooks import watching
from eqviz.capture.layers import resolve_field
from eqviz.capture.orbit_capture import run_orbit
from eqviz.capture.patching import CUT_IMAGES, find_cuts, run_patched
from eqviz.errors import EqvizError
from eqviz.fields.field_types import FieldType
from eqviz.fields.layer_calls import LayerCall, layer_names, placement
from eqviz.fields.orbit import OrbitBatch, align, orbit, symmetric_part
from eqviz.fields.sums import LayerInfo
from eqviz.groups.group import Group
from eqviz.groups.group import group as named_group

SCALES = (0.0, 0.5, 1.0, 1.5, 2.0)
"""Of the breaking component: none of it, half, as it is, and more."""

AS_IS = 1.0
MANY_LAYERS = 16
"""Beyond these each convolution is not patched by itself: every layer costs several passes."""


def patching(
    model: nn.Module,
    images: Float[Tensor, "image channel height width"],
    labels: Int[np.ndarray, " label"],
    group: str | Group = "p4",
    layers: str | Iterable[str] = "*",
    fields: Mapping[str, str | FieldType] | None = None,
    batch_size: int = 64,
    *,
    kinds: Iterable[str] | None = None,
    scales: Sequence[float | int] = SCALES,
    progress: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """The table `patching` without its run keys: a row a layer call and scale s of the layer's breaking component.

    With A_g = rho(g)^-1 Phi(g x), S their mean over the group and D_g = A_g - S, the layer gives out
    rho(g) (S + s D_g) for the input g x, and the rest of the network runs. Where every later layer is exact and the
    layer is a cut of the graph (column `cut`, see `eqviz.capture.patching.find_cuts`), s = 0 makes the output
    invariant; at the output itself it is the average of the scores over the orbit. A layer that is no cut is patched
    in the same way, but the image reaches the output past it.

    accuracy_upright   fraction of images classified correctly as they are (g = e), 0..1
    accuracy_rotated   the same, mean over the other elements; NaN for the trivial group
    accuracy_orbit     the same, mean over all elements
    consistency        fraction of images that all elements leave in the same class
    output_breaking    breaking fraction of the scores
    gain_upright, gain_rotated   accuracy minus that at s = 1

    Arguments as in `eqviz.capture`, with one label 0, 1, ... an image. Elements that interpolate are left out: the
    group is its exact subgroup. Only layers of `kinds` are patched (None: `ANALYSED_KINDS`; of more than 16 such layers
    no convolutions, whose blocks say enough), those that cannot be aligned are left out, and s = 1 is always measured.
    Costs a pass over the orbit for each layer and each other scale; the chosen layers of one batch are held in memory.
    `progress` is told the fraction done. Raises EqvizError as `eqviz.capture` does, for labels and scores that do not
    fit, and for scales that are no numbers.

    Source: activation patching (Vig et al., "Investigating gender bias in language models using causal mediation
    analysis", NeurIPS 2020), with the Reynolds operator as the intervention.

    >>> import torch
    >>> network = nn.Sequential(nn.Conv2d(1, 2, 5), nn.Flatten())  # no rotation survives its weights
    >>> table = patching(network, torch.rand(3, 1, 5, 5), np.array([0, 1, 1]), "C4", scales=[0])
    >>> table.loc[table["layer"] == "0", ["scale", "cut", "consistency"]].values.tolist()[0]
    [0.0, True, 1.0]
    """
    G, classes = named_group(group).exact_subgroup, class_count(images, labels)
    wanted = None if kinds is None else frozenset(kinds)
    patcher = _Patcher(model, G, layers, dict(fields or {}), wanted, _other_scales(scales), classes)
    size = max(1, batch_size // G.order)
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        for done in patcher.take(images[part], labels[part]):
            if progress is not None:
                progress((start + done * len(labels[part])) / len(images))
    return patcher.table()


@dataclass(frozen=True, eq=False)
class _Captured:
    """A layer on one batch: what it is, its field type and its aligned orbit (element, image, ...)."""

    info: LayerInfo
    field: FieldType
    aligned: Tensor

    def patched(self, scale: float, part: OrbitBatch, group: Group) -> Tensor:
        """rho(g) (S + s D_g) for the elements of one part of the orbit, stacked as the network sees them."""
        symmetric = symmetric_part(self.aligned)
        chosen = self.aligned[list(part.positions)]
        scaled = symmetric + scale * (chosen - symmetric)
        # aligning by the inverse element moves by the element
        inverses = [group.elements[position].inverse for position in part.positions]
        return align(scaled.flatten(0, 1), inverses, self.field).flatten(0, 1)


class _Patcher:
    """Sums over batches for every layer and scale."""

    def __init__(
        self,
        model: nn.Module,
        group: Group,
        layers: str | Iterable[str],
        fields: Mapping[str, str | FieldType],
        kinds: frozenset[str] | None,
        scales: Sequence[float],
        classes: int,
    ) -> None:
        self._model, self._group, self._fields = model, group, fields
        self._kinds, self._spare = kinds or frozenset(ANALYSED_KINDS), kinds is None
        self._layers = layers if isinstance(layers, str) else tuple(layers)
        self._scales, self._classes = scales, classes
        self._cuts: dict[LayerCall, bool] = {}
        self._infos: dict[LayerCall, LayerInfo] = {}
        self._as_is: PatchedSums | None = None
        self._sums: dict[tuple[LayerCall, float], PatchedSums] = {}

    def take(self, images: Tensor, labels: Int[np.ndarray, " image"]) -> Iterator[float]:
        """Add one batch; yields the fraction of its passes done."""
        batch = images.to(*placement(self._model))
        captured = self._capture(batch)
        parts = orbit(batch, self._group)
        if self._as_is is None:
            chosen = _fewer(captured) if self._spare else captured
            self._cuts = find_cuts(self._model, batch[:CUT_IMAGES], chosen)
            self._infos = {key: found.info for key, found in captured.items()}
        self._add_as_is(parts, labels)
        work = [(key, scale) for key in self._cuts if key in captured for scale in self._scales]
        for done, (key, scale) in enumerate(work, start=1):
            sums = self._patch(parts, key, captured[key], scale, labels)
            self._sums[key, scale] = self._sums[key, scale] + sums if (key, scale) in self._sums else sums
            yield done / len(work)

    def _capture(self, batch: Tensor) -> dict[LayerCall, _Captured]:
        """The aligned orbits of the chosen layers, in execution order."""
        known, found = layer_names(self._model), {}

        def receive(key: LayerCall, info: LayerInfo, aligned: Tensor) -> None:
            if info.kind in self._kinds:
                module = known[key.layer] if key.layer in known else known[key.layer.partition("[")[0]]
                field, _ = resolve_field(key.layer, module, tuple(aligned.shape[1:]), self._fields)
                found[key] = _Captured(info, field, aligned.clone())

        size = len(batch) * self._group.order
        skipped = run_orbit(self._model, batch, self._group, self._layers, self._fields, size, False, receive)
        kept = {key: found[key] for key in sorted(found, key=lambda key: found[key].info.depth) if key not in skipped}
        if not kept:
            raise EqvizError(
                "layers", expected=f"at least one layer that can be patched, of kind {', '.join(sorted(self._kinds))}",
                found="; ".join(f"{key.layer}: {reason}" for key, reason in list(skipped.items())[:3]) or "none",
                fix="choose other layers or kinds, or declare field types",
            )  # fmt: skip
        return kept

    def _add_as_is(self, parts: Sequence[OrbitBatch], labels: Int[np.ndarray, " image"]) -> None:
        with watching(self._model, {}, _ignore) as watch:
            scores = orbit_scores(lambda part: watch.run(part.images), parts, len(labels), self._classes)
        sums = PatchedSums.of(scores, labels)
        self._as_is = sums if self._as_is is None else self._as_is + sums

    def _patch(
        self,
        parts: Sequence[OrbitBatch],
        key: LayerCall,
        captured: _Captured,
        scale: float,
        labels: Int[np.ndarray, " image"],
    ) -> PatchedSums:
        def run(part: OrbitBatch) -> Any:
            return run_patched(self._model, part.images, key, captured.patched(scale, part, self._group))

        return PatchedSums.of(orbit_scores(run, parts, len(labels), self._classes), labels)

    def table(self) -> pd.DataFrame:
        """One row a layer call and scale. Layers that were not there in every batch are left out."""
        rows = []
        for key, cut in self._cuts.items():
            measured = {scale: self._sums[key, scale] for scale in self._scales} | {AS_IS: self._as_is}
            info = self._infos[key]
            known = {
                "layer": key.layer, "call": key.call, "depth": info.depth, "kind": info.kind,
                "subsamples": info.subsamples, "cut": cut,
            }  # fmt: skip
            values = {scale: sums.values() for scale, sums in sorted(measured.items()) if sums is not None}
            if any(value["n"] != values[AS_IS]["n"] for value in values.values()):
                continue
            for scale, value in values.items():
                rows.append({**known, "scale": scale, **value, **_gains(value, values[AS_IS])})
        return pd.DataFrame(rows)


def _fewer(captured: Mapping[LayerCall, _Captured]) -> Mapping[LayerCall, _Captured]:
    """All layers, or those that are no convolutions where there are many."""
    if len(captured) <= MANY_LAYERS:
        return captured
    others = {key: found for key, found in captured.items() if found.info.kind != "convolution"}
    return others or captured


def _gains(values: Mapping[str, float], as_is: Mapping[str, float]) -> dict[str, float]:
    return {f"gain_{name}": values[f"accuracy_{name}"] - as_is[f"accuracy_{name}"] for name in ("upright", "rotated")}


def _other_scales(scales: Sequence[float | int]) -> tuple[float, ...]:
    """The scales other than 1, each once. Raises EqvizError if some are no finite numbers."""
    if any(isinstance(scale, bool) or not isinstance(scale, int | float) or not np.isfinite(scale) for scale in scales):
        raise EqvizError(
            "scales", expected="finite numbers, such as 0 and 2", found=str(list(scales)), fix="give such numbers"
        )
    return tuple(sorted({float(scale) for scale in scales} - {AS_IS}))


def _ignore(*_: object) -> None:
    """No layer is watched: the context only sets the modes of the model."""
