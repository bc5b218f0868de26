# trio-lb: everything a person or a CI runs. `make` alone says what there is.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
BUILT  := $(VENV)/built
TOOLS  := $(VENV)/tools
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check

# Tools that start other tools (cython-lint does) find those of the environment.
export PATH := $(abspath $(BIN)):$(PATH)

SOURCES := setup.py pyproject.toml $(shell find ext -name "*.pyx" -o -name "*.pxd" -o -name "*.pxi" -o -name "*.h")

.PHONY: help demo test check lint types unit coverage sanitize slow-path fuzz bench bench-rates bench-micro bench-instructions \
	soak chaos idle wheel clean

help:  ## show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 20

demo: $(BUILT)  ## balance over three demo servers, with a live report
	@$(BIN)/trio-lb demo

test: lint types unit  ## check everything: lint, types, stubs, tests; says what took long

check: lint types  ## what finds most mistakes in half a minute: lint, types, unit tests
	$(BIN)/python -m pytest -q -n auto tests/unit tests/test_layers.py

lint: $(BUILT) $(TOOLS)  ## ruff and cython-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/cython-lint ext benchmarks

types: $(BUILT) $(TOOLS)  ## mypy --strict
	$(BIN)/mypy

unit: $(BUILT) $(TOOLS)  ## all tests, and nothing else
	$(BIN)/python -m pytest -q -n auto --durations=20

coverage: $(BUILT) $(TOOLS)  ## all tests once more, and the lines and branches that they reach, in .py and .pyx
	$(BIN)/python scripts/coverage.py

sanitize: $(BUILT) $(TOOLS)  ## tests of the compiled modules under AddressSanitizer and UBSan
	$(BIN)/python scripts/sanitize.py

slow-path: $(BUILT) $(TOOLS)  ## tests on a build without the fast path, as it is elsewhere than on Linux
	$(BIN)/python scripts/slow_path.py

bench: $(BUILT) $(TOOLS)  ## whole process against HAProxy, nginx and others (wrk must be installed); BENCH=options
	$(BIN)/python -m benchmarks.macro $(BENCH)

bench-rates: $(BUILT) $(TOOLS)  ## offered against achieved rate, in steps (likewise)
	$(BIN)/python -m benchmarks.macro.rates $(BENCH)

bench-micro: $(BUILT) $(TOOLS)  ## cost of a pick, of the table's bookkeeping, of the head codec and the framing
	$(BIN)/python -m benchmarks.micro.selection
	$(BIN)/python -m benchmarks.micro.codec
	$(BIN)/python -m benchmarks.micro.many_servers

bench-instructions: $(BUILT) $(TOOLS)  ## instructions of a request and of its parts (valgrind must be installed)
	$(BIN)/python -m benchmarks.micro.codec --callgrind
	$(BIN)/python -m benchmarks.micro.requests

idle: $(BUILT) $(TOOLS)  ## memory of 10,000 idle connections, beside HAProxy and nginx if installed
	$(BIN)/python -m benchmarks.idle

soak: $(BUILT) $(TOOLS)  ## a million mixed requests: does the balancer grow? (ten minutes)
	$(BIN)/python -m benchmarks.soak

chaos: $(BUILT) $(TOOLS)  ## an hour of faults of all kinds, and a judge for every answer; CHAOS=options
	$(BIN)/python -m tests.chaos $(CHAOS)

fuzz: $(BUILT) $(TOOLS)  ## coverage-guided fuzzing of all that strangers send (half an hour)
	$(BIN)/python -m tests.fuzz

wheel: $(BUILT) $(TOOLS)  ## build sdist and wheel into dist/
	$(BIN)/python -m build

clean:  ## remove what was built, the environment included
	rm -rf $(VENV) build dist *.egg-info trio_lb/fast/*.so benchmarks/micro/*.so .mypy_cache .ruff_cache .pytest_cache .coverage*

$(VENV)/created:
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"trio-lb needs Python 3.11 or newer; $(PYTHON) is {v[0]}.{v[1]}. Try: make PYTHON=python3.12")'
	@echo "$(VENV): creating it, once"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --upgrade pip
	@touch $@

# What the build itself needs stays there, so that pip does not fetch it anew for each build.
$(BUILT): $(VENV)/created $(SOURCES)
	@echo "$(VENV): installing trio-lb, compiling what is new"
	@$(PIP) install --group build
	@$(BIN)/python setup.py --quiet build_ext --inplace
	@$(PIP) install --no-build-isolation --editable .
	@touch $@

$(TOOLS): $(VENV)/created pyproject.toml
	@echo "$(VENV): installing the tools for tests and benchmarks"
	@$(PIP) install --group dev
	@touch $@
