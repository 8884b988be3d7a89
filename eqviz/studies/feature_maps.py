"""One image through one layer of a run at every saved epoch, pixel by pixel, beside its moved copy."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from eqviz.analysis.local_defect import local_defect
from eqviz.capture.orbit_capture import capture
from eqviz.data.images import LabelledImages
from eqviz.errors import EqvizError
from eqviz.fields.grid_action import act_on_grid
from eqviz.groups.group import Group
from eqviz.groups.group import group as named_group
from eqviz.studies.cache import Cache, cache_key
from eqviz.studies.examples import Array, Example, feature_example
from eqviz.studies.extensions import import_modules
from eqviz.studies.measuring import test_images
from eqviz.studies.measuring_settings import Settings
from eqviz.studies.provenance import file_fingerprint
from eqviz.studies.run_folders import Run
from eqviz.studies.subjects import Subject, Tell

FEATURE_MAPS = "feature_maps"

MOST_PIXELS = 64
"""Maps with more pixels a side are shrunk to means over blocks of pixels."""

_MAP_KINDS = ("convolution", "pooling", "block")
_SAME = 1e-4  # of the range of pixels: a copy that was resized after it was moved differs by rounding


@dataclass(frozen=True)
class FoundMaps:
    """The table `feature_maps` of a run without its run keys but for `epoch`, and whether it came from the cache."""

    table: pd.DataFrame
    from_cache: bool


def feature_maps(
    run: Run,
    settings: Settings,
    cache: Cache,
    *,
    images: LabelledImages | None = None,
    progress: Tell | None = None,
) -> FoundMaps:
    """The first test image x of a run and its moved copy T x, seen through one layer at every saved epoch.

    The layer is the first that subsamples; in a network without one the one that breaks most by itself, or else the
    first convolution. T is the element of the group that makes another test image of x, as in `rotated-pair`, or else
    the first that moves it. The channel is that with the most energy at the last epoch, the same at all epochs.
    Raises EqvizError for a network without maps and for a group that moves nothing on the pixel grid.
    """
    import_modules(settings.imports)
    found = test_images(run, settings) if images is None else images
    subject = Subject(run, run.epochs[-1], settings, found)
    weights = {str(epoch): file_fingerprint(run.weights_path(epoch)) for epoch in run.epochs}
    key = cache_key({"table": FEATURE_MAPS, **subject.ingredients(), "epochs": weights, "most": MOST_PIXELS})
    known = cache.read_table(FEATURE_MAPS, key)
    if known is not None:
        return FoundMaps(known, True)
    group = named_group(subject.group).exact_subgroup
    exactly = replace(settings, group=group.name)
    layer, depth = shown_layer(subject, group)
    element = pairing_element(torch.from_numpy(found.images), group)
    example = feature_example(run, run.epochs[-1], exactly, layer, element=element)
    rows = []
    for done, epoch in enumerate(run.epochs, start=1):
        one = feature_example(run, epoch, exactly, layer, element=element, channel=example.channel)
        rows.append(_rows(one, first=done == 1).assign(epoch=epoch, depth=depth))
        if progress is not None:
            progress(FEATURE_MAPS, done / len(run.epochs))
    table = pd.concat(rows, ignore_index=True)
    cache.write_table(FEATURE_MAPS, key, table)
    return FoundMaps(table, False)


def shown_layer(subject: Subject, group: Group) -> tuple[str, int]:
    """The layer to look at, and its depth: of those asked for, see :func:`feature_maps`."""
    layers = subject.settings.layers
    one = subject.shown(subject.images.take(1, subject.run.data.seed))
    rows = capture(subject.model, one, group, layers).equivariance()
    rows = rows[rows["kind"].isin(_MAP_KINDS)].sort_values("depth", kind="stable")
    for candidates in (rows[rows["subsamples"].astype(bool)], None, rows[rows["kind"] == "convolution"]):
        chosen = _culprits(subject, one, group) if candidates is None else candidates
        if len(chosen):
            return str(chosen["layer"].iloc[0]), int(chosen["depth"].iloc[0])
    raise EqvizError(
        FEATURE_MAPS, expected="a convolution or pool that gives out maps", found="none", fix="give other --layers"
    )


def _culprits(subject: Subject, images: Tensor, group: Group) -> pd.DataFrame:
    found = local_defect(subject.model, images, group, subject.settings.layers)
    return found[(found["rank"] == 1).fillna(False) & found["kind"].isin(_MAP_KINDS)]


def pairing_element(images: Tensor, group: Group) -> int:
    """Which element of the group makes another of some images of the first one; 1, the first that moves it, if none.

    >>> from eqviz.groups.group import group
    >>> first = torch.arange(4.0).view(1, 1, 2, 2)
    >>> pairing_element(torch.cat([first, first.transpose(2, 3)]), group("D4"))
    5
    """
    if group.order == 1:
        raise EqvizError("group", expected="a group that moves the image", found=group.name, fix="choose another group")
    first, others = images[:1], images[1:]
    tolerance = _SAME * float(first.max() - first.min())
    for place, element in enumerate(group.elements[1:], start=1):
        moved = act_on_grid(first, element)
        if moved.shape == first.shape and ((others - moved).abs().amax((1, 2, 3)) <= tolerance).any():
            return place
    return 1


def _rows(example: Example, *, first: bool) -> pd.DataFrame:
    """The maps of an epoch, pixel by pixel; the images, which stay the same, at the first epoch alone."""
    maps: dict[str, Array] = {}
    if first:
        maps |= {"image": _shrunk(example.image.mean(0)), "moved image": _shrunk(example.moved.mean(0))}
    if example.filter is not None:
        maps["filter"] = example.filter
    features, aligned = _shrunk(example.feature), _shrunk(example.aligned)
    maps |= {"features": features, "aligned": aligned, "difference": aligned - features}
    shared = {"layer": example.layer, "call": 0, "channel": example.channel, "element": example.element}
    return pd.concat(list(_pixels(maps, shared)), ignore_index=True)


def _pixels(maps: Mapping[str, Array], shared: Mapping[str, object]) -> Iterator[pd.DataFrame]:
    for panel, values in maps.items():
        row, column = np.indices(values.shape).reshape(2, -1)
        yield pd.DataFrame({**shared, "panel": panel, "row": row, "column": column, "value": values.ravel()})


def _shrunk(values: Array) -> Array:
    """A map of at most `MOST_PIXELS` a side: means over equal blocks of pixels, smaller ones at the far edges.

    >>> _shrunk(np.arange(65.0)[None]).shape
    (1, 33)
    """
    step = -(-max(values.shape) // MOST_PIXELS)
    return _block_means(_block_means(values, step, 0), step, 1)


def _block_means(values: Array, step: int, axis: int) -> Array:
    starts = np.arange(0, values.shape[axis], step)
    counts = np.diff(np.append(starts, values.shape[axis]))
    sums = np.add.reduceat(values, starts, axis=axis)
    return np.asarray(sums / (counts[:, None] if axis == 0 else counts))


def first_runs(runs: Sequence[Run], network: Mapping[str, object]) -> list[Run]:
    """The first run of every network; `network` says which one a run is of, by its name."""
    return list({network[run.name]: run for run in reversed(runs)}.values())[::-1]
