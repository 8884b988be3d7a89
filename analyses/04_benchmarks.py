# %% [markdown]
# # Benchmarks: do approximate networks match or beat exact ones where the data are upright?
#
# Question: at 32 pixels the strides of a ResNet misfit, at 33 its group versions are exact. What does that do to
# accuracy on upright images, and on rotated ones?
#
# Design: plain, P4 and P4M ResNets at both sizes; heads that take the maximum over the group axis, or give all of it to
# the classifier; separable filters (g, gc); trained as the data come, with quarter turns as augmentation, and on fewer
# images. Upright: 0 degrees. Rotated: the mean over the four quarter turns.
#
# Train the runs first: `make results-04 DATA=FOLDER`, or
# `eqviz train analyses/04_benchmarks.toml --preset quick -o eqviz-runs/04_benchmarks-quick --data-root FOLDER`.

# %%
import eqviz

runs = eqviz.open_runs("eqviz-runs/04_benchmarks-quick", device="cpu", angles=(0.0, 90.0, 180.0, 270.0))
runs.runs()[["run", "model", "input_size", "data", "regime", "seed", "parameters", "train_images"]]

# %% [markdown]
# ## The table
#
# One row a network, data set and regime; `exact` is measured, in float32 and float64.

# %%
table = runs.benchmarks()
table[
    ["data", "regime", "model", "input_size", "exact", "parameters", "accuracy_upright", "accuracy_rotated", "n_seeds"]
]

# %%
colours = eqviz.plots.networks(runs.networks())
eqviz.plots.benchmarks(table, networks=colours)

# %% [markdown]
# ## Features may be exact where scores are not
#
# A head on the flattened group axis is no invariant: at a size that fits, features are exact and scores are not.

# %%
networks = runs.networks()
networks[["data", "regime", "model", "input_size", "exact", "surviving", "first_broken"]]

# %% [markdown]
# ## Fewer training images

# %%
by_images = runs.accuracy_by_images()
eqviz.plots.accuracy_by_training_images(by_images, networks=colours)

# %%
by_images.pivot_table(
    index=["data", "regime", "model", "input_size"], columns=["metric", "train_images"], values="mean", observed=True
)

# %% [markdown]
# How to read it: compare 32 with 33 pixels of one architecture in a column. A difference that is smaller than the
# intervals of both says nothing; `runs.comparisons()` has the tests.

# %%
compared = runs.comparisons()
upright = compared[compared["metric"] == "accuracy at 0 degrees"]
upright[["data", "regime", "model_a", "input_size_a", "model_b", "input_size_b", "difference", "p_welch_holm", "note"]]
