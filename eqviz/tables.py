"""The tables of eqviz: which columns each one has, and what they mean.

Every table is tidy (one row an observation), keys first, values after. Analyses fill these tables and plots draw
them; this module is all that the two share. It knows pandas and nothing else.

>>> empty("spectrum").columns.tolist()[-2:]
['irrep', 'energy']
"""

from collections.abc import Iterable, Sequence

import pandas as pd

from eqviz.errors import EqvizError

RUN_KEYS = ("run", "model", "input_size", "group", "seed", "epoch", "data", "regime")
"""Which network, at which size, measured under which group, from which seed, after how many epochs, on which data, and
how its training images were turned (`upright`, `uniform`, `N(45, 20)`)."""

LAYER_KEYS = ("layer", "call", "depth")
"""Which module (its path), which of its calls in one forward pass (from 0), and its place in execution order."""

MODEL_KEYS = ("model", "input_size", "group", "epoch", "data", "regime")
"""What the runs of a summary have in common; the seeds are what is summed up."""

SUMMARY_VALUES = ("mean", "std", "low", "high", "n_seeds", "interval")
"""Mean over seeds, standard deviation (ddof 1), bounds of the interval and the name of its method."""

_ROTATION = ("angle", "reflected", "grid", "mask", "fill")

SCHEMAS: dict[str, tuple[str, ...]] = {
    # what was trained, and on how many images
    "runs": (*RUN_KEYS, "parameters", "train_images"),
    # fraction of test images classified correctly, by angle in degrees (after a left-right flip if `reflected`)
    "accuracy": (*RUN_KEYS, *_ROTATION, "accuracy", "balanced_accuracy", "n"),
    "accuracy_classes": (*RUN_KEYS, *_ROTATION, "label", "accuracy", "n"),
    # how far each layer is from equivariant, over the group, as ratios of sums over images
    "equivariance": (
        *RUN_KEYS, *LAYER_KEYS, "kind", "subsamples", "field", "field_source", "grid", "breaking_fraction",
        "relative_error", "cosine", "l1", "relative_l1", "floor", "n", "note",
    ),
    "equivariance_elements": (
        *RUN_KEYS, *LAYER_KEYS, "element", "grid", "relative_error", "cosine", "l1", "relative_l1", "n",
    ),
    # in which way it breaks: energy in each isotypic component of the aligned orbit; adds to 1 over irreps
    "spectrum": (*RUN_KEYS, *LAYER_KEYS, "irrep", "energy"),
    # which part of the symmetry is left: residual 0 exactly when the subgroup survives
    "subgroups": (*RUN_KEYS, *LAYER_KEYS, "subgroup", "residual", "survives"),
    # what every operation of one forward pass does to the symmetry, predicted without running it on any image
    "audit": (
        *RUN_KEYS, *LAYER_KEYS, "index", "op", "size", "kernel", "stride", "padding", "dilation", "leftover",
        "grid_exact", "fibre_exact", "exact", "surviving", "why",
    ),
    # measured against predicted, layer by layer, with trained and with fresh weights
    "verdict": (
        *RUN_KEYS, "weights", *LAYER_KEYS, "kind", "field", "field_source", "breaking_float32", "breaking_float64",
        "exact", "surviving", "predicted", "predicted_surviving", "agrees",
    ),
    # which layers are predicted exact at which input sizes, whatever the size the run was trained at
    "exactness": (*RUN_KEYS, *LAYER_KEYS, "exact", "grid_exact", "surviving"),
    # one row a network: is it exact, what survives at its output, which layer breaks first, and what that costs
    "networks": (
        *MODEL_KEYS, "n_seeds", "exact", "surviving", "first_broken", "breaking_fraction", "floor", "accuracy_0",
        "accuracy_90", "accuracy_180", "accuracy_270",
    ),
    # the same over seeds
    "accuracy_summary": (*MODEL_KEYS, *_ROTATION, *SUMMARY_VALUES),
    "equivariance_summary": (
        *MODEL_KEYS, *LAYER_KEYS, "kind", "subsamples", "grid", "breaking_fraction", "lowest",
        "highest", "floor", "n_seeds",
    ),
    "spectrum_summary": (*MODEL_KEYS, *LAYER_KEYS, "kind", "subsamples", "irrep", "energy", "n_seeds"),
    "subgroups_summary": (
        *MODEL_KEYS, *LAYER_KEYS, "kind", "subsamples", "subgroup", "residual", "survives", "n_seeds",
    ),
    # upright and rotated accuracy side by side: one row a model, one column an angle
    "accuracy_overview": (*MODEL_KEYS, "metric", *SUMMARY_VALUES),
}  # fmt: skip


def empty(name: str) -> pd.DataFrame:
    """The table `name` with its columns and no rows."""
    return pd.DataFrame(columns=list(columns(name)))


def columns(name: str) -> tuple[str, ...]:
    """The columns of the table `name`, in order. Raises EqvizError for a name that is not a table."""
    try:
        return SCHEMAS[name]
    except KeyError:
        raise EqvizError(
            "table", expected=f"one of {', '.join(SCHEMAS)}", found=repr(name), fix="choose one of these names"
        ) from None


def conform(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """`table` with the columns of the schema `name` in their order, and layers as an ordered categorical.

    Layers are ordered by depth, which is their order of execution. Raises EqvizError when columns are missing.
    """
    wanted = columns(name)
    missing = [column for column in wanted if column not in table.columns]
    if missing:
        raise EqvizError(
            f"table {name}", expected=f"columns {', '.join(wanted)}", found=f"a table without {', '.join(missing)}",
            fix="pass the table as eqviz made it",
        )  # fmt: skip
    ordered = table.loc[:, list(wanted)].reset_index(drop=True)
    if "layer" in wanted:
        ordered["layer"] = pd.Categorical(
            ordered["layer"].astype(str), categories=execution_order(ordered), ordered=True
        )
    ordered.attrs["table"] = name
    return ordered


def execution_order(table: pd.DataFrame) -> list[str]:
    """Layer names of a table with `layer` and `depth`, first executed first.

    Networks of different depth share one order by the mean of their depths.
    """
    rows = pd.DataFrame({"layer": table["layer"].astype(str), "depth": table["depth"].astype(float)})
    return list(rows.groupby("layer", sort=False)["depth"].mean().sort_values(kind="stable").index)


def concatenate(parts: Iterable[pd.DataFrame], name: str) -> pd.DataFrame:
    """One table `name` from the tables of several runs.

    `input_size` is an integer where every run is square; with any run that is not, all become text, `HxW`.
    """
    rows = [part.astype({"layer": str}) if "layer" in part else part for part in parts if len(part)]
    if not rows:
        return empty(name)
    joined = pd.concat(rows, ignore_index=True)
    sizes = joined["input_size"]
    if any(isinstance(size, str) for size in sizes):
        joined["input_size"] = sizes.astype(str)
    return conform(joined, name)


def format_size(size: Sequence[int]) -> int | str:
    """An input size as tables show it: 28 for (28, 28), '28x32' for (28, 32)."""
    height, width = size
    return height if height == width else f"{height}x{width}"
