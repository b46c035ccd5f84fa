"""kill -9 at random moments of an extraction: what is resumed ends complete, and equal to an undisturbed store."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest

import ldmscene
from ldmscene import testbed
from ldmscene.store import layout
from ldmscene.store.check import find_faults
from tests.conftest import FIRST, files, make_manifest

KILLS = 100


def extract(root: Path, ready) -> None:
    """In a process of its own: say when the model is loaded, then extract."""
    import torch

    from ldmscene import capture

    torch.set_num_threads(1)
    pipeline = capture.load_pipeline(testbed.MODELS["tiny-scenes"], "cpu")
    ready.send(True)
    ldmscene.extract(pipeline, make_manifest(6, 2), root, [FIRST], steps=2, batch_size=2, progress=False)


def _run(context, root: Path, kill_after: float | None) -> bool:
    """Whether it was killed before it ended."""
    here, there = context.Pipe()
    process = context.Process(target=extract, args=(root, there))
    process.start()
    assert here.recv()
    process.join(kill_after)
    killed = process.is_alive()
    if killed:
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert killed or process.exitcode == 0
    return killed


def _arrays(root: Path) -> dict[str, bytes]:
    return {name: data for name, data in files(root).items() if not name.startswith(layout.LEDGER)}


def _serves_only_what_is_whole(root: Path, undisturbed: ldmscene.ActivationStore) -> None:
    """Whatever a reader gets from a store whose writer was just killed is what it should be."""
    try:
        store = ldmscene.open(root)
    except ldmscene.errors.StoreError:  # killed before there was one
        return
    done = store.samples.query("complete")["sample_id"]
    if len(done):
        rows = undisturbed.rows(done)
        np.testing.assert_array_equal(store.activations(FIRST).values, undisturbed.activations(FIRST).values[rows])


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.timeout(1800)
def test_killed_a_hundred_times_nothing_is_lost_and_nothing_torn_is_served(tmp_path, capsys):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ldmscene.pipeline", "torch", "diffusers", "tests.stages.test_kills"])
    _run(context, tmp_path / "undisturbed", None)
    undisturbed = ldmscene.open(tmp_path / "undisturbed")
    wanted = _arrays(undisturbed.root)
    draw, kills, stores = np.random.default_rng(0), 0, 0
    while kills < KILLS:
        root = tmp_path / f"killed-{stores}"
        while _run(context, root, draw.uniform(0, 1.5)):
            kills += 1
            _serves_only_what_is_whole(root, undisturbed)
        assert _arrays(root) == wanted
        assert find_faults(root) == []
        stores += 1
    with capsys.disabled():
        print(f"\nkilled {kills} times, {stores} stores ended complete and equal to an undisturbed one, byte for byte")
