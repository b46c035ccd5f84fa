# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: demo test test-all lint bench docs clean

demo: .venv/.installed
	$(BIN)/ldmscene run manifests/demo.csv --store stores/demo --report report --batch-size 8

test: demo .venv/labelers/.installed
	$(BIN)/python -m pytest -m "not slow" --numprocesses logical --maxprocesses 8 --dist loadfile

test-all: test
	$(BIN)/python -m pytest -m slow

lint: .venv/.installed
	$(BIN)/ruff format --check ldmscene tests benchmarks examples docs
	$(BIN)/ruff check ldmscene tests benchmarks examples docs
	$(BIN)/mypy ldmscene

bench: demo
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[bench]"
	$(BIN)/python -m benchmarks.store
	$(BIN)/python -m benchmarks.probes
	$(BIN)/python -m benchmarks.evaluate
	$(BIN)/python -m benchmarks.capture tiny
	$(BIN)/python -m benchmarks.capture memory
	$(BIN)/python -m benchmarks.capture unet
	$(BIN)/python -m benchmarks.capture full
	$(BIN)/python -m benchmarks.report

docs: .venv/.installed
	$(BIN)/python docs/build.py site

# Installs again only when what is to be installed has changed.
.venv/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

# Packages of labelers that the tests run. They lie beside the others: PyPI's torchvision is built for CUDA, and next to
# a CPU build of torch everything that imports transformers would stumble over it.
.venv/labelers/.installed: .venv/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps --upgrade --target .venv/labelers \
		torchvision carvekit
	touch $@

clean:
	rm -rf .venv stores/demo stores/demo-permuted report reports site
