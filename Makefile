# Every target makes its own environment in .venv first; python3 (3.11 or newer) with venv is all it needs.
# ARGS is passed on, as in: make test ARGS="-k purge", make demo ARGS=--no-serve.

PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

# One stamp per set of packages, so that the demo does not wait for the test tools.
DEV := .venv/.dev
MARIADB := .venv/.mariadb
DEMO := .venv/.demo
BENCH := .venv/.bench

# The whole suite has to reach the threshold, a selection of it cannot.
REPORT_FLAGS := $(if $(strip $(ARGS)),--fail-under=0)

.DEFAULT_GOAL := help
# They share one environment.
.NOTPARALLEL:
.PHONY: help env test lint format types docs demo bench mutants clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env: $(DEV)  ## the environment for development, in .venv

test: $(DEV) $(MARIADB)  ## the whole suite on PostgreSQL, SQLite and MariaDB, with coverage
	$(BIN)/coverage erase
	$(BIN)/python -m tests.suites $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report $(REPORT_FLAGS)

lint: $(DEV)  ## ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(DEV)  ## let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(DEV)  ## mypy, strict
	$(BIN)/mypy

docs: $(DEV)  ## the documentation in docs/_build/html, warnings are errors
	$(BIN)/sphinx-build -W -n --keep-going -b html docs docs/_build/html

demo: $(DEMO)  ## a payments API under retries, duplicates and crashes (ARGS=--no-serve: end afterwards)
	$(BIN)/python -m testproject.demo $(ARGS)

bench: $(BENCH)  ## time against a bare view and against other packages
	$(BIN)/python -m benchmarks $(ARGS)

mutants: $(DEV) $(MARIADB)  ## take the guarantees out one by one; every time a test must go red
	$(BIN)/python -m tests.mutants $(ARGS)

clean:  ## remove what the other targets made
	rm -rf .venv .tox .demo .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist docs/_build htmlcov
	rm -f .coverage .coverage.*

# The pip that comes with an older Python knows no dependency groups.
.venv/.pip:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@touch $@

$(DEV): pyproject.toml | .venv/.pip
	$(BIN)/python -m pip install --quiet --editable ".[drf,openapi]" --group dev
	@touch $@

# mysqlclient is built on the machine, which takes a compiler and the headers of MariaDB's client: do without if need be.
$(MARIADB): pyproject.toml | $(DEV)
	-$(BIN)/python -m pip install --quiet --group mariadb
	@touch $@

$(DEMO): pyproject.toml | .venv/.pip
	$(BIN)/python -m pip install --quiet --editable ".[demo]"
	@touch $@

$(BENCH): pyproject.toml | .venv/.pip
	$(BIN)/python -m pip install --quiet --editable ".[demo]" --group bench
	@touch $@
