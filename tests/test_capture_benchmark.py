"""The benchmark of capturing runs, untimed, so that it can't rot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import capture as benchmark
from ldmscene.store.disk import Disk


def test_capture_and_store_beside_the_pipeline_alone(tiny, monkeypatch):
    calls, stored, write = [], [], Disk.write

    def counted(disk, key, data):
        stored.extend([key] if "/c." in key else [])
        write(disk, key, data)

    monkeypatch.setattr(Disk, "write", counted)
    handle = tiny.unet.register_forward_hook(lambda *_: calls.append(1))
    try:
        alone, captured = benchmark.overhead(tiny, samples=3, steps=1, batch_size=2, rounds=1)
    finally:
        handle.remove()
    assert (alone["way"], captured["way"]) == ("pipeline alone", "captured and stored")
    key = "speed ÷ pipeline alone"
    assert (alone[key], captured[key]) == (1, pytest.approx(alone["seconds"] / captured["seconds"], abs=2e-3))
    runs = 2 + 3  # each way warm and timed, and one run that counts its calls
    assert len(calls) == runs * 2
    assert len(stored) == 3 * 3 * (16 + 2)  # three times three samples of sixteen modules, picture and latents


def test_memory_is_a_process_own_whatever_its_parent_holds():
    code = (
        "import numpy as np; from ldmscene.device import peak_memory; "
        "before = peak_memory(); np.ones(2**25); print(peak_memory() - before)"
    )
    held = np.ones(2**27)
    found = int(subprocess.check_output([sys.executable, "-c", code], cwd=Path(__file__).parents[1]))
    assert found == pytest.approx(2**28, rel=0.05)
    assert held.all()
