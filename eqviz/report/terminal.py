"""Tables as plain text for a terminal."""

import inspect
from collections.abc import Callable, Sequence

import pandas as pd
from tabulate import tabulate

from eqviz.data.registry import DATASETS
from eqviz.models.registry import describe_models
from eqviz.plots.labels import network_label
from eqviz.report.figures import FIGURES
from eqviz.report.page import verdict
from eqviz.report.tables import TABLES
from eqviz.studies.finding import Survey
from eqviz.studies.foreign.looking import printable
from eqviz.studies.run_folders import Run
from eqviz.studies.runs import Runs
from eqviz.tables import format_size


def catalogue(what: str) -> str:
    """The models, data sets, analyses or figures by name, with a line on each."""
    kinds: dict[str, Callable[[], list[dict[str, object]]]] = {
        "models": describe_models,
        "data": lambda: [{"data": name, "about": _DATA[name]} for name in DATASETS],
        "analyses": lambda: [{"table": name, "about": _first_line(getattr(Runs, name))} for name in TABLES],
        "figures": lambda: [{"figure": name, "title": kind.title} for name, kind in FIGURES.items()],
    }
    return _text(kinds[what]())


_DATA = {
    "digits": "scikit-learn's 8x8 digits, embedded: 1,200 to train on, 597 to test on",
    "mnist": "handwritten digits, 28x28; downloaded, or from --data-root",
    "fashion-mnist": "articles of clothing, 28x28; downloaded, or from --data-root",
    "cifar10": "small photographs in 10 classes, 32x32; downloaded, or from --data-root",
    "cifar100": "small photographs in 100 classes, 32x32; downloaded, or from --data-root",
    "pcam": "stained tissue, tumour or none, 96x96; downloaded (8 GB), or from --data-root; needs the extra hdf5",
    "flowers102": "photographs in 102 classes, 224x224 or as asked for; downloaded, or from --data-root",
    "imagenet": "photographs in 1,000 classes, 224x224 or as asked for; only from --data-root",
    "rotated-pair": "one picture and itself rotated by 90 degrees, 32x32 or as asked for; embedded",
    "mirrored-pair": "one picture and itself flipped left-right, 32x32 or as asked for; embedded",
    "transposed-pair": "one picture and its transpose, 32x32 or as asked for; embedded",
}


_MOST_REASONS = 20


def runs_in_words(runs: Sequence[Run]) -> str:
    """One row a run: what it is and which epochs are saved."""
    rows: list[dict[str, object]] = [
        {
            "run": printable(run.name),
            "model": run.model,
            **({"label": printable(run.label)} if any(other.label for other in runs) else {}),
            "input size": format_size(run.input_size),
            "group": run.group,
            "seed": run.seed,
            "epochs saved": _epochs(run.epochs),
            "data": run.data.source if run.data.labels else f"{run.data.source}, images only",
            "regime": run.regime,
            "finished": "yes" if run.finished else "no",
        }
        for run in runs
    ]
    return _text(rows)


def survey_in_words(found: Survey) -> str:
    """The runs of a folder, and below them what was not understood and why."""
    parts = [runs_in_words(found.runs)] if found.runs else []
    for title, pairs in (("not usable", found.faults), ("not described", found.strangers)):
        lines = [f"  {printable(path)}: {why}" for path, why in pairs[:_MOST_REASONS]]
        lines += [f"  and {len(pairs) - _MOST_REASONS} more"] if len(pairs) > _MOST_REASONS else []
        parts += ["\n".join([f"{title}:", *lines])] if pairs else []
    return "\n\n".join(parts)


def networks_in_words(networks: pd.DataFrame) -> str:
    """One row a network: its verdict and its accuracy at the quarter turns, and a sentence."""
    rows: list[dict[str, object]] = [
        {
            "network": network_label(row["model"], size),
            "exact": row["exact"],
            "survives": row["surviving"],
            "first broken": row["first_broken"] or "none",
            **{f"{angle}°": _percent(row[f"accuracy_{angle}"]) for angle in (0, 90, 180, 270)},
            "seeds": row["n_seeds"],
        }
        for (_, row), size in zip(networks.iterrows(), networks["input_size"].tolist(), strict=True)
    ]
    return f"{_text(rows)}\n{verdict(networks)}"


def _percent(accuracy: float) -> str:
    return "" if pd.isna(accuracy) else f"{accuracy:.1%}"


def _epochs(epochs: Sequence[int]) -> str:
    shown = [str(epoch) for epoch in epochs]
    return ", ".join(shown if len(shown) <= 8 else [*shown[:3], "...", *shown[-2:]])


def _first_line(method: object) -> str:
    return (inspect.getdoc(method) or "").split("\n")[0]


def _text(rows: list[dict[str, object]]) -> str:
    return str(tabulate(rows, headers="keys", tablefmt="simple", disable_numparse=True))
