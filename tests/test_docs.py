"""The documentation: its site builds, every public name has its place, and what its pages show runs."""

from __future__ import annotations

import inspect
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import ldmscene
from ldmscene.presets import PRESETS, Preset
from tests.conftest import make_manifest
from tests.test_readme import folder, python_blocks  # noqa: F401, a fixture

ROOT = Path(__file__).parents[1]


def test_the_site_builds_and_its_reference_has_every_public_name(tmp_path):
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, env={"NO_MKDOCS_2_WARNING": "1", "PATH": ""})
    page = (tmp_path / "reference" / "index.html").read_text()
    for name in ldmscene.__all__:
        assert re.search(rf"ldmscene\.{name}\b", page), name
    outside = re.findall(r'(?:src|<link[^>]* href)="(?:https?:)?//[^"]+', page)
    assert outside == []


PAGES = {"index": 2, "how-to": 9, "models-and-labelers": 1, "stores": 1, "training-data": 2}  # in reading order
SLOW = ("interventions", "paint")
COSTS = runpy.run_path(str(ROOT / "docs" / "costs.py"))


@pytest.fixture
def fewer_modules(monkeypatch):
    """Where a page names no modules, three of the sixteen are meant, for speed."""
    few = Preset("self-attention", r"(down_blocks\.0|mid_block|up_blocks\.3)\.attentions\.0\..*\.attn1\.to_out\.0")
    monkeypatch.setitem(PRESETS._values, few.name, few)


def test_what_the_pages_show_runs(store, folder, fewer_modules):  # noqa: F811
    ids = make_manifest(6, 2).frame["sample_id"].tolist()
    names: dict = {"part_maps": {one: (np.indices((64, 64))[1] // 16 + i) % 4 * 1.0 for i, one in enumerate(ids)}}
    for page, count in PAGES.items():
        blocks = python_blocks(_page(page))
        assert len(blocks) == count, page
        for block in blocks:
            exec(compile(block, f"docs/{page}.md", "exec"), names)
    assert (folder / "report" / "index.html").exists()
    assert ldmscene.open("stores/small").samples["dropped"].sum() == 6


@pytest.mark.slow
def test_what_the_pages_on_interventions_show_runs(tiny, folder):  # noqa: F811
    made = ldmscene.extract(tiny, "manifests/demo.csv", "stores/demo", steps=15, batch_size=8, guidance_scale=3.0)
    for target in ("depth", "mask", "shading"):
        ldmscene.label(made, target, f"tiny-{target}")
    names = {"pipeline": tiny, "torch": torch}
    for page in SLOW:
        for block in python_blocks(_page(page)):
            exec(compile(block, f"docs/{page}.md", "exec"), names)
    assert names["image"].size == (64, 64)


def test_no_page_shows_python_that_is_not_run():
    shown = {path.stem for path in (ROOT / "docs").glob("*.md") if python_blocks(path.read_text())}
    assert shown == {*PAGES, *SLOW}


def test_the_table_of_costs_is_what_the_models_configurations_say():
    """By the script that the page names."""
    assert COSTS["table"]() in _page("costs")


@pytest.mark.parametrize("preset", ["self-attention", "resnet", "all-blocks"])
def test_the_table_of_costs_reckons_as_an_estimate_of_a_real_run_does(tiny, tmp_path, preset):
    found = ldmscene.estimate(tiny, make_manifest(2, 1), tmp_path / "s", preset, steps=2, batch_size=3)
    factor = tiny.vae_scale_factor
    modules = ldmscene.list_modules("tiny-scenes", preset)
    one, files = COSTS["of_one"](modules, 2, tiny.unet.config.sample_size * factor, factor)
    chunks = 2 * (len(modules) + 1) + 1  # of activations and latents two steps, one picture
    checks = 20 * chunks + 4 * files  # Zarr's shards: offset, length and crc32c of each chunk, crc32c of the index
    assert (found["bytes"], found["files"]) == (3 * (one + checks), 3 * files)


def _page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text()


_CALLS = {f"ldmscene.{n}": getattr(ldmscene, n) for n in ldmscene.__all__} | {
    f"ldmscene.plot.{n}": getattr(ldmscene.plot, n) for n in ldmscene.plot.__all__
}


@pytest.mark.parametrize("name", [name for name, call in _CALLS.items() if inspect.isfunction(call)])
def test_every_argument_of_a_public_call_is_documented(name):
    call = _CALLS[name]
    text = inspect.getdoc(call) or ""
    assert len(text.splitlines()[0]) > 20
    documented = _parameters(text)
    assert set(inspect.signature(call).parameters) == documented


def _parameters(text: str) -> set[str]:
    """Names at the left margin of a docstring's section on parameters."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", text, re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^(\w[\w, ]*?)(?: : .*)?$", section[1] if section else "", re.MULTILINE)
    return {name for head in heads for name in head.split(", ")}
