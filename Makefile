# Each target installs what it needs; `make serve` and `make test` work from a fresh clone.

PYTEST_OPTIONS ?=
# Test files run beside each other, as many as the test machines have cores.
WORKERS ?= 2
OPTIONS ?=
ROWS ?=

.PHONY: help install install-dev serve test test-rust test-python test-slow test-gateway lint fmt bench clean

help:
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile

install: ## only install: .venv/bin/hutch is then there
	@scripts/install serve

install-dev: ## install with the tools of development
	@scripts/install dev

serve: install ## start the runtime (OPTIONS="--port 0 ...")
	@.venv/bin/hutch serve $(OPTIONS)

test: test-rust test-python ## pass the tests

test-rust: install-dev
	cargo test --quiet --locked --package hutch-core

test-python: install-dev
	.venv/bin/python -m pytest -m 'not slow' -n $(WORKERS) --dist loadfile $(PYTEST_OPTIONS)

test-slow: install-dev ## the tests that take longer
	.venv/bin/python -m pytest -m slow $(PYTEST_OPTIONS)

test-gateway: install-dev ## the tests that speak to a URL alone, once more through a gateway
	.venv/bin/python -m pytest -m 'wire and not slow' --through-gateway \
		-n $(WORKERS) --dist loadfile $(PYTEST_OPTIONS)

lint: install-dev ## what CI checks before it tests
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/python -m mypy.stubtest hutch._native
	cargo fmt --check
	cargo clippy --quiet --locked --all-targets -- -D warnings

fmt: install-dev ## format everything
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .
	cargo fmt

bench: install-dev ## the table of promised speeds (ROWS=stream,hash picks rows)
	.venv/bin/python -m benches $(if $(ROWS),--rows $(ROWS))

clean: ## remove what was built, the benches' trees included
	rm -rf .venv target .bench python/hutch/*.so
	find . -name __pycache__ -prune -exec rm -rf {} +
