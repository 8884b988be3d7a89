"""Measuring many runs: one after another or in processes, telling whoever waits how far it is."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import joblib

from eqviz.data.images import LabelledImages
from eqviz.studies.measuring import test_images
from eqviz.studies.measuring_settings import Settings
from eqviz.studies.processes import apart
from eqviz.studies.run_folders import Run


@dataclass(frozen=True)
class Step:
    """Progress: the `place`-th of `runs` runs, what is being done (`kind`) and how much of it is done.

    `kind` is `symmetry` or `accuracy` while a run is measured and `done` at its end, `untrained twin` and `twin done`
    for its twin, and `sizes` while its exactness at other sizes is predicted. The analyses in depth go by their own
    names, and `analysed` ends those of a run. At an end `reused` says whether all came from the cache.
    """

    run: str
    epoch: int
    place: int
    runs: int
    kind: str
    fraction: float
    reused: bool = False


OnStep = Callable[[Step], None]


@dataclass(frozen=True)
class Call:
    """Something to measure of a run at an epoch: a function that takes `images` and `progress` as keywords."""

    run: Run
    epoch: int
    measure: Callable[..., Any]


def in_turn(calls: Sequence[Call], end: str, settings: Settings, jobs: int, on_step: OnStep | None) -> Iterator[Any]:
    """What every call finds, in order; a step of kind `end` tells that it is there.

    With several `jobs` each call has a process, through joblib and whichever of its backends is set. What is found
    has `from_cache`.
    """
    results = _one_by_one(calls, settings, on_step) if jobs == 1 else _side_by_side(calls, jobs)
    for place, (call, found) in enumerate(zip(calls, results, strict=True), start=1):
        teller(on_step, call.run, call.epoch, place, len(calls))(end, 1.0, reused=found.from_cache)
        yield found


def _side_by_side(calls: Sequence[Call], jobs: int) -> Iterator[Any]:
    with apart(jobs):
        tasks = (joblib.delayed(call.measure)() for call in calls)
        yield from joblib.Parallel(n_jobs=jobs, return_as="generator")(tasks)


def _one_by_one(calls: Sequence[Call], settings: Settings, on_step: OnStep | None) -> Iterator[Any]:
    """Images are loaded once for neighbouring runs that share them."""
    loaded: dict[object, LabelledImages] = {}
    for place, call in enumerate(calls, start=1):
        wanted = (call.run.data, call.run.input_size)
        if wanted not in loaded:
            loaded = {wanted: test_images(call.run, settings)}
        tell = teller(on_step, call.run, call.epoch, place, len(calls))
        yield call.measure(images=loaded[wanted], progress=tell)


def teller(on_step: OnStep | None, run: Run, epoch: int, place: int, runs: int) -> Callable[..., None]:
    """A function of kind and fraction that tells `on_step`, if there is one."""

    def tell(kind: str, fraction: float, *, reused: bool = False) -> None:
        if on_step is not None:
            on_step(Step(run.name, epoch, place, runs, kind, fraction, reused))

    return tell
