# Every target does its own set-up, once: an environment in .venv, with stamps inside it.
#   make demo     audit the embedded digits and say where the report is
#   make test     the whole test suite            (COVERAGE=1 for coverage, ARGS='-k pgd' for pytest)
#   make check    lint, format, types, architecture
#   make bench    our attacks beside their peers
#   make docs     the documentation, into site/
#   make peers    comparisons with what needs an environment of its own
#   make clean    remove what these wrote         (make distclean: the environments too)
# PYTHON=python3.12 chooses the interpreter of a new environment; TORCH='torch==2.13.0 --index-url URL'
# chooses where its PyTorch comes from.

PYTHON  ?= python3
TORCH   ?= torch==2.13.0
WORKERS ?= 2
ARGS    ?=

VENV  := .venv
PEERS := .venv-peers
RUN   := $(VENV)/bin/python -m

# A constraint given by variable also holds where pip builds the package in an environment of its own.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
PIP  := -m pip install --quiet
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help demo test check bench docs peers clean distclean
.NOTPARALLEL:

help:
	@sed -n '2,10s/^# *//p' Makefile

# --- environments ---------------------------------------------------------------------------------

define create
@command -v $(PYTHON) >/dev/null || { echo "Trompe needs Python 3.11 or newer, and there is no '$(PYTHON)' here; name yours: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Trompe needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) -V); name another: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "'$(PYTHON)' cannot make environments; install its venv module (Debian, Ubuntu: apt-get install python3-venv)"; exit 1; }
@echo "Making $(1) ..."
@$(PYTHON) -m venv --clear $(1)
endef

$(VENV)/.torch:
	$(call create,$(VENV))
	@echo "Installing PyTorch ..."
	@$(VENV)/bin/python $(PIP) -c constraints.txt $(TORCH)
	@touch $@

$(VENV)/.core: $(VENV)/.torch pyproject.toml constraints.txt
	@echo "Installing Trompe ..."
	@$(VENV)/bin/python $(PIP) -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml constraints.txt
	@echo "Installing Trompe and its development set ..."
	@$(VENV)/bin/python $(PIP) -c constraints.txt -e '.[dev]'
	@touch $(VENV)/.core $@

$(PEERS)/.ready: export PIP_CONSTRAINT := $(CURDIR)/constraints-peers.txt
$(PEERS)/.ready: pyproject.toml constraints-peers.txt
	$(call create,$(PEERS))
	@echo "Installing the peers ..."
	@$(PEERS)/bin/python $(PIP) $(TORCH)
	@$(PEERS)/bin/python $(PIP) -e . pythae torchattacks torchvision
	@touch $@

# --- targets --------------------------------------------------------------------------------------

demo: $(VENV)/.core
	$(VENV)/bin/trompe audit --out demo-report $(ARGS)
	@echo "The report: $(CURDIR)/$$(ls demo-report/*.html | head -n 1)"

test: $(VENV)/.dev
	$(ONE_THREAD) $(RUN) pytest -n $(WORKERS) $(if $(COVERAGE),--cov=trompe --cov-report=term-missing) $(ARGS)

check: $(VENV)/.dev
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy --strict trompe
	$(ONE_THREAD) $(RUN) pytest -q tests/test_architecture.py

bench: $(VENV)/.dev
	$(ONE_THREAD) $(RUN) benchmarks $(ARGS)

docs: $(VENV)/.dev
	$(VENV)/bin/zensical build --clean

peers: $(PEERS)/.ready
	@set -e; for script in tests/peers/[!_]*.py; do echo "$$script"; $(ONE_THREAD) $(PEERS)/bin/python "$$script" $(ARGS); done

clean:
	rm -rf demo-report site build dist .cache .coverage .coverage.* htmlcov .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) $(PEERS)
