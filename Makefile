# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: demo test test-all lint bench clean

demo: .venv/.installed
	$(BIN)/ldmscene run manifests/demo.csv --store stores/demo --report report --batch-size 8

test: demo
	$(BIN)/python -m pytest -m "not slow"

test-all: demo
	$(BIN)/python -m pytest

lint: .venv/.installed
	$(BIN)/ruff format --check ldmscene tests benchmarks
	$(BIN)/ruff check ldmscene tests benchmarks
	$(BIN)/mypy ldmscene

bench: .venv/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[bench]"
	$(BIN)/python -m benchmarks.store

# Installs again only when what is to be installed has changed.
.venv/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv stores/demo stores/demo-permuted report
