# make up       start Lambent in the background, and see it make a thumbnail
# make down     stop it
# make test     format, lint, types, import rules, tests (in two processes)
# make lint     the same without the tests
# make test-long, make bench
# make compatibility   ask a running server what it does with every member of Lambda's model, and write it down
.DEFAULT_GOAL := up
.PHONY: up down test test-long lint bench compatibility clean

SHELL := /bin/sh
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
CHECKED := src tests $(wildcard bench)

up: .venv/.run .lambent/.node-sdk
	@scripts/server start
	@$(BIN)/python examples/thumbnail/run.py

down:
	@scripts/server stop

.venv/bin/python:
	@python=$$(scripts/find-python) && echo "Making .venv with $$python" && "$$python" -m venv .venv

.venv/.run: requirements/run.txt requirements/build.txt pyproject.toml | .venv/bin/python
	@echo "Installing Lambent and what it needs"
	@$(BIN)/python -m pip install -q --require-hashes -r requirements/run.txt
	@$(BIN)/python -m pip install -q --require-hashes -r requirements/build.txt
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q src
	@touch $@

.venv/.dev: requirements/dev.txt $(wildcard requirements/kafka/*) .venv/.run
	@echo "Installing what the tests need"
	@$(BIN)/python -m pip install -q --require-hashes -r requirements/dev.txt
	@$(BIN)/python examples/shared/pillow.py
	@scripts/system-packages
	@scripts/kafka
	@touch $@

.lambent/.node-sdk: | .venv/.run
	@mkdir -p .lambent
	@scripts/node-sdk
	@touch $@

lint: .venv/.dev
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest -q -n 2 -m "not long"

test-long: .venv/.dev
	@scripts/system-packages long
	$(BIN)/pytest -q -m "long or hypothesis"

bench: .venv/.dev
	@scripts/system-packages bench
	$(BIN)/lambent bench --peers --checkout .

compatibility: .venv/.dev
	$(BIN)/python -m bench.compatibility

clean:
	@if [ -f .lambent/server.pid ]; then scripts/server stop; fi
	rm -rf .venv .lambent .mypy_cache .ruff_cache .hypothesis .import_linter_cache
