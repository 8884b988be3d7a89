"""The analyses of single checkpoints: a plain dictionary of their entries, and one way to run and keep them all."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from eqviz.data.images import LabelledImages
from eqviz.errors import EqvizError
from eqviz.studies.cache import Cache, cache_key
from eqviz.studies.extensions import import_modules
from eqviz.studies.measuring import test_images
from eqviz.studies.measuring_settings import Settings
from eqviz.studies.run_folders import Run
from eqviz.studies.scoring import NO_ACCURACY
from eqviz.studies.subjects import Subject, Tell

ANALYSED = "analysed"
"""The kind of the step that ends the analyses of a checkpoint."""

NO_ANSWER = "no-answer"
"""The kind under which the reason is kept, where an analysis has no answer."""


@dataclass(frozen=True)
class Analysis:
    """A question asked of one checkpoint; its answer is the table of its name, without the run keys.

    entry    "module:function" of the model, the images, their labels if `labels`, and keywords (with globs of layers
             unless it is about the output alone)
    images   how many test images it is shown unless told otherwise
    accuracy whether it asks how well the network classifies: a run without an accuracy has no answer
    """

    entry: str
    images: int
    labels: bool = False
    layers: bool = True
    accuracy: bool = False

    def unanswerable(self, subject: Subject) -> str:
        """Why a checkpoint has no answer whatever its layers do; "" if it may have one."""
        return f"{NO_ACCURACY}: {subject.no_accuracy}" if self.accuracy and subject.no_accuracy else ""

    def ask(self, subject: Subject, count: int, progress: Callable[[float], None]) -> pd.DataFrame:
        """Its table for one checkpoint, on at most `count` images. Raises EqvizError where it has no answer."""
        module, _, name = self.entry.partition(":")
        entry: Callable[..., pd.DataFrame] = getattr(importlib.import_module(module), name)
        chosen = subject.chosen(count)
        given = (subject.shown(chosen), chosen.labels) if self.labels else (subject.shown(chosen),)
        layers = {"layers": subject.settings.layers} if self.layers else {}
        return entry(
            subject.model, *given, group=subject.group, batch_size=subject.settings.batch_size, progress=progress,
            **layers,
        )  # fmt: skip


ANALYSES: dict[str, Analysis] = {
    "local_defect": Analysis("eqviz.analysis.local_defect:local_defect", 32),
    "patching": Analysis("eqviz.analysis.patching:patching", 128, labels=True, accuracy=True),
    "function_split": Analysis(
        "eqviz.analysis.function_split:function_split", 500, labels=True, layers=False, accuracy=True
    ),
    "probes": Analysis("eqviz.analysis.probes:probes", 96, labels=True),
    "attribution": Analysis("eqviz.analysis.attribution:attribution", 16),
    "breaking_attribution": Analysis("eqviz.analysis.breaking_attribution:breaking_attribution", 16),
    "lie_derivative": Analysis("eqviz.analysis.lie_derivative:lie_derivative", 32),
    "learned_action": Analysis("eqviz.analysis.learned_action:learned_action", 64),
    "orbit_plane": Analysis("eqviz.analysis.orbit_plane:orbit_plane", 128, labels=True),
    "cka": Analysis("eqviz.analysis.cka:cka", 64),
    "orientation_selectivity": Analysis("eqviz.analysis.orientation_selectivity:orientation_selectivity", 64),
}
"""By the name of their table, in the order in which they run."""


@dataclass(frozen=True)
class Analysed:
    """Tables of one checkpoint by name; `problems` are reasons in place of tables; `reused` are from the cache."""

    tables: Mapping[str, pd.DataFrame]
    problems: Mapping[str, str] = field(default_factory=dict)
    reused: tuple[str, ...] = ()

    @property
    def from_cache(self) -> bool:
        """Whether nothing had to be computed."""
        return len(self.reused) == len(self.tables) + len(self.problems)


def analyse_run(
    run: Run,
    epoch: int,
    names: Sequence[str],
    settings: Settings,
    cache: Cache,
    *,
    images: LabelledImages | None = None,
    progress: Tell | None = None,
) -> Analysed:
    """These analyses of one run at one saved epoch, from the cache where it has them.

    An analysis that has no answer for this network leaves a reason. `progress` is called with the analysis and the
    fraction of it done. Raises EqvizError for weights or data that cannot be used.
    """
    import_modules(settings.imports)
    tell = progress or (lambda kind, fraction: None)
    subject = Subject(run, epoch, settings, test_images(run, settings) if images is None else images)
    common = subject.ingredients()
    tables: dict[str, pd.DataFrame] = {}
    problems: dict[str, str] = {}
    reused: list[str] = []
    for name in names:
        count = settings.analysis_images or ANALYSES[name].images
        key = cache_key({**common, "analysis": name, "images": [count, run.data.seed]})
        known, reason = cache.read_table(name, key), cache.read_text(NO_ANSWER, key)
        if known is not None:
            tables[name] = known
        elif reason is not None:
            problems[name] = reason
        if known is not None or reason is not None:
            reused.append(name)
            continue
        tell(name, 0.0)
        if problem := ANALYSES[name].unanswerable(subject):
            problems[name] = problem
            cache.write_text(NO_ANSWER, key, problem)
            continue
        try:
            tables[name] = _plain(ANALYSES[name].ask(subject, count, _telling(tell, name)))
        except EqvizError as error:
            problems[name] = str(error)
            cache.write_text(NO_ANSWER, key, problems[name])
            continue
        cache.write_table(name, key, tables[name])
    return Analysed(tables, problems, tuple(reused))


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """Layers as text: the order of several runs is made when their tables are joined."""
    plain: Any = table.astype({"layer": str}) if "layer" in table else table.copy()
    plain.attrs = {}
    return pd.DataFrame(plain).reset_index(drop=True)


def _telling(tell: Tell, name: str) -> Callable[[float], None]:
    return lambda fraction: tell(name, min(1.0, float(fraction)))
