# Needs Python 3.11 or newer, pip, make and git. `make` alone lists what there is.
# Paths are relative, so the project may stand in a directory of any name.

PYTHON := .venv/bin/python
LOCK_OPTIONS := --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links --no-annotate

.PHONY: help setup demo test replays fuzz fractions lint check i18n lock clean
.NOTPARALLEL:

help:  ## list the targets
	@sed -n 's/^\([a-z0-9]*\):.*##/\1:/p' Makefile

setup:  ## install everything into .venv, also what tests and checks need
	@scripts/install requirements-dev.lock requirements.lock

demo:  ## start the whole service with a demo district; Ctrl-C ends it
	@scripts/install requirements.lock
	@exec $(PYTHON) -m bot.cli demo $(ARGS)

test: setup  ## run all tests; ARGS="-k name" for some
	@exec $(PYTHON) -m pytest -n auto $(ARGS)

replays: setup  ## play recorded days and years through the service, which takes minutes
	@exec $(PYTHON) -m pytest -n auto -m long $(ARGS)

fuzz: setup  ## try two thousand examples for each rule that has no number of its own, which takes long
	@HYPOTHESIS_PROFILE=thorough exec $(PYTHON) -m pytest -n auto -m hypothesis --timeout 1800 $(ARGS)

fractions: setup  ## price 100,000 random bills a second time, in fractions, which takes minutes
	@exec $(PYTHON) -m tests.billing.random_bills 100000

lint: setup  ## check style, types and the direction of imports
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	.venv/bin/lint-imports

i18n: setup  ## check that the catalogs are complete and agree
	$(PYTHON) -m pytest -q tests/test_catalogs.py

check: lint test  ## everything that must pass before a commit

lock: setup  ## choose the versions again: all of them, and those that are needed to run
	.venv/bin/uv pip compile $(LOCK_OPTIONS) --group test --group dev -o requirements-dev.lock pyproject.toml
	.venv/bin/uv pip compile $(LOCK_OPTIONS) --constraint requirements-dev.lock -o requirements.lock pyproject.toml

clean:  ## remove what was installed and cached; the data in .state stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage htmlcov dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
