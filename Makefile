# The set-up writes to this folder only: .venv (with its caches), .demo and .up.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_SPARK := $(VENV)/.ready-spark

export UV_CACHE_DIR := $(CURDIR)/$(VENV)/cache/uv
export PIP_CACHE_DIR := $(CURDIR)/$(VENV)/cache/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# uv takes seconds where pip takes minutes; where it cannot be had, or cannot reach the index that pip is set up for,
# pip does the same.
INSTALL = { { $(BIN)/uv --version >/dev/null 2>&1 || $(BIN)/pip install --quiet uv; } \
	&& VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet $(1); } \
	|| { echo 'uv could not install it; pip does it now, which takes longer'; $(BIN)/pip install --quiet $(1); }

# Ends all that the program has started, however the program or make itself ends.
GUARDED := $(BIN)/python -m demo.guardian --grace 30

.PHONY: help demo up test lint
.NOTPARALLEL:

help:
	@echo 'make demo   run the example pipelines on a real Airflow and a local AWS, to the end'
	@echo 'make up     the same, left running with Airflow'"'"'s pages until Ctrl-C;'
	@echo '            ARGS="--listen 127.0.0.1:8080" for a port of your own'
	@echo 'make test   all tests; ARGS="tests/unit -k name" for some'
	@echo 'make lint   ruff and mypy'

demo: $(READY)
	@$(GUARDED) $(BIN)/python -m demo run

up: $(READY)
	@$(GUARDED) $(BIN)/python -m demo up $(ARGS)

# The end-to-end tests share one Airflow and one worker; the others have the second worker, and both when they are done.
test: $(READY_SPARK)
	@$(GUARDED) $(BIN)/python -m pytest --numprocesses 2 --dist loadgroup $(ARGS)

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

$(READY): requirements.lock pyproject.toml
	@$(BIN)/pip --version >/dev/null 2>&1 || { python=$$(sh .ci/find-python) && \
		echo "Setting up $(VENV) with $$($$python --version): a few minutes, once" && $$python -m venv --clear $(VENV); }
	@$(call INSTALL,--requirement requirements.lock)
	@$(call INSTALL,--no-deps --editable .)
	@touch $@

$(READY_SPARK): $(READY) requirements-spark.lock
	@$(call INSTALL,--requirement requirements-spark.lock)
	@touch $@
