# Thin names for commands that the README spells out. `make` alone lists them.

PYTHON ?= $(shell for p in python3.11 python3.12 python3; do $$p -c '' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
READY := .venv/ready
NOTEBOOKS ?= $(sort $(wildcard notebooks/*.ipynb notebooks/solutions/*.ipynb))
export GLOG_v := 4

.PHONY: help course test lab refresh site slides bench upstream lint lock browser mpirun compiler
.DELETE_ON_ERROR:

help:  ## list these commands
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 18

course: $(READY)  ## run every lesson and solution, write readable pages to build/course
	@$(BIN)/python -m twins_lib.teach.publish.pages course

test: lint  ## run all tests; every notebook is run and its outputs compared
	@$(BIN)/python -m pytest -n 2 --nbval --nbval-current-env --nbval-cell-timeout 600 tests notebooks

lab: $(READY)  ## open JupyterLab on the first lesson
	@JUPYTER_CONFIG_PATH="$(CURDIR)/twins_lib/teach/publish/lab" $(BIN)/jupyter lab notebooks/00_start_here.ipynb

refresh: $(READY)  ## run notebooks and store their outputs (NOTEBOOKS="notebooks/01_patch_embedding.ipynb" for one)
	@$(BIN)/python -m twins_lib.teach.publish.refresh $(NOTEBOOKS)

site: $(READY)  ## lessons as stored, with the library's pages and a glossary, to build/site
	@$(BIN)/python -m twins_lib.teach.publish.pages site

slides: $(READY)  ## slides of every lesson to build/slides
	@$(BIN)/python -m twins_lib.teach.publish.pages slides

bench: $(READY)  ## seconds and memory of the network on this machine
	@$(BIN)/python -m twins_lib.bench

upstream: $(READY)  ## tell which faults of MindSpore that the library works around are mended
	@$(BIN)/python -m pytest -m upstream -rs tests/upstream

lint: $(READY)  ## check the style of code and notebooks, and the spelling of everything
	@$(BIN)/python -m ruff check
	@$(BIN)/codespell

lock:  ## write the newest versions that pyproject.toml admits to constraints.txt, for both Pythons and all systems
	@$(PYTHON) -m venv build/lock && build/lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	@build/lock/bin/uv pip compile --quiet --upgrade --universal --fork-strategy fewest --python-version 3.11 \
		--extra dev --no-annotate --custom-compile-command "make lock" --output-file constraints.txt pyproject.toml

browser:  ## install Chromium with apt for the tests that open pages (asks for the administrator's rights)
	$(shell [ "$$(id -u)" = 0 ] || echo sudo) apt-get update -qq
	$(shell [ "$$(id -u)" = 0 ] || echo sudo) apt-get install -y -qq --no-install-recommends chromium

mpirun:  ## install Open MPI with apt for the tests that start processes with mpirun (asks for the same)
	$(shell [ "$$(id -u)" = 0 ] || echo sudo) apt-get update -qq
	$(shell [ "$$(id -u)" = 0 ] || echo sudo) apt-get install -y -qq --no-install-recommends openmpi-bin

compiler:  ## install g++ and nm with apt for the tests that compile for Ascend (asks for the same)
	$(shell [ "$$(id -u)" = 0 ] || echo sudo) apt-get update -qq
	$(shell [ "$$(id -u)" = 0 ] || echo sudo) apt-get install -y -qq --no-install-recommends g++

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' || \
	{ echo "The course runs on Python 3.11 and 3.12; '$(PYTHON)' is neither. Say make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Setting up .venv once: about 1.2 GB to download, 3 GB on disk, a few quiet minutes ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
	@echo "Ready: $$($(BIN)/python --version), MindSpore and JupyterLab are in .venv"
