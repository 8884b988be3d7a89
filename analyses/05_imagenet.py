# %% [markdown]
# # ImageNet: P4-ResNet18 at 224 and 225 pixels
#
# Question: three strides misfit at 224 pixels and none at 225. Does that pixel matter on photographs, which are
# upright?
#
# Design: P4-ResNet18 at both sizes and its plain twin, on random resized crops read from the picture files; accuracy on
# the centre crop at the four quarter turns.
#
# Train the runs first, on ImageNet with `--preset paper` and several GPUs (`--devices 8 --workers 12`), or go the path
# with generated pictures, which say nothing about ImageNet:
# `python analyses/make_pictures.py pictures` and `make results-05 DATA=pictures`.

# %%
import eqviz

runs = eqviz.open_runs("eqviz-runs/05_imagenet-quick", device="cpu", angles=(0.0, 90.0, 180.0, 270.0))
runs.runs()[["run", "model", "input_size", "data", "seed", "epoch", "parameters", "train_images"]]

# %% [markdown]
# ## Which sizes are safe?
#
# Predicted for the output at sizes around those of the runs.

# %%
exactness = runs.exactness()
output = exactness[exactness["depth"] == exactness["depth"].max()]
output[["model", "input_size", "exact", "surviving"]].drop_duplicates().head(30)

# %% [markdown]
# ## Accuracy at the four quarter turns

# %%
overview = runs.accuracy_overview()
overview.pivot_table(index=["model", "input_size"], columns="metric", values="mean", sort=False, observed=True).round(3)

# %%
table = runs.benchmarks()
eqviz.plots.benchmarks(table, networks=eqviz.plots.networks(runs.networks()))

# %% [markdown]
# How to read it: the network at the size that fits has one accuracy for all four turns, whatever it was trained on.

# %%
runs.networks()[["model", "input_size", "exact", "surviving", "first_broken", "accuracy_0", "accuracy_90"]]
