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

COMPARISON_KEYS = ("group", "epoch", "data", "regime")
"""What the networks that are compared have in common."""

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
    # layers that were asked for and are in no table of measurements, and why
    "skipped_layers": (*RUN_KEYS, "layer", "reason"),
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
    # how fast features and moved features come apart under a continuous transformation, by unit of its parameter: a
    # row a layer call and transformation
    "lie_derivative": (
        *RUN_KEYS, *LAYER_KEYS, "kind", "subsamples", "field", "transformation", "unit", "lie_error", "change",
        "expected", "floor", "edge_share", "edge_pixels", "local_error", "local_floor", "note", "n",
    ),
    "lie_derivative_summary": (
        *MODEL_KEYS, *LAYER_KEYS, "kind", "subsamples", "transformation", "unit", "lie_error", "lowest", "highest",
        "change", "expected", "floor", "edge_share", "edge_pixels", "local_error", "local_lowest", "local_highest",
        "local_floor", "n_seeds",
    ),
    # which layers are predicted exact at which input sizes, whatever the size the run was trained at
    "exactness": (*RUN_KEYS, *LAYER_KEYS, "exact", "grid_exact", "surviving"),
    # what each layer itself does to the symmetry, on its actual input (local), beside all that happened up to it
    # (cumulative); one row a layer call, rank 1 the layer that is most to blame
    "local_defect": (
        *RUN_KEYS, *LAYER_KEYS, "kind", "subsamples", "field", "field_source", "local_error", "local_error_float64",
        "cumulative_error", "exact", "rank", "share", "note", "n",
    ),
    # the same over seeds: mean, lowest, highest; in how many seeds it is a culprit, and in how many the first one
    "local_defect_summary": (
        *MODEL_KEYS, *LAYER_KEYS, "kind", "subsamples", "local_error", "local_lowest", "local_highest",
        "cumulative_error", "cumulative_lowest", "cumulative_highest", "exact", "n_ranked", "n_culprit", "n_seeds",
    ),
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
    # where the aligned features of some images lie in the plane of their first two principal components, a row a layer
    # call, image and element; coordinates in units of the root mean square distance from the mean
    "orbit_plane": (
        *RUN_KEYS, *LAYER_KEYS, "kind", "subsamples", "image", "label", "element", "first", "second",
        "explained_first", "explained_second", "orbit_spread", "n",
    ),
    # does the explanation of g x turn with the image: cosine of two attributions, a row a method and layer; ties of the
    # maximum pools are those of the network and the same in every row
    "attribution": (
        *RUN_KEYS, *LAYER_KEYS, "kind", "subsamples", "method", "cosine", "cosine_distance", "cosine_lowest",
        "cosine_pooled", "undefined", "tied_windows", "tied_windows_with_gradient", "completeness", "n",
    ),
    "attribution_summary": (
        *MODEL_KEYS, *LAYER_KEYS, "kind", "subsamples", "method", "cosine", "cosine_lowest", "cosine_distance",
        "lowest", "highest", "tied_windows", "tied_windows_with_gradient", "n_seeds",
    ),
    # which pixels break the symmetry of a layer: how much of the attribution lies on the outermost pixels, beside their
    # fraction of all; a row a method and layer
    "breaking_attribution": (
        *RUN_KEYS, *LAYER_KEYS, "kind", "subsamples", "method", "breaking", "breaking_baseline", "floor",
        "completeness", "edge_share", "edge_pixels", "n",
    ),
    # similarity (linear CKA) of the features of x and of g x, a row a layer call and element
    "cka": (*RUN_KEYS, *LAYER_KEYS, "kind", "subsamples", "element", "cka", "cka_biased", "n"),
    "cka_summary": (
        *MODEL_KEYS, *LAYER_KEYS, "kind", "subsamples", "cka", "lowest", "highest", "cka_biased", "n_seeds",
    ),
    # similarity (linear CKA) of the features of two networks on the same images, a row a layer call
    "twin_cka": (
        *RUN_KEYS, *LAYER_KEYS, "kind", "subsamples", "other_run", "other_model", "other_input_size", "cka",
        "cka_biased", "n",
    ),
    "twin_cka_summary": (
        *MODEL_KEYS, *LAYER_KEYS, "kind", "subsamples", "other_model", "other_input_size", "cka", "lowest", "highest",
        "cka_biased", "n_pairs",
    ),
    # what the fibres of one image hold, not what breaks: energy in each irrep, a row a layer call and irrep; adds to 1
    "orientation_selectivity": (*RUN_KEYS, *LAYER_KEYS, "kind", "subsamples", "field", "irrep", "energy", "n"),
    "orientation_selectivity_summary": (
        *MODEL_KEYS, *LAYER_KEYS, "kind", "subsamples", "irrep", "energy", "lowest", "highest", "n_seeds",
    ),
    # what a linear probe reads from a layer (which element moved the image, or its class), on held-out images: a row a
    # layer call, target, frame (A_g aligned, or Phi(g x) as it is) and component; baseline: of permuted labels
    "probes": (
        *RUN_KEYS, *LAYER_KEYS, "kind", "subsamples", "target", "frame", "component", "accuracy", "chance", "baseline",
        "baseline_high", "p_value", "at_floor", "folds", "n",
    ),
    # the same over seeds; n_above: in how many of them it reads more than from permuted labels (p at most 0.05)
    "probes_summary": (
        *MODEL_KEYS, *LAYER_KEYS, "kind", "subsamples", "target", "frame", "component", "accuracy", "lowest", "highest",
        "chance", "baseline", "baseline_high", "at_floor", "n_above", "n_seeds",
    ),
    # how well maps of the channel vectors predict the features of g x from those of x: relative error on held-out
    # images, a row a layer call, element and kind of map
    "learned_action": (
        *RUN_KEYS, *LAYER_KEYS, "kind", "subsamples", "element", "map", "error", "training_error", "dimension", "n",
    ),
    # the same as root mean square over the elements, and over seeds
    "learned_action_summary": (
        *MODEL_KEYS, *LAYER_KEYS, "kind", "subsamples", "map", "error", "lowest", "highest", "training_error",
        "dimension", "n_seeds",
    ),
    # upright and rotated accuracy side by side: one row a model, one column an angle
    "accuracy_overview": (*MODEL_KEYS, "metric", *SUMMARY_VALUES),
    # does the network use what is broken: accuracy with a layer's breaking component scaled, s = 0 without it; and over
    # seeds, a row a measure
    "patching": (
        *RUN_KEYS, *LAYER_KEYS, "kind", "subsamples", "cut", "scale", "accuracy_upright", "accuracy_rotated",
        "accuracy_orbit", "consistency", "output_breaking", "gain_upright", "gain_rotated", "n",
    ),
    "patching_summary": (
        *MODEL_KEYS, *LAYER_KEYS, "kind", "subsamples", "cut", "scale", "measure", "mean", "lowest", "highest",
        "n_seeds",
    ),
    # upright accuracy as it is and with a layer's symmetric component alone, beside that of the exact twin
    "upright_gain": (
        *MODEL_KEYS, *LAYER_KEYS, "kind", "subsamples", "cut", "accuracy_upright", "accuracy_symmetric", "exact_size",
        "accuracy_exact", "gain", "gain_left", "n", "n_seeds", "n_seeds_exact",
    ),
    # the scores f, or probabilities, split into S f and A f; norms and losses are means over images, cross entropy in
    # nats; and over seeds, a row a measure
    "function_split": (
        *RUN_KEYS, "function", "distribution", "norm_whole", "norm_symmetric", "norm_antisymmetric",
        "antisymmetric_fraction", "accuracy", "accuracy_symmetric", "accuracy_antisymmetric", "cross_entropy",
        "cross_entropy_symmetric", "cross_entropy_gap", "squared_loss", "squared_loss_symmetric", "squared_loss_gap",
        "n",
    ),
    "function_split_summary": (
        *MODEL_KEYS, "function", "distribution", "measure", "mean", "lowest", "highest", "n_seeds",
    ),
    # how well a classifier tells the training images from copies of them moved by a random or by one element of the
    # group: a row a label ("" for all images) and element; `highest` is the best that any classifier could do
    "data_symmetry": (
        *RUN_KEYS, "label", "element", "auc", "low", "high", "interval", "lowest_fold", "highest_fold", "highest",
        "chance", "n",
    ),
    "data_symmetry_summary": (
        *MODEL_KEYS, "label", "element", "auc", "low", "high", "interval", "highest", "chance", "n", "n_seeds",
    ),
    # the symmetry of the data beside what the network breaks and what it is worth, one row a run
    "symmetry_match": (
        *RUN_KEYS, "auc", "low", "high", "highest", "breaking_fraction", "floor", "map_layer", "map_breaking_fraction",
        "map_floor", "accuracy_upright", "accuracy_rotated",
    ),
    # accuracy upright, rotated (mean over the four quarter turns) and, for networks measured under D4, reflected (the
    # same of mirrored images) over seeds, with bounds of the intervals; one row a network, data set and regime
    "benchmarks": (
        *MODEL_KEYS, "exact", "parameters", "accuracy_upright", "upright_low", "upright_high", "accuracy_rotated",
        "rotated_low", "rotated_high", "accuracy_reflected", "reflected_low", "reflected_high", "n_seeds", "interval",
    ),
    # the same by the number of training images, a row a metric; `regime` is without that number
    "accuracy_by_images": (*MODEL_KEYS, "train_images", "metric", *SUMMARY_VALUES),
    # two networks and one metric, over seeds: difference a - b with its interval, tests and effect sizes
    "comparisons": (
        *COMPARISON_KEYS, "metric", "model_a", "input_size_a", "model_b", "input_size_b", "mean_a", "mean_b",
        "difference", "low", "high", "interval", "p_welch", "p_welch_holm", "p_paired", "p_paired_holm", "family_size",
        "effect_size", "effect_size_paired", "n_a", "n_b", "n_pairs", "note",
    ),
    # a row a network and metric: networks of a metric that share a letter do not differ significantly
    "significance": (*MODEL_KEYS, "metric", "mean", "std", "n_seeds", "letters", "text"),
    # what the analyses in depth found of a network: culprit, what patching restores, what a probe reads of the element,
    # whether explanations turn with the image; one row a network
    "findings": (
        *MODEL_KEYS, "n_seeds", "exact", "surviving", "culprit", "culprit_seeds", "accuracy_upright",
        "accuracy_rotated", "patched_layers", "least_layer", "rotated_least", "upright_least", "most_layer",
        "rotated_most", "upright_most", "probe_layer", "probe_accuracy", "probe_chance", "probe_permuted",
        "probe_seeds", "integrated_gradients", "saliency", "tied_windows",
    ),
    # the error after the stem, after every stage and at the output, at all saved epochs (epoch 0: untrained), with
    # everything outside the inscribed disc of the image hidden (`mask`) and without; and over seeds, a row a measure
    "stage_errors": (
        *RUN_KEYS, "mask", *LAYER_KEYS, "kind", "subsamples", "breaking_fraction", "relative_error", "cosine", "l1",
        "relative_l1", "floor", "n",
    ),
    "stage_errors_summary": (
        *MODEL_KEYS, "mask", *LAYER_KEYS, "kind", "subsamples", "measure", "mean", "lowest", "highest", "floor",
        "n_seeds",
    ),
    # our means over seeds beside published ones (with their 95% t interval), a row a network and metric; `mean of 36
    # angles`, the paper's, is of exact and interpolated angles together, as in no other table
    "published_comparison": (
        *MODEL_KEYS, "metric", "mean", "std", "low", "high", "n_seeds", "published_mean", "published_std",
        "published_low", "published_high", "published_n_seeds", "difference", "within", "source",
    ),
    # loss (nats) and accuracy after each epoch of training, as the runs recorded them, over seeds; a row a measure
    "learning_curves": (*MODEL_KEYS, "measure", "mean", "lowest", "highest", "n_seeds"),
    # an image, and what one layer makes of it and of its moved copy, pixel by pixel, at every saved epoch of a run
    "feature_maps": (*RUN_KEYS, *LAYER_KEYS, "panel", "row", "column", "value", "channel", "element"),
    # breaking and accuracy of a network at each saved epoch (epoch 0: untrained), over seeds; a row a measure
    "training_summary": (*MODEL_KEYS, "measure", "mean", "lowest", "highest", "floor", "n_seeds"),
}  # fmt: skip


def empty(name: str) -> pd.DataFrame:
    """The table `name` with its columns and no rows."""
    table = pd.DataFrame(columns=list(columns(name)))
    table.attrs["table"] = name
    return table


def columns(name: str) -> tuple[str, ...]:
    """The columns of the table `name`, in order. Raises EqvizError for a name that is not a table."""
    try:
        return SCHEMAS[name]
    except KeyError:
        raise EqvizError(
            "table", expected=f"one of {', '.join(SCHEMAS)}", found=repr(name), fix="choose one of these names"
        ) from None


def conform(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """`table` with the columns of the schema `name` in their order, and layers that ran as an ordered categorical.

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
    if "depth" in wanted:
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
