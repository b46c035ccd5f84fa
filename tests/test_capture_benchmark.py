"""The benchmark of capturing runs, untimed, so that it can't rot."""

from __future__ import annotations

from benchmarks import capture as benchmark


def test_capture_and_store_beside_the_pipeline_alone(tiny):
    rows = benchmark.overhead(tiny, samples=3, steps=1, batch_size=2, rounds=1)
    assert [row["way"] for row in rows] == ["pipeline alone", "captured and stored"]
    assert all(row["seconds"] > 0 for row in rows)


def test_memory_is_that_of_a_process():
    assert benchmark.peak() > 10**7
