# Commands that people use daily. `make test` needs nothing but Python: it makes the machine ready first.
PYTEST = .ephemera/venv/bin/python -m pytest

.PHONY: help test check unit integration e2e format

help: ## List the commands.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

test: ready check go-test ## Everything: checks, then unit, plugin, image, driver and end-to-end tests.
	$(PYTEST) tests services/tasker/tests/unit services/tasker/client/tests

check: ready ## Lint, format, types, licences of imports between rooms: seconds, no Docker.
	.ephemera/venv/bin/ruff check .
	.ephemera/venv/bin/ruff format --check .
	.ephemera/venv/bin/mypy

unit: ready ## The tests that need no Docker.
	$(PYTEST) tests/unit services/tasker/tests/unit services/tasker/client/tests

e2e: ready ## The suites of the systems, each in an environment of its own.
	$(PYTEST) tests/e2e

format: ready ## Format the code.
	.ephemera/venv/bin/ruff format .
	.ephemera/venv/bin/ruff check --fix .

.PHONY: ready go-test
ready:
	@./ephemera images build tasker

go-test:
	cd toolchain/docker-plugin && go vet -trimpath ./... && go test -trimpath ./...
