# Everything is set up with Python 3.11 and pip alone: see README.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# halmos needs other versions of our dependencies: it has an environment of its own.
TOOLS := .venv-proofs
PY := $(BIN)/python
export OMP_WAIT_POLICY ?= PASSIVE
# Which faults `make test` seeds into the contracts; `make soak` seeds all.
MUTATION_SEED ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-cheat test check format lint contracts-check contracts-test contracts-mutation proofs slither unit coverage integration acceptance soak bench gpu clean

help:
	@echo "make demo   set up, then train a real model through the whole market on this machine"
	@echo "make test   set up, then run every check and every test (what .ci/run calls)"
	@echo "make check  the quick local loop: format, lint, types, import rules, unit tests"
	@echo "make proofs  prove with halmos that payments, refunds, reserves, splits and slashes lose no money, for all amounts"
	@echo "make slither  let slither read the contracts; fails for every finding that nothing explains"
	@echo "make soak   deep fuzzing and chaos runs; make bench  benchmarks"
	@echo "make gpu    checks and figures that need an NVIDIA GPU; fails where there is none"

setup: $(VENV)/.installed contracts/node_modules/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "gridlease needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Run: make PYTHON=/path/to/python3.11 ...")'
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "installing the Python packages, PyTorch among them (once; some minutes)"
	$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

contracts/node_modules/.installed: $(VENV)/.installed contracts/package.json contracts/package-lock.json
	@echo "installing the Solidity toolchain (once; about a minute)"
	cd contracts && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

demo: setup
	$(BIN)/gridlease demo

demo-cheat: setup
	$(BIN)/gridlease demo --cheat

test: setup lint contracts-check contracts-test contracts-mutation coverage integration acceptance

check: setup lint unit

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	cd contracts && PATH="$(CURDIR)/$(BIN):$$PATH" npm run --silent format

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell $$(git ls-files '*.md' '*.py' '*.sol' '*.toml' '*.yaml' Makefile)

contracts-check: setup
	cd contracts && PATH="$(CURDIR)/$(BIN):$$PATH" npm run --silent lint
	$(PY) -m contracts.build --check

contracts-test: setup
	cd contracts && PATH="$(CURDIR)/$(BIN):$$PATH" npm test --silent

# Ten faults, drawn by a seed: each must make the contracts' tests fail.
contracts-mutation: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" $(PY) -m contracts.mutation --count 10 --seed $(MUTATION_SEED)

$(TOOLS)/.installed: contracts/proofs/requirements.txt
	@test -x $(TOOLS)/bin/python || $(PYTHON) -m venv $(TOOLS)
	@echo "installing halmos, its solvers and slither (once; about a minute)"
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement contracts/proofs/requirements.txt
	@touch $@

proofs: setup $(TOOLS)/.installed
	PATH="$(CURDIR)/$(BIN):$$PATH" $(PY) -m contracts.proofs

slither: setup $(TOOLS)/.installed
	PATH="$(CURDIR)/$(BIN):$$PATH" $(PY) -m contracts.proofs.analysis

# Unit tests need no server, so they share the cores.
unit: setup
	$(PY) -m pytest -n auto tests/unit

# The same tests, measured: twice the processor time, so `make check` does without.
coverage: setup
	$(PY) -m pytest -n auto --cov --cov-report= tests/unit
	$(PY) -m tests.support.coverage_gate

integration: setup
	$(PY) -m pytest tests/integration

acceptance: setup
	$(PY) -m pytest tests/acceptance

soak: setup $(TOOLS)/.installed
	PATH="$(CURDIR)/$(BIN):$$PATH" $(PY) -m pytest tests -m soak

bench: setup
	$(PY) -m tests.bench

# Needs a CUDA build of torch and a device; RESULTS is the file that takes the outcome.
RESULTS ?= docs/results.md
gpu: setup
	$(PY) -m pytest tests/gpu -m gpu --results $(RESULTS)
	$(PY) -m tests.bench.proof_overhead --device cuda --results $(RESULTS)

clean:
	rm -rf $(VENV) $(TOOLS) contracts/node_modules contracts/out contracts/cache .gridlease
