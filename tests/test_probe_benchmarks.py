"""Benchmarks run at a small size, so that they can't rot; what they measure there means nothing."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from benchmarks import evaluate, probes


@pytest.mark.parametrize(("benchmark", "rows"), [(probes, 17), pytest.param(evaluate, 5, marks=pytest.mark.slow)])
def test_every_row_is_measured(benchmark, rows, monkeypatch):
    tables = []
    monkeypatch.setattr(benchmark, "table", lambda found: tables.append(found) or "")
    done = CliRunner().invoke(benchmark.main, ["--quick"], catch_exceptions=False)
    assert done.exit_code == 0
    (found,) = tables
    assert len(found) == rows
    assert all(one["seconds"] > 0 or one["theirs"] > 0 for one in found)
    for one in found:
        if "of one image" in one["work"]:
            assert float(one["note"].removeprefix("apart by ").partition(",")[0]) < 1e-10
        if "samples" in one["work"] and benchmark is probes:  # fits that others make, too
            assert 0 < float(one["note"].partition("coefficients apart by ")[2].split()[0]) < 1e-3
