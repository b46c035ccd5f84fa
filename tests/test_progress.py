"""Progress in a real terminal, and silence in a pipe."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import dask
import nbformat
from nbclient import NotebookClient

from ldmscene.evaluation.running import Job, compute

_WORK = """
from ldmscene.progress import bar
with bar("extracting", 4) as advance:
    for _ in range(4):
        advance(1, 2_500_000)
"""


def in_a_terminal(command: list[str], typed: str = "") -> str:
    """What a process shows on a real terminal, where something is typed."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "200"},
    ):
        os.close(theirs)
        os.write(ours, typed.encode())
        seen = b""
        try:
            while part := os.read(ours, 65536):
                seen += part
        except OSError:  # Linux says so when the other end is closed
            pass
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())


def test_a_terminal_sees_count_rate_bytes_and_time():
    seen = in_a_terminal([sys.executable, "-c", _WORK])
    assert "extracting" in seen
    assert "4/4" in seen
    assert "/s" in seen
    assert "10.0 MB" in seen
    assert "left" in seen


def test_a_pipe_sees_nothing():
    done = subprocess.run([sys.executable, "-c", _WORK], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_a_bar_within_a_bar_has_a_line_of_its_own_while_it_lasts():
    within = "    import time\n    with bar('absorbing', 2) as inner: inner(); time.sleep(0.5)\n"
    seen = in_a_terminal([sys.executable, "-c", _WORK + within])
    shown = seen.replace("\r", "\n").splitlines()
    assert any(line.startswith("absorbing") and "1/2" in line for line in shown)
    assert [line for line in shown if line.strip()][-1].startswith("extracting")


def test_a_notebook_sees_the_bar():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(_WORK)])
    NotebookClient(notebook, timeout=100, kernel_name="python3").execute()
    seen = "".join(output.get("text", "") for output in notebook.cells[0].outputs)
    assert "extracting" in seen
    assert "4/4" in seen
    assert "10.0 MB" in seen


def test_a_verb_shows_its_bar_on_a_terminal_and_none_in_a_pipe(two):
    command = [sys.executable, "-m", "ldmscene.cli", "verify", str(two.root)]
    count = len(two.ledger)
    seen = in_a_terminal(command)
    assert "verifying" in seen
    assert f"{count}/{count}" in seen
    assert "every byte is as it was written" in seen
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert done.stderr == f"{two.root}: every byte is as it was written\n"


def test_every_job_counts_once(monkeypatch):
    told = []

    class _Bar:
        def __enter__(self):
            return lambda count, size: told.append((count, size))

        def __exit__(self, *_):
            pass

    monkeypatch.setattr("ldmscene.evaluation.running.bar", lambda *_, **__: _Bar())
    first = dask.delayed(sum)([1, 2])
    jobs = [Job(dask.delayed(lambda a, b: a + b)(first, n), size=n) for n in range(5)]
    assert compute(jobs, title="x") == [3, 4, 5, 6, 7]
    assert sorted(told) == [(1, n) for n in range(5)]
