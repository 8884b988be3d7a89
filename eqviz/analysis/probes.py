"""What a linear classifier can read from a layer: which element moved the image, and which class it is of.

On an exact layer the aligned orbit A_g = rho(g)^-1 Phi(g x) does not depend on g, so nothing about g can be read from
it; where the symmetry is broken, a probe says how much of g shows, to a reader that is linear.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from eqviz.analysis.ridge_probe import Answer, Question, ask, class_question, element_question, image_folds
from eqviz.capture.features import ANALYSED_KINDS, OrbitFeatures, orbit_features
from eqviz.capture.precision import rounding_energy
from eqviz.errors import EqvizError
from eqviz.fields.field_types import FieldType, Invariant
from eqviz.fields.layer_calls import placement
from eqviz.groups.group import Group
from eqviz.groups.group import group as named_group
from eqviz.tables import LAYER_KEYS, MODEL_KEYS, RUN_KEYS, SCHEMAS, conform

COMPONENTS = ("full", "symmetric", "breaking")
FRAMES = ("aligned", "moved")

FLOOR_IMAGES = 16
ABOVE_ROUNDING = 100.0
"""A component holds something if its share of the energy is above this many times that of the rounding error."""

SIGNIFICANT = 0.05

_FEATURES_SHARE = 0.3  # of the time goes into the forward passes

Grams = dict[str, npt.NDArray[np.float64]]


def probes(
    model: nn.Module,
    images: Float[Tensor, "image channel height width"],
    labels: Integer[np.ndarray, " label"],
    group: str | Group = "p4",
    layers: str | Iterable[str] = "*",
    fields: Mapping[str, str | FieldType] | None = None,
    batch_size: int = 64,
    *,
    folds: int = 5,
    permutations: int = 20,
    seed: int = 0,
    frames: Sequence[str] = FRAMES,
    progress: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """The table `probes`: accuracy (0 to 1) of linear probes that read the element or the class from each layer.

    images        (n, channel, height, width), normalised as the model wants them; some 500 / |G| of them do
    labels        (n,) the class of each image; of images of one class no class is read
    folds         every image, with its whole orbit, is held out once
    permutations  labellings at random that say what chance looks like: elements permuted within each image, classes
                  over the images of a fold
    frames        which of `aligned` and `moved`
    other arguments as in `eqviz.capture`; elements that interpolate are left out

    Probes are ridge classifiers on one-hot targets. `frame` is `aligned` for A_g = rho(g)^-1 Phi(g x) and `moved` for
    Phi(g x) = rho(g) A_g, in which even an exact layer shows g; `component` is `full`, `symmetric` (S, the mean of A_g
    over the group) or `breaking` (D_g = A_g - S). In the aligned frame two probes read nothing by construction, as
    controls (a class that cannot be read comes out at `baseline`, somewhat below `chance`): S does not depend on g, so
    no element shows in it; and D_g sums to 0 over the orbit of an image while its class stays, so no class shows in it
    to a linear reader. Field types by which nothing moves have both frames alike. There are no rows for the moved frame
    of maps whose height and width elements exchange.

    A component whose share of the energy is within 100 times that of the layer's rounding error (see
    `eqviz.capture.precision.rounding_energy`) holds nothing: it is taken as 0, in the full features too, and marked
    `at_floor`. Nothing can then be read from patterns of rounding. Probes after Alain & Bengio, "Understanding
    intermediate layers using linear classifier probes", 2016.

    Raises EqvizError for labels that do not match, too few images for the folds, a group that leaves nothing to tell
    apart, and as `eqviz.capture` does.

    >>> found = probes(nn.Conv2d(1, 2, 3), torch.rand(10, 1, 8, 8), np.arange(10) % 2, "C4")
    >>> control = found.query("target == 'element' and frame == 'aligned' and component == 'symmetric'")
    >>> control["accuracy"].tolist(), control["chance"].tolist()
    ([0.25], [0.25])
    """
    G = named_group(group).exact_subgroup
    _check(labels, len(images), named_group(group), permutations, frames)
    fold = image_folds(labels, folds, seed)
    questions = {"element": element_question(G.order, len(images), permutations, seed)}
    if len(np.unique(labels)) > 1:
        questions["class"] = class_question(labels, fold, G.order, permutations, seed)
    chances = {"element": 1 / G.order, "class": float(np.unique(labels, return_counts=True)[1].max() / len(labels))}
    tell = progress or (lambda fraction: None)
    captured = orbit_features(
        model, images, G, layers, fields, batch_size, progress=lambda done: tell(_FEATURES_SHARE * done)
    )
    if not captured:
        raise EqvizError(
            "layers", expected=f"at least one of kind {', '.join(ANALYSED_KINDS)} that can be aligned", found="none",
            fix="choose other layers, or say how the group acts on these",
        )  # fmt: skip
    rounding = rounding_energy(model, images[:FLOOR_IMAGES], layers, batch_size)
    precision = torch.finfo(placement(model)[1]).eps ** 2
    rows: list[dict[str, object]] = []
    for done, (key, features) in enumerate(captured.items(), start=1):
        # a float64 network has no finer one to be held against, and its rounding is measured as 0
        known = rounding[key] if rounding[key] > 0 else ABOVE_ROUNDING * precision
        info = features.info
        about = {
            "layer": key.layer, "call": key.call, "depth": info.depth, "kind": info.kind, "subsamples": info.subsamples,
        }  # fmt: skip
        about |= {"folds": folds, "n": len(images)}
        found = _layer_rows(features, questions, np.tile(fold, G.order), ABOVE_ROUNDING * known, frames)
        rows += [{**about, **row, "chance": chances[str(row["target"])]} for row in found]
        tell(_FEATURES_SHARE + (1 - _FEATURES_SHARE) * done / len(captured))
    return pd.DataFrame(rows, columns=SCHEMAS["probes"][len(RUN_KEYS) :])


def _check(labels: npt.NDArray[Any], images: int, group: Group, permutations: int, frames: Sequence[str]) -> None:
    if len(labels) != images:
        raise EqvizError(
            "labels", expected=f"one for each of {images} images", found=str(len(labels)),
            fix="pass the labels of these images",
        )  # fmt: skip
    if group.exact_subgroup.order < 2:
        raise EqvizError(
            "group", expected="at least two elements on the pixel grid, to tell apart", found=str(group),
            fix="choose p4, p4m or another group of several elements",
        )  # fmt: skip
    unknown = [frame for frame in frames if frame not in FRAMES]
    if unknown or not frames:
        raise EqvizError(
            "frames", expected=f"one or both of {', '.join(FRAMES)}", found=", ".join(unknown) or "none",
            fix="choose from these",
        )  # fmt: skip
    if permutations < 1:
        raise EqvizError(
            "permutations", expected="at least 1", found=str(permutations), fix="20 give p values down to 0.05"
        )


def _layer_rows(
    features: OrbitFeatures,
    questions: Mapping[str, Question],
    fold: npt.NDArray[np.int64],
    floor: float,
    frames: Sequence[str],
) -> Iterator[dict[str, object]]:
    """The rows of one layer: frame, component, target and the answer."""
    parts, empty = split_by_floor(features.aligned, floor)
    still = isinstance(features.field, Invariant)  # nothing moves: both frames are one
    answers: dict[str, list[Answer]] = {}
    for frame in frames:
        if not (still and answers):
            seen = parts if frame == "aligned" else _moved(features, parts)
            if seen is None:
                continue
            answers = _answers(seen, empty, questions, fold)
        for component in COMPONENTS:
            for target, answer in zip(questions, answers[component], strict=True):
                keys = {"target": target, "frame": frame, "component": component}
                yield {**keys, **asdict(answer), "at_floor": empty[component]}


def _moved(features: OrbitFeatures, parts: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """rho(g) on every component; None where elements exchange height and width, so that rows differ in shape."""
    try:
        return {name: features.moved(part) for name, part in parts.items()}
    except EqvizError:
        return None


def split_by_floor(aligned: Tensor, floor: float) -> tuple[dict[str, Tensor], dict[str, bool]]:
    """The components of an aligned orbit (element, image, ...) in float64, and which of them are no more than rounding.

    Those are 0, in `full` too: it is always the sum of the two others. `floor` is a share of the energy of the orbit.

    >>> parts, empty = split_by_floor(torch.tensor([[[1.0, 2.0]], [[1.0, 2.0 + 1e-6]]]), floor=1e-12)
    >>> parts["breaking"].tolist(), empty["breaking"]
    ([[[0.0, 0.0]], [[0.0, 0.0]]], True)
    """
    full = aligned.double()
    symmetric = full.mean(0, keepdim=True).expand_as(full)
    breaking = full - symmetric
    limit = floor * float(full.square().sum())
    energies = {"symmetric": float(symmetric.square().sum()), "breaking": float(breaking.square().sum())}
    empty = {name: not energy > limit for name, energy in energies.items()}
    symmetric = torch.zeros_like(full) if empty["symmetric"] else symmetric
    breaking = torch.zeros_like(full) if empty["breaking"] else breaking
    parts = {"full": symmetric + breaking, "symmetric": symmetric, "breaking": breaking}
    return parts, {"full": all(empty.values()), **empty}


def _answers(
    parts: Mapping[str, Tensor],
    empty: Mapping[str, bool],
    questions: Mapping[str, Question],
    fold: npt.NDArray[np.int64],
) -> dict[str, list[Answer]]:
    """The answers from each component in one frame."""
    found: dict[str, list[Answer]] = {}
    for component in ("symmetric", "breaking"):
        found[component] = ask(gram(parts[component]), list(questions.values()), fold)
    if empty["breaking"]:
        return {"full": found["symmetric"], **found}
    return {"full": ask(gram(parts["full"]), list(questions.values()), fold), **found}


def gram(features: Float[Tensor, "element image ..."]) -> Float[np.ndarray, "row row"]:
    """Inner products of all rows, element outermost; features are given in float64.

    >>> gram(torch.tensor([[[1.0, 2.0]], [[0.0, 3.0]]])).tolist()
    [[5.0, 6.0], [6.0, 9.0]]
    """
    rows = features.flatten(0, 1).flatten(1).numpy()
    return np.asarray(rows @ rows.T)


def probes_summary(table: pd.DataFrame) -> pd.DataFrame:
    """The table `probes_summary`, over the seeds of `probes`: mean, lowest and highest accuracy.

    `chance` and `baseline` are means and `baseline_high` is the highest of the seeds; `n_above` counts the seeds whose
    accuracy no more than 5% of permuted labellings reach, `at_floor` holds where there is nothing to read in any seed.
    """
    by = [*MODEL_KEYS, *LAYER_KEYS, "kind", "subsamples", "target", "frame", "component"]
    rows = table.assign(above=table["p_value"].astype(float) <= SIGNIFICANT)
    summary = rows.groupby(by, sort=False, observed=True, dropna=False).agg(
        accuracy=("accuracy", "mean"), lowest=("accuracy", "min"), highest=("accuracy", "max"),
        chance=("chance", "mean"), baseline=("baseline", "mean"), baseline_high=("baseline_high", "max"),
        at_floor=("at_floor", "all"), n_above=("above", "sum"), n_seeds=("accuracy", "count"),
    )  # fmt: skip
    return conform(summary.reset_index(), "probes_summary")
