# `make demo` and `make test` set up all they need in .venv, also on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := eqviz-demo
SHOWN := networks findings audit verdict exactness accuracy_overview accuracy_summary equivariance_summary \
	spectrum_summary subgroups_summary local_defect_summary upright_gain
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint bench figures clean
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
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --durations=5

lint: $(VENV)/.dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Ratios of capture to bare forward passes, and its memory; nothing else should run on the machine.
bench: $(VENV)/.dev-installed
	$(BIN)/python -m pytest -o addopts="" --import-mode=importlib --confcutdir=tests/benchmarks tests/benchmarks --benchmark-only

# Refresh the figures and small tables that the README shows, from the demo's runs.
figures: demo
	mkdir -p figures/demo
	cp $(DEMO)/report/*.png figures/demo/
	cp $(addprefix $(DEMO)/report/tables/,$(addsuffix .csv,$(SHOWN)) accuracy_table.md) figures/demo/

clean:
	rm -rf $(DEMO) .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
