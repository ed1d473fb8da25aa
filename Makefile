# Setup writes only to this folder: .venv (including its caches), .demo and .up.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_SPARK := $(VENV)/.ready-spark
READY_CLIENTS := $(VENV)/.ready-clients

export UV_CACHE_DIR := $(CURDIR)/$(VENV)/cache/uv
export PIP_CACHE_DIR := $(CURDIR)/$(VENV)/cache/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# uv takes seconds where pip takes minutes. Fall back to pip if uv is unavailable or cannot reach the index that pip is
# configured to use. Every downloaded file has a hash in a lock file. Builds use the packages of requirements.lock, because
# an isolated build would download others, without hashes.
INSTALL = { $(BIN)/pip install --quiet $(LOCKED) requirements-uv.lock \
	&& VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --no-build-isolation $(1); } \
	|| { echo 'uv could not install the packages; using pip, which is slower'; \
	$(BIN)/pip install --quiet --no-build-isolation $(1); }
LOCKED := --require-hashes --requirement

# Stops every process that the command started, however the command or make itself exits.
GUARDED := $(BIN)/python -m demo.guardian --grace 30

.PHONY: help demo up test lint
.NOTPARALLEL:

help:
	@echo 'make demo   run the example pipelines on a real Airflow and a local AWS, then stop everything'
	@echo 'make up     start Airflow with its UI and a local AWS, and keep them running until Ctrl-C;'
	@echo '            set ARGS="--listen 127.0.0.1:8080" to choose the address of the UI'
	@echo 'make test   run all tests; set ARGS="tests/unit -k name" to select some'
	@echo 'make lint   run ruff, mypy, bandit and pip-audit'

demo: $(READY)
	@$(GUARDED) $(BIN)/python -m demo run

up: $(READY)
	@$(GUARDED) $(BIN)/python -m demo up $(ARGS)

# The end-to-end tests share one Airflow and one pytest worker. The other tests use the second worker, then both.
test: $(READY_SPARK) $(READY_CLIENTS)
	@$(GUARDED) $(BIN)/python -m pytest --numprocesses 2 --dist loadgroup $(ARGS)

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/bandit --quiet --recursive --configfile pyproject.toml airflow_batchemr demo .ci
	@$(BIN)/python .ci/audit.py

$(READY): requirements.lock requirements-uv.lock pyproject.toml
	@$(BIN)/pip --version >/dev/null 2>&1 || { python=$$(sh .ci/find-python) && \
		echo "Setting up $(VENV) with $$($$python --version); this takes a few minutes the first time" && $$python -m venv --clear $(VENV); }
	@$(call INSTALL,$(LOCKED) requirements.lock)
	@$(call INSTALL,--no-deps --editable .)
	@touch $@

$(READY_SPARK): $(READY) requirements-spark.lock
	@$(call INSTALL,$(LOCKED) requirements-spark.lock)
	@touch $@

$(READY_CLIENTS): $(READY) requirements-clients.lock
	@rm -rf $(VENV)/clients
	@$(call INSTALL,--no-deps --target $(VENV)/clients $(LOCKED) requirements-clients.lock)
	@touch $@
