"""How the group acts on a layer, learned from data: the best map from the features of x to those of g x.

It needs no declared field type, so it is the way to look at networks without a group axis: if some map predicts the
features of g x from those of x, the layer is equivariant in a sense that nobody declared.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import nn

from eqviz.analysis.linear_maps import (
    STRENGTHS,
    best_linear,
    best_orthogonal,
    best_permutation,
    linear_errors,
    squared_error,
)
from eqviz.capture.channel_moments import LARGEST_DIMENSION, ChannelLayer, ChannelMoments, channel_moments
from eqviz.capture.features import ANALYSED_KINDS
from eqviz.capture.layers import resolve_field
from eqviz.capture.orbit_capture import check_fields, image_batches, require_repeatable
from eqviz.errors import EqvizError
from eqviz.fields.field_types import FieldType, Invariant, field_type
from eqviz.fields.layer_calls import layer_names
from eqviz.groups.group import Element, Group
from eqviz.groups.group import group as named_group
from eqviz.tables import LAYER_KEYS, MODEL_KEYS, RUN_KEYS, SCHEMAS, conform

Array = npt.NDArray[np.float64]

MAPS = ("identity", "declared", "permutation", "orthogonal", "ridge")

FEWEST_FOLDS = 3
"""One to judge the map, one to judge the strength of its ridge, one to learn from."""

_FORWARD_SHARE = 0.7  # of the time goes into the forward passes


def learned_action(
    model: nn.Module,
    images: Any,
    group: str | Group = "p4",
    layers: str | Iterable[str] = "*",
    fields: Mapping[str, str | FieldType] | None = None,
    batch_size: int = 64,
    *,
    folds: int = 4,
    largest: int = LARGEST_DIMENSION,
    progress: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """The table `learned_action`: how well maps of each kind predict the features of g x from those of x.

    images   (n, channel, height, width), normalised as the model wants them; some 128 of them do
    fields   globs to field types, where the model does not declare them: only for the map `declared`
    folds    every image is held out once, with all its positions
    largest  longest channel vector; layers with longer ones get rows with NaN (see `dimension`)
    other arguments as in `eqviz.capture`; elements that interpolate are left out

    For a layer and an element g the maps M act on channel vectors, Phi(g x)(g u) ~ M Phi(x)(u): all channels and fibre
    entries at one position u, which the grid action moves back exactly. M is the same at every position.

        identity     nothing but the pixels moves
        declared     what the layer's field type says, where it says anything
        permutation  the best permutation of the entries (linear assignment)
        orthogonal   the best orthogonal matrix (Procrustes)
        ridge        the best matrix, by ridge regression; its strength is chosen on training images

    `error` is relative, sqrt(sum |Phi(g x) - M Phi(x)|^2 / sum |Phi(g x)|^2) over all positions of held-out images;
    `training_error` the same on the images that M was fitted to. 0: the map is the action; 1: as bad as predicting 0.
    Both come from second moments in float64, so an exact map shows the rounding of the layer (some 1e-7 in float32),
    not 0. A dead layer has NaN. `dimension` is the length of a channel vector and `n` the number of images.

    After Lenc & Vedaldi, "Understanding image representations by measuring their equivariance and equivalence",
    CVPR 2015. Raises EqvizError for fewer than three folds, fewer images than folds, a group of one element, and as
    `eqviz.capture` does.

    >>> found = learned_action(nn.Conv2d(1, 2, 1), torch.rand(8, 1, 6, 6), "C2")
    >>> found.query("layer == '(output)'")["map"].tolist(), bool(found["error"].max() < 1e-6)
    (['identity', 'permutation', 'orthogonal', 'ridge'], True)
    """
    G = named_group(group).exact_subgroup
    given = {glob: field_type(field) for glob, field in (fields or {}).items()}
    require_repeatable(images)
    check_fields(model, given)
    total = sum(len(batch) for batch in image_batches(images, 1 << 30))
    _check(named_group(group), folds, total)
    tell = progress or (lambda fraction: None)
    captured = channel_moments(
        model, images, G, layers, batch_size, folds=folds, largest=largest,
        progress=lambda done: tell(_FORWARD_SHARE * done / total),
    )  # fmt: skip
    if not captured:
        raise EqvizError(
            "layers", expected=f"at least one of kind {', '.join(ANALYSED_KINDS)}", found="none",
            fix="choose other layers",
        )  # fmt: skip
    known = layer_names(model)
    rows: list[dict[str, object]] = []
    for done, (key, layer) in enumerate(captured.items(), start=1):
        info = layer.info
        about = {
            "layer": key.layer, "call": key.call, "depth": info.depth, "kind": info.kind, "subsamples": info.subsamples,
        }  # fmt: skip
        module = known[key.layer] if key.layer in known else known[key.layer.partition("[")[0]]
        actions = declared_actions(key.layer, module, layer.shape, given, G.elements[1:])
        rows += [{**about, **row, "n": total} for row in _layer_rows(layer, actions, G)]
        tell(_FORWARD_SHARE + (1 - _FORWARD_SHARE) * done / len(captured))
    return pd.DataFrame(rows, columns=SCHEMAS["learned_action"][len(RUN_KEYS) :])


def _check(group: Group, folds: int, images: int) -> None:
    if group.exact_subgroup.order < 2:
        raise EqvizError(
            "group", expected="an element on the pixel grid beside the identity", found=str(group),
            fix="choose p4, p4m or another group of several elements",
        )  # fmt: skip
    if not FEWEST_FOLDS <= folds <= images:
        raise EqvizError(
            "folds", expected=f"at least {FEWEST_FOLDS}, and no more than there are images",
            found=f"{folds} folds of {images} images", fix="choose other folds or more images",
        )  # fmt: skip


def declared_actions(
    name: str,
    module: nn.Module,
    shape: tuple[int, ...],
    fields: Mapping[str, str | FieldType],
    elements: Iterable[Element],
) -> list[Array] | None:
    """The matrix of each element on the channel vectors of a layer, if its field type is given or declared.

    `shape` is that of its output on one image. None without a type, or where the type is no action of pixels and
    channel vectors: features that stay in place while the image moves.

    >>> (quarter,) = declared_actions(
    ...     "conv", nn.Identity(), (1, 4, 8, 8), {"conv": "regular(C4)"}, named_group("C4").elements[1:2]
    ... )
    >>> quarter.astype(int).tolist()
    [[0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    """
    try:
        field, origin = resolve_field(name, module, (1, *shape), fields)
    except EqvizError:
        return None
    maps = len(shape) > 2
    if origin == "by shape" or (maps and isinstance(field, Invariant) and max(shape[-2:]) > 1):
        return None
    entry = (*shape[:-2], 1, 1) if maps else shape
    d = int(np.prod(entry))
    basis = torch.eye(d, dtype=torch.float64).reshape(d, *entry)
    wanted = list(elements)
    if not field.fits(tuple(basis.shape)) or not all(field.represents(g) for g in wanted):
        return None
    return [field.act(basis, g).reshape(d, d).T.numpy() for g in wanted]


def _layer_rows(layer: ChannelLayer, actions: list[Array] | None, group: Group) -> Iterator[dict[str, object]]:
    """Element, map and errors of one layer."""
    names = [name for name in MAPS if name != "declared" or actions is not None]
    others = [str(element) for element in group.elements[1:]]
    if layer.moments is None:
        nothing = {"error": float("nan"), "training_error": float("nan"), "dimension": layer.dimension}
        yield from ({"element": element, "map": name, **nothing} for element in others for name in names)
        return
    held_out, training = errors_of_maps(layer.moments, actions)
    for g, element in enumerate(others):
        for name in names:
            errors = {"error": float(held_out[name][g]), "training_error": float(training[name][g])}
            yield {"element": element, "map": name, **errors, "dimension": layer.dimension}


def errors_of_maps(moments: ChannelMoments, actions: list[Array] | None) -> tuple[dict[str, Array], dict[str, Array]]:
    """Held-out and training error of each map, `(element,)`: relative roots of sums over all folds.

    `actions` holds the declared matrix of each element; None leaves that map out.
    """
    folds, elements = moments.yy.shape
    strengths = ridge_strengths(moments)
    held_out, training = ({name: np.zeros(elements) for name in MAPS} for _ in range(2))
    for fold in range(folds):
        seen, unseen = moments.of(j for j in range(folds) if j != fold), moments.of([fold])
        for g in range(elements):
            for name, M in _maps(seen, g, strengths[fold, g], actions):
                held_out[name][g] += _error(M, unseen, g)
                training[name][g] += _error(M, seen, g)
    energy = moments.yy.sum(0)
    ratios = [
        {name: _root(errors, times * energy) for name, errors in sums.items()}
        for sums, times in ((held_out, 1), (training, folds - 1))
    ]
    return ratios[0], ratios[1]


def _maps(moments: ChannelMoments, g: int, strength: float, actions: list[Array] | None) -> Iterator[tuple[str, Array]]:
    xx, xy = moments.xx[0], moments.xy[0, g]
    yield "identity", np.eye(moments.dimension)
    if actions is not None:
        yield "declared", actions[g]
    yield "permutation", best_permutation(xy)
    yield "orthogonal", best_orthogonal(xy)
    yield "ridge", best_linear(xx, xy, strength)


def _error(M: Array, moments: ChannelMoments, g: int) -> float:
    return squared_error(M, moments.xx[0], moments.xy[0, g], float(moments.yy[0, g]))


def _root(errors: Array, energies: Array) -> Array:
    ratio = np.divide(errors, energies, out=np.full_like(errors, np.nan), where=energies > 0)
    return np.asarray(np.sqrt(ratio))


def ridge_strengths(moments: ChannelMoments) -> Array:
    """The strength for every held-out fold and element, `(fold, element)`: the best on its training folds.

    Each training fold in turn judges what the other training folds taught.
    """
    folds, elements = moments.yy.shape
    errors = np.zeros((folds, elements, len(STRENGTHS)))
    for pair in combinations(range(folds), 2):
        rest = moments.of(j for j in range(folds) if j not in pair)
        for held_out, judge in (pair, pair[::-1]):
            other = moments.of([judge])
            errors[held_out] += linear_errors(rest.xx[0], rest.xy[0], other.xx[0], other.xy[0], other.yy[0])
    return np.asarray(np.asarray(STRENGTHS)[errors.argmin(-1)], dtype=np.float64)


def learned_action_summary(table: pd.DataFrame) -> pd.DataFrame:
    """The table `learned_action_summary`: errors of `learned_action` as root mean square over the elements.

    Mean, lowest and highest over seeds; layers without an error (dead, or too many channels) keep NaN.
    """
    by = [*MODEL_KEYS, *LAYER_KEYS, "kind", "subsamples", "map", "dimension"]
    squares = table.assign(
        error=table["error"].astype(float) ** 2, training_error=table["training_error"].astype(float) ** 2
    )
    seeds = squares.groupby([*by, "run", "seed"], sort=False, observed=True, dropna=False)
    roots = seeds[["error", "training_error"]].mean().pow(0.5).reset_index()
    summary = roots.groupby(by, sort=False, observed=True, dropna=False).agg(
        error=("error", "mean"), lowest=("error", "min"), highest=("error", "max"),
        training_error=("training_error", "mean"), n_seeds=("error", "count"),
    )  # fmt: skip
    return conform(summary.reset_index(), "learned_action_summary")
