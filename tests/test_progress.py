"""Progress in a real terminal, and silence in a pipe."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import dask

from ldmscene.stages.fitting import compute

_WORK = """
from ldmscene.progress import bar
with bar("extracting", 4) as advance:
    for _ in range(4):
        advance(1, 2_500_000)
"""


def _in_a_terminal(code: str) -> str:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    ):
        os.close(theirs)
        seen = b""
        try:
            while part := os.read(ours, 65536):
                seen += part
        except OSError:  # Linux says so when the other end is closed
            pass
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())


def test_a_terminal_sees_count_rate_bytes_and_time():
    seen = _in_a_terminal(_WORK)
    assert "extracting" in seen
    assert "4/4" in seen
    assert "/s" in seen
    assert "10.0 MB" in seen
    assert "left" in seen


def test_a_pipe_sees_nothing():
    done = subprocess.run([sys.executable, "-c", _WORK], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_every_job_counts_once(monkeypatch):
    told = []

    class _Bar:
        def __enter__(self):
            return lambda count, size: told.append((count, size))

        def __exit__(self, *_):
            pass

    monkeypatch.setattr("ldmscene.stages.fitting.bar", lambda *_, **__: _Bar())
    first = dask.delayed(sum)([1, 2])
    assert compute([dask.delayed(lambda a, b: a + b)(first, n) for n in range(5)], title="x", size=3) == [3, 4, 5, 6, 7]
    assert told == [(1, 3)] * 5
