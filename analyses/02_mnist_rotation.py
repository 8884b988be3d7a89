# %% [markdown]
# # MNIST over rotation: what does one pixel of input size cost?
#
# Question: a P4 CNN with one 2x2 pool is exact at 28 pixels and approximate at 27 and 29. How does each do on digits
# turned by angles that it was not trained on, and what if it was trained on turned ones?
#
# Design: four networks (P4 at 28, 27 and 29 pixels, a plain CNN at 28) in four regimes: digits upright, every batch
# turned by one angle from N(45, 20) or N(45, 40), and every digit turned by any angle. Several seeds each; accuracy
# every 10 degrees.
#
# Train the runs first: `make results-02 DATA=FOLDER`, or
# `eqviz train analyses/02_mnist_rotation.toml --preset quick -o eqviz-runs/02_mnist_rotation-quick --data-root FOLDER`.

# %%
import eqviz

PUBLISHED = "analyses/published/02_mnist_rotation.csv"
runs = eqviz.open_runs(
    "eqviz-runs/02_mnist_rotation-quick", device="cpu", fill="trained", published=PUBLISHED, analysis_images=32
)
runs.runs()[["run", "model", "input_size", "regime", "seed", "train_images"]]

# %% [markdown]
# ## Accuracy over rotation, regime by regime
#
# Large markers are quarter turns, which move pixels and interpolate nothing; hollow ones, where the sizes are those of
# the paper, are published means with their 95% intervals. The area says at which angles the network was trained.

# %%
summary = runs.accuracy_summary()
colours = eqviz.plots.networks(runs.networks())
compared = runs.published_comparison()
eqviz.plots.accuracy_by_regime(summary, networks=colours, published=compared)

# %%
eqviz.plots.accuracy_by_regime_polar(summary, networks=colours)

# %% [markdown]
# The exact network is equally accurate at the four quarter turns, to the last digit. Approximate ones are not, unless
# training showed them all angles.

# %%
overview = runs.accuracy_overview()
means = overview.pivot_table(
    index=["regime", "model", "input_size"], columns="metric", values="mean", sort=False, observed=True
)
(100 * means).round(1)

# %% [markdown]
# ## Beside the published numbers
#
# `within`: our mean lies in the published 95% interval. Networks of other sizes than the published ones have no row.

# %%
compared[["regime", "model", "input_size", "metric", "mean", "published_mean", "difference", "within"]]

# %% [markdown]
# ## Which networks differ?
#
# The metric is named, since accuracy at 0 degrees is not accuracy over rotations. Two-sided Welch tests over seeds,
# p-values adjusted by Holm's method over all pairs of a metric and regime. Networks that share a letter do not differ.

# %%
significance = runs.significance()
significance.pivot_table(index=["regime", "model", "input_size"], columns="metric", values="text", aggfunc="first",
                         sort=False, observed=True)  # fmt: skip

# %% [markdown]
# ## What the paper could not show: where it breaks, and whether that is used
#
# Breaking fraction by layer: at the rounding floor up to the pool in all P4 networks, and beyond it at 28 pixels.

# %%
breaking = runs.equivariance_summary()
pool = breaking[breaking["layer"].astype(str).isin(["pool", "conv7", "(output)"])]
pool.pivot_table(index=["regime", "model", "input_size"], columns="layer", values="breaking_fraction", observed=True)

# %% [markdown]
# In which way: B is what is still symmetric under half a turn, E is not.

# %%
spectrum = runs.spectrum_summary()
at_pool = spectrum[(spectrum["layer"].astype(str) == "pool") & (spectrum["irrep"] != "A")]
at_pool.pivot_table(index=["regime", "model", "input_size"], columns="irrep", values="energy", observed=True)

# %% [markdown]
# With the symmetric component of the pool alone: what the decision gains on turned images, and loses on upright ones.
# A network that never used what is broken would gain and lose nothing.

# %%
patched = runs.patching_summary().query("scale == 0 and layer == 'pool'")
gains = patched[patched["measure"].isin(["gain_upright", "gain_rotated"])]
gains.pivot_table(index=["regime", "model", "input_size"], columns="measure", values="mean", observed=True)

# %% [markdown]
# Can the quarter turn be read from the last features before the classifier? Chance is 1/4.

# %%
probes = runs.probes_summary().query("target == 'element' and component == 'full' and frame == 'aligned'")
last = probes[probes["layer"].astype(str) == "coset_pool"]
last[["regime", "model", "input_size", "accuracy", "baseline_high", "n_above", "n_seeds"]]

# %% [markdown]
# How to read it: approximate networks adapt to their data. Trained upright, they break from the pool on and use it;
# trained on all angles, the same architecture can break as much and does not need to.

# %%
output = runs.equivariance().query("layer == '(output)'").set_index("run")["breaking_fraction"]
turned = runs.accuracy().query("grid and not reflected").pivot_table(index="run", columns="angle", values="accuracy")
listed = runs.runs().set_index("run")[["regime", "model", "input_size"]]
listed.assign(breaking=output, lost_at_180=turned[0.0] - turned[180.0]).sort_values("breaking")
