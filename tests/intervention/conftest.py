"""One edit of the session's store, and one edited store with controls; both are read only."""

from __future__ import annotations

import pytest

import ldmscene
from ldmscene import edits

CONTROLS = ("none", "random:2", "shuffled", "other-target", "wrong-region", "worst-module", "donor", "from")


@pytest.fixture(scope="session")
def grid(store):
    return ldmscene.evaluate(store, targets=["mask", "depth"], progress=False)


@pytest.fixture(scope="session")
def edit(grid) -> edits.Edit:
    return ldmscene.Edit.of(grid, "mask", wanted="shift:0,16", modules="best:3", steps=range(2), strength=2.0)


@pytest.fixture(scope="session")
def edited(store, edit, tiny, tmp_path_factory) -> ldmscene.ActivationStore:
    root = tmp_path_factory.mktemp("edited") / "edited"
    made = ldmscene.intervene(store, edit, root, controls=CONTROLS, model=tiny, batch_size=6, progress=False)
    ldmscene.label(made, "mask", "tiny-mask", progress=False)
    ldmscene.label(made, "depth", "tiny-depth", progress=False)
    return made
