"""Networks side by side: which runs are twins, and how similar their features are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd

from eqviz.data.images import LabelledImages
from eqviz.studies.cache import Cache, cache_key
from eqviz.studies.extensions import import_modules
from eqviz.studies.measuring import test_images
from eqviz.studies.measuring_settings import Settings
from eqviz.studies.run_folders import Run
from eqviz.studies.subjects import Subject, Tell

TWIN_CKA = "twin_cka"
IMAGES = 64
"""Test images that both networks are shown unless told otherwise."""

Checkpoint = tuple[Run, int]


@dataclass(frozen=True)
class Similarity:
    """The table of a pair of networks by layer, and whether it came from the cache."""

    table: pd.DataFrame
    from_cache: bool


def partners(runs: pd.DataFrame, networks: pd.DataFrame) -> list[tuple[str, str]]:
    """Pairs of runs to compare, by name: each with a run of the exact network of its model.

    `runs` and `networks` are the tables of these names. An approximate run is paired with the exact run of its own
    seed (of the next one if there is none), at the nearest exact input size; an exact run with that of the next seed
    at its own size, which shows how similar two networks are that differ in nothing but their seed. Runs on other data,
    of other models or in other regimes are never paired.
    """
    shared = ["model", "group", "data", "regime"]
    exact = networks[networks["exact"] == "yes"][[*shared, "input_size"]].drop_duplicates()
    candidates = runs.merge(exact, on=[*shared, "input_size"])
    pairs = []
    for row in runs.to_dict("records"):
        same = candidates[
            (candidates[shared] == pd.Series(row)[shared]).all(axis=1) & (candidates["run"] != row["run"])
        ]
        if len(candidates[candidates["run"] == row["run"]]):
            same = same[same["input_size"] == row["input_size"]]
        if len(same):
            distance = [abs(_pixels(size) - _pixels(row["input_size"])) for size in same["input_size"]]
            ahead = [(seed - row["seed"]) % (1 << 32) for seed in same["seed"]]
            order = same.assign(distance=distance, ahead=ahead).sort_values(["distance", "ahead"], kind="stable")
            pairs.append((str(row["run"]), str(order["run"].iloc[0])))
    return pairs


def _pixels(size: object) -> int:
    """The height of an input size, for which is nearer."""
    return int(str(size).partition("x")[0])


def compare_twins(
    run: Run,
    epoch: int,
    other: Checkpoint,
    settings: Settings,
    cache: Cache,
    *,
    images: LabelledImages | None = None,
    progress: Tell | None = None,
) -> Similarity:
    """CKA between the features of two runs, layer by layer, on the same test images; from the cache if it is there.

    Each network sees the images at its own size. Raises EqvizError for weights or data that cannot be used.
    """
    from eqviz.analysis.cka import twin_cka

    import_modules(settings.imports)
    found = test_images(run, settings) if images is None else images
    twin = replace(other[0], data=run.data)  # the same pictures, at its own size, whatever it was trained on
    subjects = Subject(run, epoch, settings, found), Subject(twin, other[1], settings, test_images(twin, settings))
    count = settings.analysis_images or IMAGES
    key = cache_key({
        "analysis": TWIN_CKA, "networks": [subject.ingredients() for subject in subjects],
        "images": [count, run.data.seed],
    })  # fmt: skip
    known = cache.read_table(TWIN_CKA, key)
    if known is not None:
        return Similarity(known, True)
    shown = [subject.shown(subject.chosen(count)) for subject in subjects]
    tell = partial(progress, TWIN_CKA) if progress is not None else None
    pairs = zip(subjects, shown, strict=True)
    (first, images_a), (second, images_b) = ((subject.model, tensor) for subject, tensor in pairs)
    table = twin_cka(
        first, images_a, second, images_b, layers=settings.layers, batch_size=settings.batch_size, progress=tell
    ).astype({"layer": str})  # fmt: skip
    cache.write_table(TWIN_CKA, key, table)
    return Similarity(table, False)


def twins_of(
    checkpoints: Sequence[Checkpoint], pairs: Iterable[tuple[str, str]]
) -> list[tuple[Checkpoint, Checkpoint]]:
    """The last checkpoints of paired runs."""
    last = {run.name: (run, epoch) for run, epoch in checkpoints}
    return [(last[name], last[other]) for name, other in pairs]
