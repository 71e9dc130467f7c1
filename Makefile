MAKEFLAGS += --warn-undefined-variables --no-print-directory
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

# In the order given, whatever MAKEFLAGS has: `make image push` pushes what was built.
.NOTPARALLEL:

PYTHON ?= python3
BIN := .venv/bin
# uv does not read pip's settings: where pip has an index of its own, it is uv's as well.
PIP_INDEX = $(BIN)/python -m pip config list | sed -nE "s/^(global|install)\.index-url='(.*)'$$/\2/p" | tail -n 1
UV = UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$${UV_INDEX_URL:-$${PIP_INDEX_URL:-$$($(PIP_INDEX))}}}" $(BIN)/uv
RUN := $(BIN)/python -m

# What the demo loads; SOURCE_URL is a template with {service}, {year} and {month:02}.
SERVICE ?= green
YEAR ?= 2021
MONTHS ?= 1,2,3
SOURCE_URL ?=
KEEP ?=
PIPELINE ?=
FILE ?=

# A deployment as flow/deployment, a cron rule, and whatever else a command takes, such as ARGS=--json.
DEPLOYMENT ?=
CRON ?=
ARGS ?=
RUNS_AT_ONCE ?=
# What `make run` hands on to the run as parameters, where they are given.
PARAMETERS := SERVICE YEAR MONTH MONTHS SOURCE_URL PIPELINE EACH_MONTH CONCURRENCY FORCE LIMIT DRY_RUN

# What runs is the Python of .venv: settings of other Pythons would break it, those of other folders for pip as well.
unexport PYTHONHOME PYTHONPATH PYTHONSTARTUP PIP_TARGET PIP_PREFIX PIP_ROOT PIP_USER
# Names of files and what is printed are UTF-8, whatever the locale.
export PYTHONUTF8 := 1

# Where KEEP=1 left a stack running, every target that asks the API asks that one.
-include .taxiway/stack.env

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  \033[36m%-20s\033[0m %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# The virtual environment is a real target: remade when a lock changes, else nothing to do.
.venv/.installed: requirements-dev.lock requirements-uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "taxiway: python 3.11 or later is needed; set PYTHON=" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' || { echo "taxiway: $(PYTHON) has no venv module; install it (Debian: python3-venv)" >&2; exit 1; }
	@echo "taxiway: setting up .venv"
	@[ -x $(BIN)/uv ] || { $(PYTHON) -m venv --clear .venv && $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-uv.lock; }
	@$(UV) pip sync -q --python $(BIN)/python --no-python-downloads --require-hashes --compile-bytecode requirements-uv.lock requirements-dev.lock
	@touch $@

.PHONY: setup
setup: .venv/.installed ## Create .venv from the lock files (does nothing if it is up to date)

.PHONY: demo
demo: setup ## Run all pipelines on this machine: SERVICE, YEAR, MONTHS, SOURCE_URL, KEEP=1
	@$(RUN) demo --service '$(SERVICE)' --year '$(YEAR)' --months '$(MONTHS)' --source-url '$(SOURCE_URL)' $(if $(KEEP),--keep)

.PHONY: down
down: setup ## Stop the stack and keep its data
	@$(if $(wildcard .taxiway/stack.json),$(RUN) infra.local.stack down)
	@$(if $(wildcard .env),$(RUN) infra.compose down)

.PHONY: env
env: setup ## Write .env once, with random passwords
	@$(RUN) infra.environment

.PHONY: image
image: setup ## Build the flow image: IMAGE_REPOSITORY or DOCKERHUB_USER
	@$(RUN) infra.image build

.PHONY: push
push: setup ## Push the image and print its digest
	@$(RUN) infra.image push

.PHONY: up
up: setup ## Start PostgreSQL, pgAdmin, Prefect and the emulators in containers; wait until all are healthy
	@$(RUN) infra.compose up

.PHONY: destroy
destroy: setup ## After a confirmation: stop the stack in containers and delete its data
	@$(RUN) infra.compose destroy

.PHONY: blocks
blocks: setup ## Save the blocks that the code declares
	@$(RUN) infra.deploy blocks $(ARGS)

.PHONY: google
google: setup ## Create the bucket and the BigQuery dataset if they do not exist
	@$(RUN) infra.google

.PHONY: plan
plan: setup ## Show what `make deploy` would change: ARGS=--json, ARGS=--detailed-exitcode
	@$(RUN) infra.deploy plan $(if $(CRON),--cron '$(CRON)') $(if $(DEPLOYMENT),--deployment '$(DEPLOYMENT)') $(ARGS)

.PHONY: deploy
deploy: setup ## Apply what the code declares to the server: CRON= with DEPLOYMENT=, ARGS=--reset
	@$(RUN) infra.deploy apply $(if $(CRON),--cron '$(CRON)') $(if $(DEPLOYMENT),--deployment '$(DEPLOYMENT)') $(ARGS)

.PHONY: schedule
schedule: setup ## Add a schedule by hand; later deploys keep it: DEPLOYMENT=, CRON=
	@$(RUN) infra.deploy schedule $(if $(and $(DEPLOYMENT),$(CRON)),'$(DEPLOYMENT)' '$(CRON)',$(error usage: make schedule DEPLOYMENT=flow/deployment CRON='0 5 1 * *')) $(ARGS)

.PHONY: run
run: setup ## Run a deployment and wait for the result: DEPLOYMENT=etl_parent_flow/docker MONTHS=1-3 ...
	@$(RUN) infra.deploy run $(if $(DEPLOYMENT),'$(DEPLOYMENT)',$(error usage: make run DEPLOYMENT=flow/deployment MONTHS=1,2,3)) \
		$(foreach name,$(PARAMETERS),$(if $(filter command,$(origin $(name))),-p '$(shell tr A-Z a-z <<<$(name))=$($(name))'))

.PHONY: verify
verify: setup ## Count every partition in every store again and report each difference
	@$(RUN) infra.deploy run verify_stores

.PHONY: destroy-deployments
destroy-deployments: setup ## Delete all deployments, schedules, limits and automations that deploys created
	@$(RUN) infra.deploy destroy

.PHONY: agent
agent: setup ## Run the worker of the work pool in the foreground: RUNS_AT_ONCE=
	@RUNS_AT_ONCE='$(RUNS_AT_ONCE)' $(RUN) infra.agent

.PHONY: test
test: setup ## Run the unit and integration tests, in parallel
	@log=$$(mktemp); $(RUN) pytest tests/unit >"$$log" 2>&1 & unit=$$!; trap 'kill $$unit 2>/dev/null || true; rm -f "$$log"' EXIT; \
		failed=0; $(RUN) pytest tests/integration || failed=1; wait $$unit || failed=1; cat "$$log"; exit $$failed

.PHONY: test-faults
test-faults: setup ## Run the fault injection tests and fuzz tests, for a bounded time
	@$(RUN) pytest tests/faults

.PHONY: test-docker
test-docker: setup ## Run the tests of the Docker lifecycle on a real Docker engine
	@$(RUN) pytest tests/docker

.PHONY: test-browser
test-browser: setup ## Run the tests of the UI in a real browser, on the stack in containers
	@$(RUN) pytest tests/browser

.PHONY: bench
bench: setup ## Compare the speed of a load with pandas and to_sql
	@$(RUN) tests.benchmarks.load

.PHONY: bench-memory
bench-memory: setup ## Measure the peak memory of loads of 1.5 and 15 million rows
	@$(RUN) tests.benchmarks.memory

.PHONY: inspect
inspect: setup ## Read a file or URL through the contract: FILE=... [SERVICE=...]
	@$(RUN) flows.datasets.inspect $(if $(FILE),'$(FILE)',$(error usage: make inspect FILE=path-or-url [SERVICE=green])) $(if $(filter command line environment,$(origin SERVICE)),--service '$(SERVICE)')

.PHONY: lint
lint: setup ## Run ruff (check and format), mypy and import-linter
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy demo deployments flows infra && $(BIN)/lint-imports --no-logo

.PHONY: new
new: setup ## Write the three files of a new pipeline: PIPELINE=bikes
	@$(RUN) infra.scaffold '$(PIPELINE)'

.PHONY: lock
lock: setup ## Resolve the dependencies in pyproject.toml and write the lock files (without an index address)
	@$(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements.lock
	@$(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --no-header pyproject.toml --group emulators -c requirements.lock -o requirements-emulators.lock
	@$(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --no-header pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock
