"""kill -9 at random moments of an intervention: what is resumed ends with the bytes of an undisturbed one."""

from __future__ import annotations

import multiprocessing
import os
import signal

import numpy as np
import pytest

import ldmscene
from ldmscene import edits, testbed
from tests.conftest import files

KILLS, CONTROLS = 12, ("none", "random:1")


def intervene(store: str, edit: str, root: str, environment: dict[str, str], ready) -> None:
    """In a process of its own: say when the model is loaded, then edit."""
    os.environ.update(environment)  # the server of processes has that of its own start
    import torch

    from ldmscene import capture

    torch.set_num_threads(1)
    pipeline = capture.load_pipeline(testbed.MODELS["tiny-scenes"], "cpu")
    ready.send(True)
    ldmscene.intervene(
        store, edits.Edit.load(edit), root, controls=CONTROLS, model=pipeline, batch_size=2, progress=False
    )


def _run(context, *words: str, kill_after: float | None = None) -> bool:
    """Whether it was killed before it ended."""
    here, there = context.Pipe()
    process = context.Process(target=intervene, args=(*words, dict(os.environ), there))
    process.start()
    assert here.recv()
    process.join(kill_after)
    killed = process.is_alive()
    if killed:
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert killed or process.exitcode == 0
    return killed


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_again_and_again_it_ends_with_the_same_bytes(store, edit, tmp_path):
    edit.save(tmp_path / "edit")
    words = (str(store.root), str(tmp_path / "edit"))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ldmscene.calls.intervene", "torch", "diffusers"])
    _run(context, *words, str(tmp_path / "undisturbed"))
    draw = np.random.default_rng(0)
    kills = sum(_run(context, *words, str(tmp_path / "killed"), kill_after=draw.uniform(0, 8)) for _ in range(KILLS))
    _run(context, *words, str(tmp_path / "killed"))
    ours, theirs = (
        {name: data for name, data in files(tmp_path / which).items() if "/c." in name or name.endswith("/c")}
        for which in ("killed", "undisturbed")
    )
    assert kills > 0
    assert ours == theirs
    assert any(name.startswith("controls/random-0/") for name in ours)
