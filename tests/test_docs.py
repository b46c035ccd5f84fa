"""The reference: every public name has its page, and says what it takes and gives."""

from __future__ import annotations

import inspect
import re
import runpy
from pathlib import Path

import pytest

import ldmscene

ROOT = Path(__file__).parents[1]


def test_the_reference_has_every_public_name(tmp_path):
    runpy.run_path(str(ROOT / "docs" / "build.py"))["build"](tmp_path)
    page = (tmp_path / "ldmscene.html").read_text()
    for name in ldmscene.__all__:
        target = tmp_path / "ldmscene" / "plot.html" if name == "plot" else None
        assert target.exists() if target else f'id="{name}"' in page, name
    for module in ("grid", "labelers", "metrics", "plot", "probes"):
        assert (tmp_path / "ldmscene" / f"{module}.html").stat().st_size > 10_000


@pytest.mark.parametrize("name", [n for n in ldmscene.__all__ if inspect.isfunction(getattr(ldmscene, n))])
def test_every_argument_of_a_public_call_is_documented(name):
    call = getattr(ldmscene, name)
    text = inspect.getdoc(call) or ""
    assert len(text.splitlines()[0]) > 20
    if name == "extract_images":  # what isn't there is said to be as for `extract`
        assert "Others as for `extract`" in text
        text += inspect.getdoc(ldmscene.extract) or ""
    for argument in inspect.signature(call).parameters:
        assert re.search(rf"\b{argument}\b", text), f"{name}: {argument}"
