"""The wheel, installed elsewhere, does a whole study and the demo's dry run, without the clone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.conftest import bare_copy

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with the wheel's content and its command; what else it needs comes from this environment."""
    builder = pytest.importorskip("hatchling.builders.wheel")
    folder = tmp_path_factory.mktemp("wheel")
    (wheel,) = builder.WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def _run(installed: Path, cwd: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    done = subprocess.run([sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_what_the_demo_needs(installed):
    for name in ("py.typed", "testbed/demo.csv", "store/schema.json", "testbed/weights/tiny-scenes/model_index.json"):
        assert (installed / "ldmscene" / name).is_file()
    assert not (installed / "tests").exists()


def test_links_of_the_description_work_without_the_clone(installed):
    (found,) = installed.glob("*.dist-info/METADATA")
    text = Parser().parsestr(found.read_text())
    links = re.findall(r"\]\(([^)]+)\)|(?:src|srcset|href)=\"([^\"]+)\"", text.get_payload())
    assert len(links) > 5
    assert [link for pair in links for link in pair if link and not link.startswith(("https://", "#"))] == []
    assert "ldmscene.open" in text.get_payload()
    assert all(", https://" in url for url in text.get_all("Project-URL"))


PART = """
import ldmscene
store = ldmscene.open("store")
grid = ldmscene.evaluate(store, "mask", "up_blocks.3.attentions.0", steps=[0, -1], cv=3)
print(ldmscene.emergence(grid).loc["mask", "sentence"])
ldmscene.plot.save(ldmscene.plot.curves(grid), "figures/mask")
X = store.activations("up_blocks.3.attentions.0", step=-1, split="train")
probe = ldmscene.RidgeProbe(cv=3).fit(X, store.labels("depth", "train"), groups=X["prompt"])
print(probe.predict(X).dims, ldmscene.__file__)
"""


def test_a_part_of_a_study_runs_from_the_wheel(store, installed, tmp_path):
    bare_copy(store, tmp_path / "store")
    out = _run(installed, tmp_path, "-c", PART)
    assert "mask: " in out
    assert f"('sample', 'Y', 'X') {installed}" in out
    assert (tmp_path / "figures" / "mask.svg").is_file()


@pytest.mark.slow
def test_a_stranger_does_a_whole_study(installed, tmp_path):
    shutil.copy(ROOT / "examples" / "study.py", tmp_path)
    code = "import ldmscene; print(ldmscene.__file__)"
    assert _run(installed, tmp_path, "-c", code).startswith(str(installed))
    out = _run(installed, tmp_path, "study.py")
    assert "mask: " in out
    assert float(re.search(r"([\d.]+) of the pixels are right", out)[1]) > 0.5
    assert re.search(r"the edit gains \+[\d.]+ ", out)
    assert (tmp_path / "report" / "index.html").is_file()
    assert (tmp_path / "figures" / "mask.pdf").is_file()


@pytest.mark.slow
def test_the_demo_is_run_by_its_name_in_an_empty_folder(installed, tmp_path):
    few = ("--steps", "1", "--modules", "mid_block.attentions.0.*.attn1.to_out.0", "--no-control", "--batch-size", "20")
    out = _run(installed, tmp_path, "-m", "ldmscene", "run", "demo", *few)
    assert "depth: " in out
    assert (tmp_path / "reports" / "demo" / "index.html").is_file()
