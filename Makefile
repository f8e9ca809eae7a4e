# The verbs of this project. `make` alone explains them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/bin
# Many tests wait more than they work: twice as many workers as CI has cores. The last ones share what is left.
WORKERS ?= 4

.PHONY: help venv demo run test lint bench soak docs lock clean

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: .venv/.stamp ## Make .venv with everything locked, and .venv/bin/muster

.venv/.stamp: requirements.lock pyproject.toml scripts/make-venv
	scripts/make-venv
	@touch $@

demo: venv ## A simulated fleet and the service over it, on one screen; Ctrl-C ends it
	@$(BIN)/muster demo

run: venv ## The service on your own kubeconfig
	@$(BIN)/muster run

test: venv ## Every test but the soak, against real components
	scripts/system-packages chromium || echo "Without it, tests that take a browser are skipped." >&2
	scripts/system-packages strongswan-pki libstrongswan-standard-plugins || echo "Without them, tests against strongSwan are skipped." >&2
	scripts/system-packages strace || echo "Without it, nobody watches what telemetry asks of the kernel." >&2
	scripts/system-packages nginx || echo "Without it, tests of telemetry through a proxy of another maker are skipped." >&2
	scripts/azurite >/dev/null || echo "Without npm, tests against Azurite are skipped." >&2
	scripts/helm >/dev/null || echo "Without helm, tests of the chart are skipped." >&2
	@# A shared machine may stall in the middle of a deadline: two more tries, which the summary names (R).
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not soak" --reruns 2

soak: venv ## Crash tests at a hundred random moments, variants of slow tests, and whatever else takes long
	$(BIN)/python -m pytest -m soak

lint: venv ## Format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: venv ## The benchmarks, quickly; the full ones: python -m benchmarks.isolation, .cost, .scale, .api
	scripts/system-packages prometheus prometheus-blackbox-exporter
	for name in isolation cost scale api agents pairs uplink; do $(BIN)/python -m benchmarks.$$name --quick; done

docs: venv ## Write what is generated: the API, problems, reasons, settings
	$(BIN)/python -m muster.docs

lock: ## Resolve the dependencies anew into requirements.lock
	scripts/lock

clean: ## Remove what make venv and the tests left
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
