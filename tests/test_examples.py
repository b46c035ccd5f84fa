"""Examples and the tutorial run as they stand, each in an empty folder."""

from __future__ import annotations

import base64
import io
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

import ldmscene

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys) -> Callable[..., str]:
    """Runs an example in an empty folder, in this process, which has imported torch already; returns what it prints."""

    def run_one(name: str, *words: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name, *words])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run_one


def test_every_example_is_listed_and_run_here():
    listed = (EXAMPLES / "README.md").read_text()
    own = Path(__file__).read_text()
    for path in [*EXAMPLES.glob("*.py"), *EXAMPLES.glob("*.ipynb")]:
        assert f"({path.name})" in listed
        assert f'"{path.name}"' in own


@pytest.mark.slow
def test_a_whole_study(run):
    out = run("study.py")
    right = float(re.search(r"([\d.]+) of the pixels are right", out)[1])
    assert right > 1 - _share_of_the_foreground(Path("stores/study"))  # than if all were called background
    assert float(re.search(r"the edit gains ([+-][\d.]+) ", out)[1]) > 0


def _share_of_the_foreground(store: Path) -> float:
    return float(ldmscene.open(store).labels("mask", "test", binary=True).mean())


def test_a_model_of_ones_own(tmp_path, run):
    out = run("own_model.py")
    fingerprints = {line.split("fingerprint ")[1].split(":")[0] for line in out.splitlines() if "fingerprint" in line}
    assert len(fingerprints) == 2
    assert len(list((tmp_path / "stores").iterdir())) == 2


def test_targets_of_ones_own(run):
    rows = [line.split() for line in run("own_target.py").splitlines()]
    last = {row[0]: float(row[2]) for row in rows if len(row) > 2 and row[1] in ("dice", "pearson")}
    assert list(last) == ["brightness=0", "brightness=1", "brightness=2", "edges", "redness"]
    assert all(0.2 < score < 1 for score in last.values())
    assert last["redness"] > 0.7


def test_a_probe_of_ones_own(run):
    found = re.findall(
        r"^step (\d): Spearman of the ridge ([\d.]+), of trees ([\d.]+)$", run("own_probe.py"), re.MULTILINE
    )
    assert [step for step, *_ in found] == ["0", "1", "2", "3"]
    assert all(0.3 < float(score) < 1 for _, *scores in found for score in scores)


def test_a_sparse_autoencoder(run):
    """On prompts that it hasn't seen it explains more than as many principal components."""
    found = re.search(
        r"explained: ([\d.]+) by 4 of 256 features, ([\d.]+) by 4 principal", run("sparse_autoencoder.py")
    )
    assert found
    sparse, linear = map(float, found.groups())
    assert 0.8 < linear < sparse < 0.99


@pytest.mark.slow
def test_a_cluster(tmp_path):
    command = [sys.executable, str(EXAMPLES / "dask_cluster.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "28 of 28 samples" in done.stdout


def test_an_object_store(run, s3):
    out = run("object_store.py", f"{s3}/example")
    assert "28 of 28 samples" in out
    assert "faults: []" in out
    assert "xarray.DataArray 'mask'" in out


@pytest.mark.slow
def test_the_tutorial(tmp_path):
    shutil.copy(EXAMPLES / "prompts.csv", tmp_path)
    notebook = nbformat.read(EXAMPLES / "tutorial.ipynb", as_version=4)
    kept, shown = [_kinds(cell) for cell in notebook.cells], [_shown(cell) for cell in notebook.cells]
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    client.execute()
    assert [_kinds(cell) for cell in notebook.cells] == kept  # what the reader sees is what it does
    assert sum("image/png" in kinds for kinds in kept) == 3
    for before, now in zip(shown, map(_shown, notebook.cells), strict=True):
        for (kind, old), (_, new) in zip(before, now, strict=True):
            if kind == "image/png":
                pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in (old, new)]
                assert pictures[0].shape == pictures[1].shape
                assert pictures[1].std() > 10
            elif kind == "text/plain":  # scores move a little with the number of threads
                assert new.strip()
                assert _decimals(new) == pytest.approx(_decimals(old), abs=0.05)
            else:
                assert 0.5 * len(old) < len(new) < 2 * len(old)
    assert (tmp_path / "report" / "index.html").exists()


def _shown(cell) -> list[tuple[str, str]]:
    """What a cell shows, by kind; progress aside."""
    outputs = [o for o in cell.get("outputs", []) if o.get("name") != "stderr"]
    return [pair for o in outputs for pair in sorted(o.get("data", {"text/plain": o.get("text", "")}).items())]


def _kinds(cell) -> set[str]:
    return {kind for kind, _ in _shown(cell)}


def _decimals(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.\d+", text)]
