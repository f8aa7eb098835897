# Mianjiao 免交. `make help` lists what there is.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

PYTHON ?=
HOST ?= 127.0.0.1
PORT ?= 8000
DATA ?= .demo
# More for pytest, e.g. make test ARGS="tests/ledger -k proof"
ARGS ?=

BOOTSTRAP := PYTHON='$(PYTHON)' scripts/bootstrap.sh
BIN := .venv/bin
LOCKED := uv.lock pyproject.toml scripts/uv-requirements.txt

.venv/run.stamp: $(LOCKED)
	@$(BOOTSTRAP) run
	@touch $@

.venv/dev.stamp: $(LOCKED)
	@$(BOOTSTRAP) dev
	@touch .venv/run.stamp $@

.PHONY: run
run: .venv/run.stamp ## Install, make the demo store once, serve it on http://127.0.0.1:8000 (HOST=, PORT=, DATA=)
	@scripts/demo.sh '$(DATA)'
	@exec $(BIN)/mianjiao serve --data '$(DATA)' --host '$(HOST)' --port '$(PORT)'

.PHONY: test
test: .venv/dev.stamp ## Install and run the whole test suite (ARGS= for pytest)
	@# Tests start the program some hundred times: what one process compiled the others load.
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist loadgroup $(ARGS)

.PHONY: check
check: .venv/dev.stamp ## ruff, mypy, import contracts and our own lints
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/mypy -p migrations -p lints -p scripts
	@$(BIN)/lint-imports
	@$(BIN)/python -m lints

.PHONY: format
format: .venv/dev.stamp ## Put the code into ruff's form
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: servers
servers: ## Get what tests run against into a cache of yours: MinIO (built, some minutes, once), a checker of logs, nginx, a chain node
	@scripts/servers/minio.sh
	@scripts/servers/tessera.sh
	@scripts/servers/nginx.sh
	@scripts/servers/evm.sh

DIR ?= .up
.PHONY: up
up: PORT = 8080
up: .venv/dev.stamp servers ## The services of docker-compose.yml as plain processes on loopback (DIR=, PORT=)
	@exec $(BIN)/python -m scripts.up --dir '$(DIR)' --port '$(PORT)'

.PHONY: drill
drill: .venv/dev.stamp ## Run docker-compose.yml in a container engine, replace and kill containers, remove it all (ARGS=--no-build)
	@$(BIN)/python -m scripts.up.drill $(ARGS)

.PHONY: bench
bench: .venv/dev.stamp ## Measure the figures of the release, print a table, write JSON
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: soak
soak: .venv/dev.stamp ## The long fault loops: seeds, kills, power cuts, flips (ARGS="--kills 100 --minutes 10")
	@$(BIN)/python -m tests.soak $(ARGS)

.PHONY: docs
docs: .venv/dev.stamp ## Write the generated parts of docs/ anew (lifecycle diagrams)
	@$(BIN)/python -m scripts.generate_docs

.PHONY: demo-clean
demo-clean: ## Remove the demo store; the next `make run` plays the story again
	@rm -rf .demo .demo-demo

.PHONY: clean
clean: ## Remove what was installed and built; the demo store stays
	@rm -rf .venv .uv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help: ## Say this
	@echo 'Mianjiao 免交'
	@echo
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS='|' read -r name what; do printf '  make %-12s %s\n' "$$name" "$$what"; done
