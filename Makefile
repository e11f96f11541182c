# `make demo` and `make test` need nothing but Python 3.11 or newer and a network.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint bench fuzz page test-page

demo: .venv/demo
	KERAS_BACKEND=tensorflow $(BIN)/keras-pamunet train --data phantom --size 64 --weights pamunet_kvasir_seg --epochs 3 --batch-size 8 --output runs/demo

# What computes on a back end, or writes what was computed, is tested under JAX, too. There
# most of the time is that of compiling, which optimisations double, and the emitters of
# fused operations double again.
JAX := KERAS_BACKEND=jax JAX_DISABLE_MOST_OPTIMIZATIONS=1 XLA_FLAGS=--xla_cpu_use_fusion_emitters=false
COMPUTED := tests/analysis tests/layers tests/models tests/ops tests/training tests/inference/test_predictor.py tests/inference/test_volumes.py \
	tests/test_distribution.py tests/test_evaluation.py tests/test_hub.py tests/test_losses.py tests/test_metrics.py tests/test_exporting.py
test: .venv/dev lint
	KERAS_BACKEND=tensorflow $(BIN)/python -m pytest -n 2 --dist loadgroup -q
	$(JAX) $(BIN)/python -m pytest -n 2 --dist loadgroup -q $(COMPUTED)

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# The page that segments in a browser, for a checkout and its wheel; Node.js builds it.
page: web/node_modules
	cd web && npm run build

# In a real Chromium (Debian's package chromium), beside what `predict` finds.
test-page: .venv/dev page
	cd web && npm test
	KERAS_BACKEND=tensorflow $(BIN)/python -m pytest -q -s web/e2e

web/node_modules: web/package-lock.json
	cd web && npm ci --no-audit --no-fund
	touch $@

# The short form of the benchmarks. DATA=folder adds that of reading the folder,
# KERAS_PAMUNET_DATA=folder that of preparing a volume in it.
bench: .venv/dev
	$(BIN)/python benchmarks/import_time.py
	$(BIN)/python benchmarks/attention.py --short
	$(BIN)/python benchmarks/convolutions.py --short
	$(BIN)/python benchmarks/networks.py --short
	$(BIN)/python benchmarks/exported.py --short
	$(if $(DATA),$(BIN)/python benchmarks/input_pipeline.py $(DATA))
	$(if $(KERAS_PAMUNET_DATA),$(BIN)/python benchmarks/prepare_volume.py)

# Damaged files, for as long as one likes; docs/reliability.md says what is tried.
SECONDS ?= 60
SEED ?= 0
fuzz: .venv/dev
	KERAS_BACKEND=tensorflow $(BIN)/python -m tests.fuzz --seconds $(SECONDS) --seed $(SEED)

.venv/demo: setup.py pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[tensorflow-cpu]'
	touch $@

.venv/dev: setup.py pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
