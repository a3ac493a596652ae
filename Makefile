# make run: set up .venv once and run the main job; make test: the same set-up, then all checks.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test

run: .venv/installed
	$(BIN)/python train.py

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
