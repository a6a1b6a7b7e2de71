# `make` lists the targets. What is needed: Python 3.11 or newer, make, and a C compiler where a wheel is missing.
PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
ONCE ?=
RUN ?= examples/mnist/recommended.toml
PROCESSES ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint constraints.txt --build-constraint constraints.txt
PACKAGES := clipmax service training tests

.DEFAULT_GOAL := help
.PHONY: help venv install run serve test check format lock sbom docker clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.training ## train on the bundled MNIST, serve it, ask it one digit (ONCE=1: stop after the answer; PORT=8000)
	@PATH="$(abspath $(BIN)):$$PATH" PORT='$(PORT)' ONCE='$(ONCE)' examples/mnist/run.sh '$(RUN)'

serve: $(VENV)/.service ## serve what lies in models/, without torch being installed (PORT=8000)
	@$(BIN)/clipmax serve --port $(PORT)

install: $(VENV)/.development ## everything: service, training, tests and checks

venv: $(VENV)/.venv ## only the virtual environment

test: $(VENV)/.development ## run the tests, in two processes (PROCESSES=2)
	@$(BIN)/pytest --numprocesses $(PROCESSES)

check: $(VENV)/.development ## format, lint, strict types, import boundaries
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.development ## put the code into the one format
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .

lock: ## remake constraints.txt and requirements.txt from what pyproject.toml allows today
	@PYTHON='$(PYTHON)' ./lock.sh

sbom: $(VENV)/.development ## list what the service is made of, with licences, as CycloneDX in dist/sbom.cdx.json
	@mkdir -p dist && rm -rf build/sbom && $(PYTHON) -m venv --without-pip build/sbom
	@$(PIP) --python build/sbom/bin/python install --quiet --require-hashes --requirement requirements.txt
	@$(BIN)/cyclonedx-py environment build/sbom --pyproject pyproject.toml --mc-type application \
		--output-reproducible --output-file dist/sbom.cdx.json

docker: ## build the two images: clipmax (the service) and clipmax-training
	docker build --target service --tag clipmax .
	docker build --target training --tag clipmax-training .

clean: ## remove the virtual environment, caches and runs; models stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist runs
	find $(PACKAGES) -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp says which set of packages was installed for the pyproject.toml and constraints.txt that lie here.
$(VENV)/.venv: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "clipmax needs Python 3.11 or newer; set PYTHON=")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --quiet --upgrade --constraint constraints.txt pip
	@touch $@

$(VENV)/.service: $(VENV)/.venv pyproject.toml
	@echo 'installing the service into $(VENV)'
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.training: $(VENV)/.venv pyproject.toml
	@echo 'installing service and training into $(VENV) (torch is large; the first time takes a while)'
	@$(INSTALL) --editable '.[training]'
	@touch $@ $(VENV)/.service

$(VENV)/.development: $(VENV)/.venv pyproject.toml
	@echo 'installing service, training, tests and checks into $(VENV)'
	@$(INSTALL) --group check --group test --editable '.[training]'
	@touch $@ $(VENV)/.service $(VENV)/.training
