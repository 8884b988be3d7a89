# %% [markdown]
# # A tour of eqviz in pandas
#
# Question: is a P4 CNN equivariant at 15, 16 and 17 pixels, which layer breaks the symmetry, and does the network use
# what is broken? Design: the runs of `make demo` (two seeds each, trained upright on scikit-learn's digits).
#
# Run the cells one by one, in an editor that knows `# %%` (VS Code, Spyder, PyCharm, Jupyter with jupytext), or the
# whole file with `python analyses/00_tour.py`. Every table is a pandas DataFrame; it is measured when it is first asked
# for, and comes from the cache after that. Another folder of runs: change the line with `open_runs`.

# %%
import eqviz

runs = eqviz.open_runs("eqviz-demo/runs")
runs.runs()[["run", "model", "input_size", "seed", "epoch", "parameters"]]

# %% [markdown]
# ## Is it equivariant, and what does that cost?
#
# One row a network. `exact` is decided by how far the breaking falls from float32 to float64; `surviving` is the
# largest subgroup that is left. Accuracies are at quarter turns, which move pixels and interpolate nothing.

# %%
networks = runs.networks()
networks[["model", "input_size", "exact", "surviving", "first_broken", "accuracy_0", "accuracy_90", "accuracy_180"]]

# %%
colours = eqviz.plots.networks(networks)  # the same colours in every figure
eqviz.plots.breaking_by_layer(runs.equivariance_summary().query("kind != 'activation'"), networks=colours)

# %% [markdown]
# ## Who breaks it?
#
# `local_error`: the layer alone, fed with its actual input and with that input moved. `cumulative_error`: all layers up
# to it. A layer deep in a broken network is cumulatively broken and may be locally exact. `rank` 1 is the top culprit.

# %%
local = runs.local_defect()
local[local["rank"].notna()][["run", "layer", "kind", "local_error", "cumulative_error", "rank", "share"]]

# %%
eqviz.plots.local_defect(runs.local_defect_summary(), networks=colours)

# %% [markdown]
# ## Does the network use what is broken?
#
# The activations of one layer are replaced by S + s D, symmetric plus scaled breaking component, and the rest of the
# network runs. s = 0 leaves the symmetric component alone; at the output that is averaging over the orbit. The gain in
# accuracy is stated against the network as it is (s = 1).

# %%
patched = runs.patching_summary().query("scale == 0 and measure == 'gain_rotated' and cut")
patched.pivot_table(index="layer", columns=["model", "input_size"], values="mean", observed=True)

# %%
eqviz.plots.patching(runs.patching_summary(), networks=colours)

# %% [markdown]
# Do the broken parts carry what approximate networks gain over exact ones on upright images? `gain` is the difference
# to the exact network, `gain_left` what is left of it with the symmetric component alone. Differences of a few images
# (1 / n each) mean nothing.

# %%
gains = runs.upright_gain()
output = gains[gains["gain"].notna() & gains["layer"].isin(["pool", "(output)"])]
output[["input_size", "layer", "accuracy_upright", "accuracy_exact", "gain", "gain_left", "n"]]

# %% [markdown]
# ## What can be read from the features?
#
# A linear probe reads the orientation from aligned features; on an exact layer it is at chance, 1/4 for four elements.
# `baseline_high` in `probes` is what permuted labels reach.

# %%
probes = runs.probes_summary()
orientation = probes[(probes["target"] == "element") & (probes["frame"] == "aligned") & (probes["component"] == "full")]
orientation.pivot_table(index="layer", columns=["model", "input_size"], values="accuracy", observed=True).round(2)

# %% [markdown]
# ## Are differences significant?
#
# The metric is named: accuracy at 0 degrees is not accuracy over rotations. With two seeds a test says little; the
# column `note` says so.

# %%
compared = runs.comparisons()
upright = compared[compared["metric"] == "accuracy at 0 degrees"]
upright[["model_a", "input_size_a", "model_b", "input_size_b", "difference", "low", "high", "p_welch_holm", "note"]]

# %% [markdown]
# ## Your own question
#
# Tables are tidy, so one more question is a line of pandas: how does the breaking at the output relate to the accuracy
# that rotated images cost?

# %%
output = runs.equivariance().query("layer == '(output)'").set_index("run")["breaking_fraction"]
turned = runs.accuracy().query("grid and not reflected").pivot_table(index="run", columns="angle", values="accuracy")
turned.assign(breaking=output, lost_at_90=turned[0.0] - turned[90.0]).sort_values("breaking")

# %% [markdown]
# And the tensors behind a number, for looking at: symmetric and breaking component of one layer on a few images.

# %%
import torch

run = runs[0]
images = run.normalisation.apply(torch.rand(4, 1, *run.input_size))
parts = eqviz.decompose(run.build(), images, "pool", group=run.group)
{name: tuple(getattr(parts, name).shape) for name in ("aligned", "symmetric", "breaking")}
