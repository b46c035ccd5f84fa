"""The benchmark of capturing runs, untimed, so that it can't rot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import capture as benchmark


def test_capture_and_store_beside_the_pipeline_alone(tiny):
    rows = benchmark.overhead(tiny, samples=3, steps=1, batch_size=2, rounds=1)
    assert [row["way"] for row in rows] == ["pipeline alone", "captured and stored"]
    assert all(row["seconds"] > 0 for row in rows)


def test_memory_is_a_process_own_whatever_its_parent_holds():
    code = "from benchmarks.harness import peak; import numpy as np; a = peak(); np.ones(2**25); print(peak() - a)"
    held = np.ones(2**27)
    found = int(subprocess.check_output([sys.executable, "-c", code], cwd=Path(__file__).parents[1]))
    assert found == pytest.approx(2**28, rel=0.05)
    assert held.all()
