# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: demo test test-quick test-all test-lowest test-upstream lint bench docs constraints clean

demo: .venv/.installed
	$(BIN)/ldmscene run manifests/demo.csv --store stores/demo --report report --batch-size 8

# A first look, in less than a minute: no model is run, no browser started.
test-quick: .venv/.installed
	$(BIN)/python -m pytest -m "not slow" tests/metrics tests/probes/test_ridge.py tests/probes/test_stats.py \
		tests/probes/test_folds.py tests/store/test_ledger.py tests/store/test_shards.py tests/test_cells.py \
		tests/test_grid.py tests/test_layers.py tests/test_manifest.py

test: demo .venv/labelers/.installed
	$(BIN)/python -m pytest -m "not slow" --numprocesses logical --maxprocesses 8 --dist loadgroup

test-all: test
	$(BIN)/python -m pytest -m slow

# The lowest versions that pyproject.toml declares, and the newest there are; both need uv.
test-lowest:
	uv venv --clear .venv-lowest
	VIRTUAL_ENV=.venv-lowest uv pip install --quiet --resolution lowest-direct --editable ".[test]"
	.venv-lowest/bin/python -m pytest -m "not slow" --numprocesses logical --maxprocesses 8 --dist loadgroup

test-upstream:
	uv venv --clear .venv-upstream
	VIRTUAL_ENV=.venv-upstream uv pip install --quiet --prerelease allow --editable ".[test]"
	.venv-upstream/bin/python -m pytest -m "not slow" --numprocesses logical --maxprocesses 8 --dist loadgroup

# The newest versions that go together, as the tests and the README's numbers are to be run with.
constraints:
	$(PYTHON) -m venv --clear .venv-constraints
	.venv-constraints/bin/python -m pip install --quiet ".[dev]"
	(sed -n "/^#/p" constraints.txt; .venv-constraints/bin/python -m pip freeze --exclude ldmscene | sed "s/+[a-z0-9.]*$$//") \
		> .venv-constraints/constraints.txt
	mv .venv-constraints/constraints.txt constraints.txt

lint: .venv/.installed
	$(BIN)/ruff format --check ldmscene tests benchmarks examples docs
	$(BIN)/ruff check ldmscene tests benchmarks examples docs
	$(BIN)/mypy ldmscene

bench: demo
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[bench]"
	$(BIN)/python -m benchmarks.store
	$(BIN)/python -m benchmarks.rows
	$(BIN)/python -m benchmarks.probes
	$(BIN)/python -m benchmarks.evaluate
	$(BIN)/python -m benchmarks.capture tiny
	$(BIN)/python -m benchmarks.capture memory
	$(BIN)/python -m benchmarks.capture unet
	$(BIN)/python -m benchmarks.capture full
	$(BIN)/python -m benchmarks.world
	$(BIN)/python -m benchmarks.report
	$(BIN)/python -m benchmarks.verdicts
	$(BIN)/python -m benchmarks.interventions speed
	$(BIN)/python -m benchmarks.paint speed
	$(BIN)/python -m benchmarks.paint page
	$(BIN)/python -m benchmarks.paint memory

docs: .venv/.installed
	$(BIN)/python -m mkdocs build --strict --site-dir site

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
