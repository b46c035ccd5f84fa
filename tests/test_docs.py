"""The documentation: its site builds, every public name has its place, and what its pages show runs."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ldmscene
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


def test_what_the_pages_show_runs(store, folder):  # noqa: F811
    names: dict = {}
    for page in ("index", "how-to", "training-data"):
        blocks = python_blocks((ROOT / "docs" / f"{page}.md").read_text())
        assert len(blocks) > 1
        for block in blocks:
            exec(compile(block, f"docs/{page}.md", "exec"), names)
    assert (folder / "report" / "index.html").exists()


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
