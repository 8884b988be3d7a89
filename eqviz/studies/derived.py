"""Tables that follow from other tables: which function makes them, and from what."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from eqviz.studies.analyses import ANALYSES


@dataclass(frozen=True)
class Derived:
    """A table that "module:function" makes of the tables `sources`, in this order.

    `dispensable` ones have no rows where there is nothing to tell; without any other there is no table.
    """

    entry: str
    sources: tuple[str, ...]
    dispensable: tuple[str, ...] = ()

    def make(self, *tables: pd.DataFrame) -> pd.DataFrame:
        """The table, from those it follows from."""
        module, _, name = self.entry.partition(":")
        function: Callable[..., pd.DataFrame] = getattr(importlib.import_module(module), name)
        return function(*tables)


DERIVED: dict[str, Derived] = {
    "local_defect_summary": Derived("eqviz.analysis.local_defect_summary:local_defect_summary", ("local_defect",)),
    "patching_summary": Derived("eqviz.analysis.patching_summaries:patching_summary", ("patching",)),
    "upright_gain": Derived("eqviz.analysis.patching_summaries:upright_gain", ("patching", "networks")),
    "function_split_summary": Derived("eqviz.analysis.patching_summaries:function_split_summary", ("function_split",)),
    "probes_summary": Derived("eqviz.analysis.probes:probes_summary", ("probes",)),
    "attribution_summary": Derived("eqviz.analysis.attribution:attribution_summary", ("attribution",)),
    "lie_derivative_summary": Derived("eqviz.analysis.lie_derivative:lie_derivative_summary", ("lie_derivative",)),
    "learned_action_summary": Derived("eqviz.analysis.learned_action:learned_action_summary", ("learned_action",)),
    "cka_summary": Derived("eqviz.analysis.cka:cka_summary", ("cka",)),
    "twin_cka_summary": Derived("eqviz.analysis.cka:twin_cka_summary", ("twin_cka",)),
    "orientation_selectivity_summary": Derived(
        "eqviz.analysis.orientation_selectivity:orientation_selectivity_summary", ("orientation_selectivity",)
    ),
    "data_symmetry_summary": Derived("eqviz.analysis.data_symmetry:data_symmetry_summary", ("data_symmetry",)),
    "symmetry_match": Derived(
        "eqviz.analysis.symmetry_match:symmetry_match",
        ("data_symmetry", "equivariance", "accuracy"),
        dispensable=("accuracy",),
    ),
    "stage_errors_summary": Derived("eqviz.analysis.stage_errors:stage_errors_summary", ("stage_errors",)),
    "benchmarks": Derived("eqviz.analysis.benchmarks:benchmarks", ("accuracy", "networks", "runs")),
    "accuracy_by_images": Derived("eqviz.analysis.benchmarks:accuracy_by_images", ("accuracy", "runs")),
    "comparisons": Derived("eqviz.analysis.comparisons:comparisons", ("accuracy",)),
    "significance": Derived("eqviz.analysis.significance:significance", ("accuracy",)),
    "findings": Derived(
        "eqviz.analysis.findings:findings",
        ("networks", "local_defect_summary", "patching_summary", "probes_summary", "attribution_summary"),
        dispensable=("local_defect_summary", "patching_summary", "probes_summary", "attribution_summary"),
    ),
}
"""By the name of the table."""


CURVES = Derived("eqviz.analysis.training_curves:training_summary", ("equivariance", "accuracy"))
"""What is drawn over the saved epochs, from tables of all of them."""


def analyses_behind(table: str) -> tuple[str, ...]:
    """The analyses of checkpoints that a table rests on.

    >>> analyses_behind("upright_gain"), analyses_behind("comparisons")
    (('patching',), ())
    """
    if table in ANALYSES:
        return (table,)
    sources = DERIVED[table].sources if table in DERIVED else ()
    return tuple(dict.fromkeys(name for source in sources for name in analyses_behind(source)))
