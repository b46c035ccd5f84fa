"""The benchmark of capturing runs, untimed, so that it can't rot."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import capture as benchmark


def test_capture_and_store_beside_the_pipeline_alone(tiny):
    rows = benchmark.overhead(tiny, samples=3, steps=1, batch_size=2, rounds=1)
    assert [row["way"] for row in rows] == ["pipeline alone", "captured and stored"]
    assert all(row["seconds"] > 0 for row in rows)


def test_memory_is_what_the_kernel_says():
    lines = Path("/proc/self/status").read_text().splitlines()
    most = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    assert benchmark.peak() == pytest.approx(most, rel=0.02)
