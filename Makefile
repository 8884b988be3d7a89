# `make demo` and `make test` set up all they need in .venv, also on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := eqviz-demo

# For `make results-02` and its like, all to be given on the command line:
DATA ?=
PRESET ?= quick
JOBS ?= 2
RUNS ?= eqviz-runs
MORE ?=

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

EXPERIMENTS := 00 01 02 03 04 05
RESULTS := $(addprefix results-,$(EXPERIMENTS))

.PHONY: demo test lint bench figures clean $(RESULTS)
.DEFAULT_GOAL := test

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo-installed: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[train]'
	@touch $@

$(VENV)/.dev-installed: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.demo-installed

# Train small networks on embedded data and write every figure to $(DEMO)/report.
demo: $(VENV)/.demo-installed
	$(BIN)/eqviz demo -o $(DEMO)

# Lint, types, import contracts, tests.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal --durations=5

lint: $(VENV)/.dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Ratios of capture to bare forward passes, and its memory; nothing else should run on the machine.
bench: $(VENV)/.dev-installed
	$(BIN)/python -m pytest -o addopts="" --import-mode=importlib --confcutdir=tests/benchmarks tests/benchmarks --benchmark-only

# Draw the gallery again from the tables in figures/*/tables: no training, no weights.
figures: $(VENV)/.demo-installed
	$(BIN)/python figures/gallery.py

# Train the networks of an experiment and write its tables to figures: `make results-02 DATA=folder JOBS=4`. Large
# tables are packed.
#   DATA    folder with the files of the data sets; without, what may be downloaded is
#   PRESET  quick (minutes to hours on a few CPU cores), paper (the published protocol) or tiny (shows nothing)
#   RUNS    where the checkpoints go; what is there already is not trained again
#   MORE    options for `eqviz tables`, such as --device cuda
$(RESULTS): results-%: $(VENV)/.demo-installed
	$(prepare)
	$(BIN)/eqviz train $(recipe) -o $(checkpoints) --resume --jobs $(JOBS) $(preset) $(data)
	$(BIN)/eqviz tables $(checkpoints) -o figures/$(slug) --digits 6 --jobs $(JOBS) $(data) \
	    $(OPTIONS_$*) $(MORE) $(addprefix --only ,$(TABLES_$*))
	rm -f figures/$(slug)/tables/*.csv.gz
	find figures/$(slug)/tables -name '*.md' ! -name '*_table.md' -delete -o -name '*.tex' ! -name '*_table.tex' -delete
	find figures/$(slug)/tables -name '*.csv' -size +200k -exec gzip -9nf {} +

recipe = $(or $(RECIPE_$*),$(wildcard analyses/$*_*.toml),$(error no recipe analyses/$*_*.toml))
slug = $(or $(SLUG_$*),$(notdir $(basename $(recipe))))
checkpoints = $(RUNS)/$(slug)$(if $(RECIPE_$*),,-$(PRESET))
preset = $(if $(RECIPE_$*),,--preset $(PRESET))
data = $(addprefix --data-root ,$(or $(DATA),$(DATA_$*)))
prepare = $(if $(DATA),,$(PREPARE_$*))

# The demo's recipe comes with the package and has no presets.
SLUG_00 := 00_demo
RECIPE_00 := eqviz/studies/demo.toml

# Experiment 5 goes its path on generated pictures where no folder with ImageNet is given.
DATA_05 = $(RUNS)/pictures
PREPARE_05 = $(BIN)/python analyses/make_pictures.py $(DATA_05)

# The tables that the gallery draws, experiment by experiment, and how they are measured.
TABLES_00 := runs networks findings audit verdict exactness accuracy_overview accuracy_summary equivariance_summary \
	spectrum_summary subgroups_summary local_defect_summary patching_summary upright_gain function_split_summary \
	probes_summary attribution_summary lie_derivative_summary learned_action_summary orbit_plane cka_summary \
	twin_cka_summary orientation_selectivity_summary data_symmetry_summary symmetry_match training_summary
TABLES_01 := runs networks audit verdict exactness learning_curves feature_maps
TABLES_02 := runs networks accuracy_overview accuracy_summary comparisons significance published_comparison \
	learning_curves equivariance_summary spectrum_summary patching_summary probes_summary symmetry_match
TABLES_03 := runs networks accuracy_overview stage_errors_summary equivariance_summary learning_curves
TABLES_04 := runs networks accuracy_overview benchmarks accuracy_by_images significance learning_curves
TABLES_05 := runs networks accuracy_overview benchmarks equivariance_summary exactness learning_curves
# Cells are of unequally frequent kinds.
OPTIONS_03 := --balanced --every 90
OPTIONS_04 := --every 90 --orbit-images 32
OPTIONS_05 := --every 90
# Corners as in training: grey (0 after normalisation), black in the uniform regime. The paper tests on 60,000 digits,
# for hours: MORE='--limit 60000'.
OPTIONS_02 := --fill trained --limit 1000 --analysis-images 24 --layers 'conv*,pool,*_pool' \
	--published analyses/published/02_mnist_rotation.csv

clean:
	rm -rf $(DEMO) $(RUNS) .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
