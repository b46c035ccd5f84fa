"""kill -9 at random moments of an intervention: what is resumed ends with the bytes of an undisturbed one."""

from __future__ import annotations

import time

import numpy as np
import pytest

import ldmscene
from ldmscene import edits
from tests.conftest import files
from tests.killing import killed, preloaded

KILLS, CONTROLS = 12, ("none", "random:1")


def intervene(pipeline, store: str, edit: str, root: str) -> None:
    ldmscene.intervene(
        store, edits.Edit.load(edit), root, controls=CONTROLS, model=pipeline, batch_size=2, progress=False
    )


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_again_and_again_it_ends_with_the_same_bytes(store, edit, tmp_path):
    edit.save(tmp_path / "edit")
    undisturbed, resumed = (
        [str(store.root), str(tmp_path / "edit"), str(tmp_path / name)] for name in ("undisturbed", "killed")
    )
    context = preloaded("ldmscene.calls.intervene", "tests.intervention.test_killed_edits")
    began = time.perf_counter()
    killed(context, intervene, undisturbed)
    longest = (time.perf_counter() - began) / 3
    draw = np.random.default_rng(0)
    kills = sum(killed(context, intervene, resumed, after=draw.uniform(0, longest)) for _ in range(KILLS))
    killed(context, intervene, resumed)
    ours, theirs = (
        {name: data for name, data in files(tmp_path / which).items() if "/c." in name or name.endswith("/c")}
        for which in ("killed", "undisturbed")
    )
    print(f"killed {kills} times")
    assert kills >= 3
    assert ours == theirs
    assert any(name.startswith("controls/random-0/") for name in ours)
