# Every chore has one entry point here, which continuous integration uses too.
# Each target works on a fresh clone: it builds what it needs first.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := .tools/bin/uv
ZIG := .tools/zig/ziglang/zig
CORE := packages/swarmstate-core
SYNCED := $(VENV)/.synced
# CrewAI requires older versions of some packages, so it has its own environment.
CREWAI_VENV := .venv-crewai
CREWAI_SYNCED := $(CREWAI_VENV)/.synced
# The oldest CrewAI that the adapter's manifest allows, in a third environment.
CREWAI_OLDEST := $(shell sed -n 's/^crewai = .*"crewai>=\([0-9.]*\),.*/\1/p' packages/crewai-swarmstate/pyproject.toml)
CREWAI_OLDEST_VENV := .venv-crewai-oldest
CREWAI_OLDEST_SYNCED := $(CREWAI_OLDEST_VENV)/.synced
TYPED := $(wildcard packages/*/python packages/*/langgraph packages/*/swarmstate_*) \
	$(filter-out %/crewai,$(wildcard tests/* examples/*)) benchmarks scripts

# What the environment is built from. Packages are installed in place, so Python sources are not listed.
SYNC_INPUTS := pyproject.toml uv.lock $(shell find packages \
	\( -name target -o -name .venv \) -prune -o \
	\( -name '*.rs' -o -name 'Cargo.*' -o -path '*/.cargo/*' -o -name pyproject.toml \) -print)

export CARGO_TARGET_DIR := $(CURDIR)/$(CORE)/target
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
export UV_PYTHON_DOWNLOADS ?= never
unexport VIRTUAL_ENV

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

.PHONY: setup
setup: $(SYNCED) ## Install uv, the locked dependencies and the packages, all inside this folder

$(UV): pyproject.toml
	@echo "==> installing uv into .tools"
	@$(PYTHON) -m pip install --quiet --upgrade --target .tools \
		"uv$$(sed -n 's/^required-version = "\(.*\)"/\1/p' pyproject.toml)"
	@touch $@

# Links against an old glibc, whatever version this machine has.
$(ZIG): pyproject.toml
	@echo "==> installing zig into .tools"
	@rm -rf .tools/zig
	@$(PYTHON) -m pip install --quiet --target .tools/zig \
		"ziglang$$(sed -n 's/^build-constraint-dependencies = .*"ziglang\(==[0-9.]*\)".*/\1/p' pyproject.toml)"
	@touch $@

$(SYNCED): $(SYNC_INPUTS) | $(UV)
	@echo "==> building the environment (the first time compiles the Rust core)"
	@if [ -e .git ]; then \
		git config filter.uv-lock.clean "python3 scripts/lock_filter.py"; \
		git config filter.uv-lock.smudge cat; \
		git config filter.uv-lock.required true; \
	fi
	@$(UV) sync --all-packages --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')"
	@# The lock file is full now. If that is its only change, tell git that it is clean.
	@! git diff --quiet -- uv.lock || git update-index uv.lock
	@touch $@

.PHONY: demo
demo: $(SYNCED) ## Run an agent, kill it in the middle, resume it, fork it
	@$(BIN)/python examples/demo.py

.PHONY: test
test: test-python test-rust ## Run every test

.PHONY: test-python
test-python: $(SYNCED) ## Run the Python tests, documentation included
	$(BIN)/pytest -n auto

.PHONY: crewai
crewai: types-crewai test-crewai test-crewai-oldest ## Check the types and run the tests of the CrewAI adapter

.PHONY: types-crewai
types-crewai: $(SYNCED) $(CREWAI_SYNCED)
	$(BIN)/mypy --python-executable $(CREWAI_VENV)/bin/python --cache-dir .mypy_cache/crewai \
		packages/crewai-swarmstate/crewai_swarmstate tests/crewai examples/crewai \
		benchmarks/suites/crewai_memory.py

.PHONY: test-crewai
test-crewai: $(CREWAI_SYNCED)
	$(CREWAI_VENV)/bin/python -m pytest -n auto tests/crewai

.PHONY: test-crewai-oldest
test-crewai-oldest: $(CREWAI_OLDEST_SYNCED)
	$(CREWAI_OLDEST_VENV)/bin/python -m pytest -n auto tests/crewai

$(CREWAI_SYNCED): $(SYNC_INPUTS) | $(UV)
	@echo "==> building the environment of the CrewAI adapter (CrewAI is about 800 MB)"
	@UV_PROJECT_ENVIRONMENT=$(CREWAI_VENV) $(UV) sync --no-default-groups --group crewai \
		--python "$$($(PYTHON) -c 'import sys; print(sys.executable)')"
	@touch $@

# What the lock file pins, but with CrewAI and the older versions that it requires.
$(CREWAI_OLDEST_SYNCED): $(SYNC_INPUTS) | $(UV)
	@echo "==> building the environment of CrewAI $(CREWAI_OLDEST)"
	@UV_PROJECT_ENVIRONMENT=$(CREWAI_OLDEST_VENV) $(UV) sync --no-default-groups --group crewai \
		--python "$$($(PYTHON) -c 'import sys; print(sys.executable)')"
	@$(UV) pip install --quiet --python $(CREWAI_OLDEST_VENV)/bin/python crewai==$(CREWAI_OLDEST)
	@touch $@

.PHONY: test-rust
test-rust: $(SYNCED) ## Run the Rust tests, documentation included
	cd $(CORE) && cargo test --workspace --locked

.PHONY: lint
lint: $(SYNCED) ## Check style, Rust lints, the lock file and the rules for sources
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	cd $(CORE) && cargo fmt --all --check
	cd $(CORE) && cargo clippy --workspace --all-targets --locked -- -D warnings
	$(BIN)/python scripts/lock_filter.py --check
	$(BIN)/python scripts/check_sources.py
	$(BIN)/python scripts/third_party.py --check

.PHONY: types
types: $(SYNCED) ## Check types, and the stub of the native module against the module
	$(BIN)/mypy $(TYPED)
	$(BIN)/stubtest swarmstate._core --allowlist scripts/stubtest-allowlist.txt

.PHONY: bench
bench: $(SYNCED) ## Measure against other savers and stores, and print a table
	@$(BIN)/python -m benchmarks $(BENCH)

# The platform that the core's wheel is for; empty means this machine only, as on Linux without glibc.
WHEEL_PLATFORM ?= $(if $(filter Linux,$(shell uname -s)),manylinux_2_17)

.PHONY: wheels
wheels: $(SYNCED) $(if $(WHEEL_PLATFORM),$(ZIG)) ## Build the wheels and source archives into dist/ and try them in clean environments
	@rm -rf dist
	@# Building the wheels from the source archives proves that those are complete.
	@# Without remapping, the module would contain the builder's folders and the host of a crate mirror.
	CARGO_ZIGBUILD_CACHE_DIR="$(CURDIR)/.tools/zig" ZIG_GLOBAL_CACHE_DIR="$(CURDIR)/.tools/zig/cache" \
	CARGO_ZIGBUILD_ZIG_PATH="$(CURDIR)/$(ZIG)" \
	MATURIN_PEP517_ARGS="$(if $(WHEEL_PLATFORM),--zig --compatibility $(WHEEL_PLATFORM))" \
	RUSTFLAGS="$${RUSTFLAGS-} $$(printf -- '--remap-path-prefix=%s=/crates ' \
		"$${CARGO_HOME:-$$HOME/.cargo}"/registry/src/*)" \
		$(UV) build --all-packages --out-dir dist
	$(BIN)/python scripts/check_wheels.py dist --uv $(UV) --platform "$(WHEEL_PLATFORM)"

.PHONY: third-party
third-party: $(SYNCED) ## Update the licenses and versions of the crates in the wheel
	$(BIN)/python scripts/third_party.py

.PHONY: fmt
fmt: $(SYNCED) ## Format all sources
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	cd $(CORE) && cargo fmt --all

.PHONY: clean
clean: ## Remove everything that was built or installed here
	rm -rf $(VENV) $(CREWAI_VENV) $(CREWAI_OLDEST_VENV) .tools dist $(CORE)/target .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find packages tests examples benchmarks scripts -name __pycache__ -prune -exec rm -rf {} + || true
	find packages -name '_core*.so' -delete
