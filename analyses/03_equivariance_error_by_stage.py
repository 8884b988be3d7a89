# %% [markdown]
# # Where in a ResNet does one pixel of input size break the symmetry?
#
# Question: a P4-ResNet44 subsamples at the start of its second and third stage. Which stages are equivariant at a size
# that fits (n = 1 mod 4) and at one that does not, and what does training make of it?
#
# Design: the same network and data at both sizes, several seeds; the error after the first convolution, after every
# stage and at the output, at every saved epoch. Epoch 0 is the untrained twin: the same weights, before training. The
# head takes the maximum over the group axis, so the output is invariant wherever the features are equivariant.
#
# Train the runs first: `make results-03 DATA=FOLDER`, or
# `eqviz train analyses/03_equivariance_error_by_stage.toml --preset quick
# -o eqviz-runs/03_equivariance_error_by_stage-quick --data-root FOLDER`. `quick` runs on stained blood cells, which
# stand in for PatchCamelyon; their classes are unequal in number, so accuracies are balanced.

# %%
import eqviz

runs = eqviz.open_runs("eqviz-runs/03_equivariance_error_by_stage-quick", device="cpu", balanced=True)
runs.runs()[["run", "input_size", "data", "seed", "epoch", "train_images"]]

# %% [markdown]
# ## What is predicted

# %%
audit = runs.audit()
faults = audit[audit["exact"] == "no"]
faults[["input_size", "layer", "op", "size", "kernel", "stride", "leftover"]].drop_duplicates()

# %% [markdown]
# ## The error by stage, trained and untrained, with and without the disc
#
# `l1` is the paper's measure: the mean absolute difference between the moved-back features of the moved image and those
# of the image, summed over the three rotations. It carries the scale of the activations; `relative_error` and
# `breaking_fraction` do not. With `mask`, everything outside the inscribed disc of the input is hidden.

# %%
errors = runs.stage_errors_summary()
last = errors[(errors["epoch"] == errors["epoch"].max()) & ~errors["mask"].astype(bool)]
last.pivot_table(index=["layer"], columns=["measure", "input_size"], values="mean", observed=True)

# %%
colours = eqviz.plots.networks(runs.networks())
eqviz.plots.error_by_stage(errors, networks=colours)

# %% [markdown]
# ## Over training
#
# Relative error at every saved epoch.

# %%
eqviz.plots.stage_error_over_training(errors, measure="relative_error", networks=colours)

# %% [markdown]
# ## How accurate is it?

# %%
overview = runs.accuracy_overview()
overview.pivot_table(index=["model", "input_size"], columns="metric", values="mean", sort=False, observed=True).round(3)

# %% [markdown]
# How to read it: at the size that fits every stage stays at the rounding floor, whatever was trained. At the other size
# the error starts with the first stride and is there before training: subsampling gives the capacity to break the
# symmetry, training decides how much of it is left.

# %%
relative = errors[(errors["measure"] == "relative_error") & ~errors["mask"].astype(bool)]
first_and_last = relative[relative["epoch"].isin([0, relative["epoch"].max()])]
first_and_last.pivot_table(index="layer", columns=["input_size", "epoch"], values="mean", observed=True)
