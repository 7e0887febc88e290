# Two commands for a fresh machine: `make bench` sets up and times, `make test` sets up and tests.
#
#   TORCH     what to install as torch: any pip requirement, e.g. TORCH="torch==2.14.0". Its default is the version
#             that asv.conf.json names. On Linux, plain PyPI wheels carry CUDA (some GB); for the CPU build name
#             PyTorch's CPU wheel index in PIP_EXTRA_INDEX_URL, as the install page of pytorch.org shows.
#   PYTHON    the interpreter that the virtual environment is made from.
#   MACHINE   the name under which asv stores this machine's results; its default is the host name.
#   WHEELS    for `make gpu`: a folder of wheels, instead of a network.

TORCH   ?= torch==$(shell sed -n 's/^ *"torch": \["\([^"]*\)".*/\1/p' asv.conf.json)
PYTHON  ?= python3
MACHINE ?=
VENV    ?= .venv
BIN     := $(VENV)/bin
PIP      = $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: bench bench-full gpu test checks-of-all-sizes mutants check clean
.DELETE_ON_ERROR:

bench: $(VENV)/installed
	$(BIN)/bench-core run --quick $(if $(MACHINE),--machine $(MACHINE))

bench-full: $(VENV)/installed
	$(BIN)/bench-core run --full $(if $(MACHINE),--machine $(MACHINE))

# Uses the torch that $(PYTHON) has, since a GPU's torch is rarely the one that pip would choose: .venv-gpu sees the
# installed packages, and gets what else is missing, from WHEELS if that is given (see docs/gpu.md).
GPU_PYTHON := .venv-gpu/bin/python
OFFLINE    := $(if $(WHEELS),--no-index --find-links "$(WHEELS)")
gpu:
	@$(PYTHON) -c 'import torch' 2>/dev/null || { echo "make gpu uses the torch that is installed, and $(PYTHON) has \
	none: name the one that has, PYTHON=/path/to/python"; exit 2; }
	@$(PYTHON) -m venv --system-site-packages .venv-gpu
	@$(PYTHON) -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parent.parent)' \
	  > "$$($(GPU_PYTHON) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/installed-torch.pth"
	@$(GPU_PYTHON) -c 'import tomllib; print(*(name for name in tomllib.load(open("pyproject.toml", "rb"))["project"] \
	  ["dependencies"] if not name.startswith("torch")), "setuptools>=77", sep="\n")' > .venv-gpu/requirements.txt
	@$(GPU_PYTHON) -m pip install -q --disable-pip-version-check $(OFFLINE) -r .venv-gpu/requirements.txt
	@$(GPU_PYTHON) -m pip install -q --disable-pip-version-check $(OFFLINE) --no-deps --no-build-isolation .
	@.venv-gpu/bin/bench-core gpu

# Every test, on all cores, a file of tests on one of them at a time: the tests of a file share what takes long to make.
# The order of the files stays, since pytest-xdist's own begins with the most tests, and those take no time.
PARALLEL := --numprocesses=logical --maxprocesses=4 --dist=loadfile --no-loadscope-reorder
test: $(VENV)/installed
	$(BIN)/python -m pytest --quiet $(PARALLEL)

# `make test` checks each cell at its smallest size. This checks every cell that runs on this machine, through the
# pytest door, which takes some minutes and 2 GB.
checks-of-all-sizes: $(VENV)/installed
	$(BIN)/python -m pytest --quiet $(PARALLEL) --benchmark-disable benchmarks

# How many planted bugs the tests catch; the rest is in `python -m trials mutants --help`.
mutants: $(VENV)/checkers
	$(PIP) install --editable '.[mutants]'
	$(BIN)/python -m trials mutants

# What a change must pass before it is committed.
check: $(VENV)/checkers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(MAKE) test

# Remade when the project's requirements change, or TORCH.
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
