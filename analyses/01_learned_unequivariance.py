# %% [markdown]
# # Can one group convolution learn to break its own symmetry?
#
# Question: a single convolution over P4 with stride 2, 14 parameters, is shown a picture and the same picture rotated
# by 90 degrees. Can it learn to tell them apart?
#
# Design: at 33 pixels the stride maps the sampling grid to itself, the network is exact and its scores are the same for
# both pictures, so that the cross entropy is never below ln 2. At 32 pixels it is not. The same for P4M with a mirrored
# copy, and with the transposed one, which survives a misfitting stride.
#
# Train the runs first: `make results-01`, or
# `eqviz train analyses/01_learned_unequivariance.toml --preset quick -o eqviz-runs/01_learned_unequivariance-quick`.

# %%
import math

import eqviz

runs = eqviz.open_runs("eqviz-runs/01_learned_unequivariance-quick", device="cpu")
runs.runs()[["run", "model", "input_size", "data", "seed", "epoch", "parameters"]]

# %% [markdown]
# ## What is predicted, before any training
#
# `surviving` is the largest subgroup that survives at the output. P4M at 32 pixels keeps the transpose.

# %%
audit = runs.audit()
output = audit.groupby(["model", "input_size", "data"], observed=True)["surviving"].last().reset_index()
output

# %% [markdown]
# ## The loss over training
#
# `train_loss` in nats, an epoch being one step. The lowest value over all seeds and steps is to be compared with ln 2:
# rounding apart, no exact network gets below it.

# %%
curves = runs.learning_curves()
loss = curves[curves["measure"] == "train_loss"]
lowest = loss.groupby(["data", "model", "input_size"], observed=True)["lowest"].min().reset_index()
lowest["below_ln2"] = math.log(2) - lowest["lowest"]
lowest

# %%
colours = eqviz.plots.networks(runs.networks())
eqviz.plots.learning_curves(loss, networks=colours, chance_loss=math.log(2))

# %% [markdown]
# ## What the filter becomes
#
# The picture, the filter, f(x) and T⁻¹ f(T x) at some saved epochs, of the first seed. At 33 pixels the two maps are
# the same at any time; at 32 the filter learns to make their sums differ.

# %%
maps = runs.feature_maps()
one_task = maps[maps["data"] == maps["data"].iloc[0]]
eqviz.plots.features_over_training(one_task, networks=colours)

# %% [markdown]
# How to read it: the difference in the last columns is rounding alone at 33 pixels. At 32 it is there from the start
# (subsampling gives the capacity to break) and grows where it helps the loss (training decides how it is used).

# %%
difference = one_task[one_task["panel"] == "difference"]
size = difference.assign(square=difference["value"] ** 2).groupby(["model", "input_size", "epoch"])["square"].mean()
size.pow(0.5).unstack("input_size")
