"""Is my group-equivariant CNN equivariant? From checkpoints to tidy tables and figures.

A layer Phi is equivariant when moving the input by g moves its activations by g: the aligned orbit
A_g(x) = rho(g)^-1 Phi(g x) does not depend on g. eqviz measures how far it does, layer by layer.

    import eqviz

    eqviz.audit(model, 28, group="p4")                        # predicted: which operation breaks the symmetry, and why
    eqviz.exact_sizes(model, range(20, 41), group="p4")       # which input sizes are safe

    statistics = eqviz.capture(model, images, group="p4")     # one pass over the orbit of the images
    statistics.equivariance()                                 # how much of each layer breaks the symmetry
    statistics.spectrum()                                     # in which way: energy of every irrep
    statistics.subgroups()                                    # which part of the symmetry survives

    eqviz.verdict(model, images, group="p4")                  # exact or not, measured beside predicted
    eqviz.infer_fields(model, images, group="p4")             # how the group acts on layers that do not say

    runs = eqviz.open_runs("eqviz-demo/runs")                 # a folder of checkpoints
    runs.accuracy()                                           # accuracy by angle: the same methods, all runs,
    runs.equivariance()                                       # tidy DataFrames, cached

    eqviz.plots.breaking_by_layer(runs.equivariance_summary())
    eqviz.decompose(model, images, "pool")                    # the aligned orbit as tensors, for looking at

`eqviz.declare(module, "regular(C4)")` says how the group acts on a layer's output; `eqviz.group`, `eqviz.field_type`
read names. Errors a person can cause are `eqviz.EqvizError`. For your own test suite there is
`from eqviz.testing import assert_equivariant`.
"""

from importlib import import_module

NAMES: dict[str, str] = {
    "attribution": "eqviz.analysis.attribution:attribution",
    "audit": "eqviz.audit.auditing:audit",
    "breaking_attribution": "eqviz.analysis.breaking_attribution:breaking_attribution",
    "breaking_maps": "eqviz.analysis.breaking_attribution:breaking_maps",
    "capture": "eqviz.capture.orbit_capture:capture",
    "cka": "eqviz.analysis.cka:cka",
    "comparisons": "eqviz.analysis.comparisons:comparisons",
    "data_symmetry": "eqviz.analysis.data_symmetry:data_symmetry",
    "declare": "eqviz.fields.field_types:declare",
    "decompose": "eqviz.capture.decomposition:decompose",
    "EqvizError": "eqviz.errors:EqvizError",
    "exact_sizes": "eqviz.audit.sizes:exact_sizes",
    "field_type": "eqviz.fields.field_types:field_type",
    "function_split": "eqviz.analysis.function_split:function_split",
    "group": "eqviz.groups.group:group",
    "infer_fields": "eqviz.analysis.field_inference:infer_fields",
    "lie_derivative": "eqviz.analysis.lie_derivative:lie_derivative",
    "local_defect": "eqviz.analysis.local_defect:local_defect",
    "learned_action": "eqviz.analysis.learned_action:learned_action",
    "measure_symmetry": "eqviz.analysis.symmetry:measure_symmetry",
    "open_runs": "eqviz.studies.runs:open_runs",
    "orbit_plane": "eqviz.analysis.orbit_plane:orbit_plane",
    "orientation_selectivity": "eqviz.analysis.orientation_selectivity:orientation_selectivity",
    "patching": "eqviz.analysis.patching:patching",
    "probes": "eqviz.analysis.probes:probes",
    "train_recipe": "eqviz.studies.training:train_recipe",
    "twin_cka": "eqviz.analysis.cka:twin_cka",
    "untrained_twin": "eqviz.analysis.twins:untrained_twin",
    "verdict": "eqviz.analysis.verdicts:verdict",
    "write_report": "eqviz.report.build:write_report",
}
"""Public name -> "module:attribute"; loaded when first asked for."""

MODULES = ("plots", "testing")
"""Public modules, loaded when first asked for."""


def load(name: str) -> object:
    """The public object of that name. Raises AttributeError, with the names there are, for any other."""
    if name in MODULES:
        return import_module(f"eqviz.{name}")
    if name not in NAMES:
        raise AttributeError(f"eqviz has no {name!r}; it has {', '.join([*sorted(NAMES), *MODULES])}")
    module, attribute = NAMES[name].split(":")
    return getattr(import_module(module), attribute)
