# One door for people and for continuous integration. `make help` lists what is behind it.

PYTHON  ?= python3
VENV    ?= .venv
WORKERS ?= 2
ARGS    ?=

BIN     := $(VENV)/bin
DEMO    := runs/demo
PIP     := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
OFFLINE := HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 TRANSFORMERS_OFFLINE=1
QUIET   := MPLBACKEND=Agg OMP_NUM_THREADS=1

# The extra `curvature`, without what its packages say they need beyond torch, scipy and numpy (pyproject.toml says why).
CURVATURE := curvlinops-for-pytorch einconv einops linear_operator opt_einsum

# An install is repeated only when one of these has changed since.
RECIPE  := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test check format docs bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "  Variables: PYTHON=$(PYTHON) VENV=$(VENV) WORKERS=$(WORKERS) ARGS=(more arguments for demo, test, bench)"

demo: $(VENV)/.installed-all ## Train a small network until it collapses and write the report (starts afresh each time)
	$(BIN)/collapselab run watch-collapse --out $(DEMO) --overwrite $(ARGS)
	@$(BIN)/collapselab report $(DEMO)

test: $(VENV)/.installed-test ## Run the whole suite, slow and browser tests included
	$(OFFLINE) $(QUIET) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations 10 $(ARGS)

check: $(VENV)/.installed-dev ## Lint, formatting, types, and which way imports go
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev ## Apply the formatter and the safe fixes of the linter
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-docs ## Build the documentation into docs/_build/html, warnings are errors
	$(OFFLINE) $(QUIET) $(BIN)/python -m sphinx -W --keep-going -n -q -b html docs docs/_build/html
	@echo docs/_build/html/index.html

bench: $(VENV)/.installed-all ## Run every script in benchmarks/
	@set -e; for script in benchmarks/[a-z]*.py; do \
	  [ -e "$$script" ] || continue; echo "== $$script"; $(BIN)/python "$$script" $(ARGS); done

clean: ## Remove what was built and cached (the environment and the runs stay)
	rm -rf build dist docs/_build docs/reference/generated .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests benchmarks docs examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "collapselab needs Python 3.10 or newer; say which with make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-all: $(RECIPE) | $(VENV)/bin/python
	$(PIP) -e '.[all]'
	$(PIP) --no-deps $(CURVATURE)
	@touch $@

$(VENV)/.installed-test: $(RECIPE) | $(VENV)/bin/python
	$(PIP) -e '.[test]'
	$(PIP) --no-deps $(CURVATURE)
	@touch $@ $(VENV)/.installed-all

$(VENV)/.installed-dev: $(RECIPE) | $(VENV)/bin/python
	$(PIP) -e '.[test,dev]'
	$(PIP) --no-deps $(CURVATURE)
	@touch $@ $(VENV)/.installed-test $(VENV)/.installed-all

$(VENV)/.installed-docs: $(RECIPE) | $(VENV)/bin/python
	$(PIP) -e '.[all,docs]'
	$(PIP) --no-deps $(CURVATURE)
	@touch $@ $(VENV)/.installed-all
