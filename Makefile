# SPDX-License-Identifier: Apache-2.0
# Two commands for a first visit: `make demo` and `make test`. Both build .venv once and then reuse it.

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALL := $(PIP) install --constraint constraints.txt --build-constraint constraints.txt --editable .

# A distribution's older yosys would otherwise be picked silently and write other Verilog.
export AMARANTH_USE_YOSYS := builtin

.DEFAULT_GOAL := help
.PHONY: demo test lint docs bench clean help check-tools note-tools
.DELETE_ON_ERROR:

demo: note-tools $(VENV)/.core ## run the shipped network through the whole chain and print its report
	$(BIN)/spikeloom demo

test: check-tools $(VENV)/.test ## run the tests and every example of code and documentation (minutes more: pytest -m long)
	$(BIN)/python -m pytest -n $(JOBS)

lint: $(VENV)/.test $(VENV)/.lint ## check style, format, types and the arrows between packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.test ## run the examples and commands of the documentation and follow its relative links
	$(BIN)/python -m pytest docs README.md sim_tests/tests/docs

bench: check-tools $(VENV)/.test ## measure the speed of the emulator and of the simulators
	$(BIN)/python -m sim_tests.benchmarks

clean: ## remove build products and caches; the environment stays (it is the folder .venv)
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /\1|/' | while IFS='|' read -r name line; do \
	  printf '  make %-7s %s\n' "$$name" "$$line"; done

# One sentence that names the package to install is worth more than a traceback ten seconds later.
MISSING = missing=""; \
  command -v g++ >/dev/null || command -v clang++ >/dev/null || missing="a C++ compiler (package g++)"; \
  for tool in perl make; do command -v $$tool >/dev/null || missing="$${missing:+$$missing, }$$tool (package $$tool)"; done

check-tools:
	@$(MISSING); if [ -n "$$missing" ]; then \
	  echo "The compiled simulators need what is missing here: install $$missing and try again." >&2; exit 1; fi

note-tools:
	@$(MISSING); if [ -n "$$missing" ]; then \
	  echo "Note: without $$missing the demo compares on a slower simulator." >&2; fi

$(VENV)/.venv:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "Python 3.11 or newer is missing: install the package python3, or name one with make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python must be 3.11 or newer, not $$($(PYTHON) -V 2>&1 | cut -d" " -f2): name another with make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "Python's venv module is missing: install the package python3-venv and try again." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt --upgrade pip
	@touch $@

$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/.venv
	$(INSTALL)
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/.venv
	$(INSTALL) --group test
	@touch $@ $(VENV)/.core

$(VENV)/.lint: pyproject.toml constraints.txt | $(VENV)/.venv
	$(INSTALL) --group lint
	@touch $@ $(VENV)/.core
