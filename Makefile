# make run: set up .venv once and run the main job; make test: the same set-up, then all checks; make docs: the site.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test docs

run: .venv/installed
	$(BIN)/python train.py --overwrite

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal
	$(BIN)/python -m docs.build

docs: .venv/installed
	$(BIN)/python -m docs.make_env_pages
	$(BIN)/python -m docs.make_tree
	$(BIN)/python -m docs.build

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,docs]"
	mkdir -p .venv/links
	ln -sfn ../../agents .venv/links/foveal_agents
	ln -sfn ../../encoders .venv/links/foveal_encoders
	touch $@
