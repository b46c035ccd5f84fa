"""What needs no model loads none: each call in a process of its own, by the names of the modules that it loaded."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

import ldmscene
from tests.conftest import bare_copy

HEAVY = ("torch", "diffusers", "transformers", "matplotlib", "accelerate", "torchvision")
LOADED = f"\nimport sys; print('LOADED', *[name for name in {HEAVY} if name in sys.modules])"


@pytest.fixture(scope="module")
def evaluated(store, tmp_path_factory) -> str:
    """A store's path; something is fitted to it already, and something isn't."""
    copied = bare_copy(store, tmp_path_factory.mktemp("front") / "store")
    ldmscene.evaluate(copied, ["depth"], steps=[0], cv=3)
    return str(copied.root)


def _run(code: str) -> tuple[list[str], str]:
    """Names of what a script loaded, and what it printed to stderr."""
    # That a store has no control is ours to say, and said.
    quiet = "import warnings, ldmscene.errors as e; warnings.simplefilter('ignore', e.ControlWarning)\n"
    done = subprocess.run([sys.executable, "-c", quiet + code + LOADED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.rpartition("LOADED")[2].split(), done.stderr


CALLS = {
    "open": "store.samples, store.modules, store.steps, store.targets, repr(store), store._repr_html_()",
    "read": "store.activations(store.modules[0], step=1, split='train').max().compute(), store.images(split='test'), "
    "store.latents(), store.labels('mask'), store.sel(step=0, module=store.modules[0])",
    "verify": "ldmscene.verify(store)",
    "repair": "ldmscene.repair(store)",
    "evaluate": "ldmscene.emergence(ldmscene.evaluate(store, ['mask', 'shading'], steps=[2], cv=3))",
    "evaluate again": "ldmscene.evaluate(store, ['depth'], steps=[0], cv=3)",
    "evaluate classes of probes": "ldmscene.evaluate(store, ['mask'], steps=[0], cv=3, probe='logistic')",
    "probe": "ldmscene.RidgeProbe().fit(store.activations(store.modules[0], step=0), store.labels('depth'))",
    "logistic probe": "ldmscene.LogisticProbe().fit(store.activations(store.modules[0], step=0), "
    "store.labels('mask') > 0.5)",
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_needs_no_model_loads_none_and_prints_nothing(call, evaluated):
    loaded, said = _run(f"import ldmscene\nstore = ldmscene.open({evaluated!r})\n{CALLS[call]}")
    assert loaded == []
    assert said == ""


def test_a_report_and_figures_load_matplotlib_alone(evaluated, tmp_path):
    loaded, _ = _run(
        f"import ldmscene\nstore = ldmscene.open({evaluated!r})\ngrid = ldmscene.evaluate(store, ['depth'], steps=[0], "
        f"cv=3)\nldmscene.plot.curves(grid, 'depth')\nldmscene.write_report(store, grid, {str(tmp_path / 'report')!r}, "
        "samples=1, progress=False)"
    )
    assert loaded == ["matplotlib"]


@pytest.mark.parametrize(
    "words",
    [
        ["info", "{store}"],
        ["info", "{store}", "--json"],
        ["verify", "{store}"],
        ["repair", "{store}"],
        ["evaluate", "{store}", "--targets", "depth", "--steps", "0", "--cv", "3"],
        ["extract", "tiny-scenes", "nowhere.csv", "--store", "{store}"],
        ["extract", "tiny-scenes", "{store}/manifest.parquet", "--batch-size", "0"],
        ["extract", "tiny-scenes", "{store}/manifest.parquet", "--part", "3/2"],
        ["extract-images", "tiny-scenes", "nowhere", "--store", "s", "--timestep", "100"],
        ["run", "nowhere.csv"],
        ["extract", "nowhere/model", "{store}/manifest.parquet", "--store", "{store}"],
        ["extract", "tiny-scenes", "{store}/manifest.parquet", "--store", "{store}/ledger"],
        ["extract-images", "tiny-scenes", "{store}", "--store", "s", "--timestep", "100,x"],
        ["run", "{store}/manifest.parquet", "--protocol", "scene"],
        ["run", "{store}/manifest.parquet", "--model", "nowhere/model"],
        ["modules", "nowhere/model"],
        ["label", "nowhere", "depth", "tiny-depth"],
        ["label", "{store}", "depth", "tiny-dept"],
        ["evaluate", "nowhere"],
        ["report", "nowhere", "report"],
        ["--help"],
        ["extract", "--help"],
    ],
    ids=" ".join,
)
def test_a_verb_that_needs_no_model_loads_none_and_so_does_one_that_refuses(words, evaluated):
    words = [word.format(store=evaluated) for word in words]
    code = f"from ldmscene import cli\ntry: cli.main({words!r})\nexcept SystemExit: pass"
    loaded, said = _run(code)
    assert loaded == []
    assert not any(name in said for name in HEAVY)


def test_repair_makes_whole_without_a_model(evaluated, tmp_path):
    shutil.copytree(evaluated, tmp_path / "store")
    broken = tmp_path / "store" / "activations.zarr" / "image" / "c.0.0.0.0"
    broken.write_bytes(broken.read_bytes()[:-1])
    loaded, _ = _run(f"import ldmscene\nassert len(ldmscene.repair({str(tmp_path / 'store')!r})) == 1")
    assert loaded == []
