# `make demo` and `make test` need nothing but Python 3.11 or newer and a network.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint

demo: .venv/demo
	KERAS_BACKEND=tensorflow $(BIN)/keras-pamunet train --data phantom --epochs 18 --batch-size 8 --output runs/demo

test: .venv/dev lint
	KERAS_BACKEND=tensorflow $(BIN)/python -m pytest -n 2 -q
	KERAS_BACKEND=jax $(BIN)/python -m pytest -n 2 -q

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

.venv/demo: setup.py pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[tensorflow-cpu]'
	touch $@

.venv/dev: setup.py pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
