# Commands that people use daily. `make test` needs nothing but Python: it makes the machine ready first.
PYTHON = .ephemera/venv/bin/python
PYTEST = $(PYTHON) -m pytest
ENGINE_PACKAGES = openssh-server openssh-client openssl iproute2 iptables e2fsprogs \
	rootlesskit uidmap slirp4netns fuse-overlayfs

.PHONY: help
help: ## List the commands.
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

.PHONY: test
test: check ## All that CI does: checks, then every test there is.
	$(PYTEST) tests -n 2 --dist loadfile --ignore tests/faults --ignore tests/engines

.PHONY: faults
faults: ready ## Kill everything at every step, and all that real use breaks: half an hour. Root; installs faketime.
	apt-get install -y --no-install-recommends faketime >/dev/null
	$(PYTEST) tests/faults -n 2

.PHONY: bench
bench: ready ## Side by side with Compose, testcontainers and the engine's API: an hour; wants a quiet machine.
	$(PYTHON) -m benchmarks

.PHONY: engines
engines: ready ## Other Docker engines: SSH, TLS, rootless, dead, full. Root; installs what a Debian machine lacks for that.
	apt-get install -y --no-install-recommends $(ENGINE_PACKAGES) >/dev/null
	$(PYTEST) tests/engines -n 2 --dist loadfile

.PHONY: check
check: ready ## Lint, format and types: seconds, no Docker.
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

.PHONY: unit
unit: ready ## The tests that need no Docker.
	$(PYTEST) tests/unit

.PHONY: e2e
e2e: ready ## The systems' suites, each in an environment of its own.
	$(PYTEST) tests/e2e

.PHONY: format
format: ready ## Format the code.
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

.PHONY: docs
docs: ready ## Write docs/reference.md from signatures and docstrings.
	$(PYTHON) docs/reference.py docs/reference.md

.PHONY: ready
ready:
	@./ephemera setup >/dev/null
	@./ephemera images build tasker >/dev/null
	@./ephemera images build olav >/dev/null
