"""Workers read a store that their parent has read; were a pool handed down, they would wait for ever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.store import reading_workers, worlds

PATIENCE = 120  # seconds


def _read(root: str | Path, start: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", reading_workers.__name__, str(root), start]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_workers_read_what_their_parent_reads(tmp_path, start):
    root = worlds.make(tmp_path / "store", compression="lossless" if start == "fork" else "none").root
    done = _read(root, start)
    assert done.stdout == "4 maps are the same\n", done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_worker_is_told_how_to_read_an_object_store(s3):
    root = f"{s3}/forked"
    worlds.make(root)
    assert "multiprocessing_context='spawn'" in _read(root, "fork").stderr
    assert _read(root, "spawn").stdout == "4 maps are the same\n"
