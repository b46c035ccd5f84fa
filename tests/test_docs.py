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


_CALLS = {f"ldmscene.{n}": getattr(ldmscene, n) for n in ldmscene.__all__} | {
    f"ldmscene.plot.{n}": getattr(ldmscene.plot, n) for n in ldmscene.plot.__all__
}


@pytest.mark.parametrize("name", [name for name, call in _CALLS.items() if inspect.isfunction(call)])
def test_every_argument_of_a_public_call_is_documented(name):
    call = _CALLS[name]
    text = inspect.getdoc(call) or ""
    assert len(text.splitlines()[0]) > 20
    documented = _parameters(text)
    if name == "ldmscene.extract_images":  # what isn't there is said to be as for `extract`
        assert "Others as for `extract`" in text
        documented |= _parameters(inspect.getdoc(ldmscene.extract) or "")
        assert set(inspect.signature(call).parameters) <= documented
    else:
        assert set(inspect.signature(call).parameters) == documented


def _parameters(text: str) -> set[str]:
    """Names at the left margin of a docstring's section on parameters."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", text, re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^(\w[\w, ]*?)(?: : .*)?$", section[1] if section else "", re.MULTILINE)
    return {name for head in heads for name in head.split(", ")}
