"""What a report leaves out, in words: tables and figures by their reason, runs without an accuracy, skipped layers."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from eqviz.errors import EqvizError, NoAnswerError
from eqviz.studies.scoring import NO_ACCURACY

_SHOWN = 3
"""Layers that are named of those that share a reason."""

_KINDS = ("table", "figure")


class LeftOut:
    """Tables and figures that were left out, and why."""

    def __init__(self) -> None:
        self._named: dict[str, dict[str, list[str]]] = {}

    def add(self, kind: str, name: str, error: EqvizError) -> None:
        """Note that a `table` or a `figure` was left out; names of one reason are told together.

        Why networks have no accuracy is told by :func:`without_accuracy`.
        """
        reason = error.found if isinstance(error, NoAnswerError) else str(error)
        reason = "no network has an accuracy" if reason.startswith(NO_ACCURACY) else reason
        self._named.setdefault(reason, {}).setdefault(kind, []).append(name)

    def in_words(self) -> list[str]:
        """A line for every reason.

        >>> left = LeftOut()
        >>> error = NoAnswerError("probes", expected="an answer", found="too few images", fix="add some")
        >>> for kind, name in (("table", "probes"), ("table", "probes_summary"), ("figure", "probe_accuracy")):
        ...     left.add(kind, name, error)
        >>> left.in_words()
        ['Left out: tables probes, probes_summary; figure probe_accuracy (too few images)']
        """
        return [f"Left out: {_listed(named)} ({reason})" for reason, named in self._named.items()]


def _listed(named: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(
        f"{kind}{'s' if len(named[kind]) > 1 else ''} {', '.join(named[kind])}" for kind in _KINDS if kind in named
    )


def without_accuracy(reasons: Mapping[str, str]) -> list[str]:
    """A line for every reason why runs have no accuracy, from the reason of each run by its name.

    >>> without_accuracy({"a": "no labels", "b": "no labels"})
    ['Without an accuracy: a, b (no labels); they are in no table and no figure of accuracies']
    """
    runs: dict[str, list[str]] = {}
    for run, reason in reasons.items():
        runs.setdefault(reason, []).append(run)
    return [
        f"Without an accuracy: {', '.join(names)} ({reason}); "
        f"{'they are' if len(names) > 1 else 'it is'} in no table and no figure of accuracies"
        for reason, names in runs.items()
    ]


def unanswered(reasons: Mapping[str, Mapping[str, str]], known: Iterable[str]) -> list[str]:
    """A line for every reason why some runs are missing in tables in depth that other runs are in.

    `reasons` are those of each run by the name of the analysis; `known` the tables that there are. That a run has no
    accuracy is told by :func:`without_accuracy`.

    >>> unanswered({"patching": {"a": "no scores"}, "cka": {"a": "no maps"}}, ["patching"])
    ['Not in the table patching: a (no scores)']
    """
    there, analyses = set(known), dict[tuple[str, tuple[str, ...]], list[str]]()
    for name in (name for name in reasons if name in there):
        by_reason: dict[str, list[str]] = {}
        for run, reason in reasons[name].items():
            if reason.startswith(NO_ACCURACY):
                continue
            by_reason.setdefault(reason, []).append(run)
        for reason, runs in by_reason.items():
            analyses.setdefault((reason, tuple(runs)), []).append(name)
    return [
        f"Not in the table{'s' if len(names) > 1 else ''} {', '.join(names)}: {', '.join(runs)} ({reason})"
        for (reason, runs), names in analyses.items()
    ]


def skipped_line(skipped: pd.DataFrame) -> list[str]:
    """How many layers were skipped, in a line; none for no layers. Takes the table `skipped_layers`.

    >>> skipped_line(pd.DataFrame({"run": ["a", "a"], "layer": ["x", "y"], "reason": ["odd", "odd"]}))
    ['2 layers could not be measured, for 1 reason: see the table skipped_layers']
    """
    if len(skipped) == 0:
        return []
    layers = len(skipped.drop_duplicates(["run", "layer"]))  # once for all saved epochs
    reasons = skipped["reason"].map(_kind_of).nunique()
    return [
        f"{layers} layer{'s' if layers > 1 else ''} could not be measured, for {reasons} "
        f"reason{'s' if reasons > 1 else ''}: see the table skipped_layers"
    ]


def skipped_in_words(skipped: pd.DataFrame) -> list[tuple[str, str]]:
    """Every reason for skipping layers, and the layers that share it, with their runs; the first of many by name.

    Reasons that differ only in what to do about a layer are told once, of the first.

    >>> table = pd.DataFrame({"run": ["a"] * 5, "layer": list("vwxyz"), "reason": ["it never ran"] * 5})
    >>> skipped_in_words(table)
    [('it never ran', 'a: v, w, x and 2 others')]
    """
    found = []
    once = skipped.drop_duplicates(["run", "layer"])
    for _, rows in once.groupby(once["reason"].map(_kind_of), sort=False):
        layers: dict[tuple[str, ...], list[str]] = {}
        for run, part in rows.groupby("run", sort=False):
            layers.setdefault(tuple(part["layer"].astype(str)), []).append(str(run))
        reason = str(rows["reason"].iloc[0])
        found += [(reason, f"{_first_of(runs)}: {_first_of(names)}") for names, runs in layers.items()]
    return found


def _first_of(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {rest} other{'s' if rest > 1 else ''}" if rest > 0 else shown


def _kind_of(reason: str) -> str:
    """A reason without what to do about a single layer."""
    return reason.partition(";")[0]
