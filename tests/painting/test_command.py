"""The command, from its first line to Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from urllib.request import urlopen

import pytest

from ldmscene.calls import paint
from ldmscene.errors import InputError
from tests.conftest import files


@pytest.mark.slow
def test_it_prints_an_address_serves_it_and_ends_cleanly_on_an_interrupt(store, grid):
    before = files(store.root)
    command = [sys.executable, "-m", "ldmscene", "paint", str(store.root), "--model", "tiny-scenes", "--json"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # also where pytest runs in the background
    ) as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["address"]
        with urlopen(address, timeout=20) as answer:
            assert b"Paint a map" in answer.read()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in said
    assert files(store.root) == before


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setattr(paint, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"paint needs starlette and uvicorn; .* pip install 'ldmscene\[paint\]'"):
        paint.paint("nowhere")
