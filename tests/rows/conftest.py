"""A store whose every number says where it lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ldmscene.manifest import read_manifest
from ldmscene.store import ActivationStore, ArraySpec, Row, StoreWriter
from ldmscene.store.compression import compress
from ldmscene.store.layout import LATENTS, activation_path
from ldmscene.store.prepare import prepare_store

STEPS, BRANCHES = 3, ["uncond", "cond"]
FINE, COARSE, SAME, WORDS = "up.0.fine", "mid.coarse", "up.1.fine", "words.attn"
SHAPES = {FINE: (4, 8, 5), COARSE: (2, 2, 3), SAME: (4, 8, 2), WORDS: (7, 5)}


def values(sample: int, module: str) -> np.ndarray:
    draw = np.random.default_rng([sample, list(SHAPES).index(module)])
    return draw.normal(2, 1, size=(STEPS, len(BRANCHES), *SHAPES[module])).astype(np.float16)


def make(root: str | Path, samples: int, compression: str = "none") -> ActivationStore:
    """Two samples a prompt; every third prompt is held out."""
    manifest = read_manifest([(f"prompt {i // 2}", i) for i in range(samples)])
    manifest = manifest.with_splits(["test" if i // 2 % 3 == 2 else "train" for i in range(samples)])
    specs = [
        ArraySpec(
            activation_path(module),
            ("step", "branch", *(("y", "x") if len(shape) == 3 else ("token",)), "channel"),
            (STEPS, len(BRANCHES), *shape),
            "float16",
            cut=2,
        )
        for module, shape in SHAPES.items()
    ]
    specs = compress([*specs, ArraySpec(LATENTS, ("step",), (STEPS,), "float32")], compression)
    config = {"branches": BRANCHES}
    store = prepare_store(root, config, manifest, [*SHAPES], range(STEPS), specs, list, compression)
    with StoreWriter(store.root, specs) as writer:
        for index, sample_id in enumerate(manifest.frame["sample_id"]):
            arrays = {activation_path(module): values(index, module) for module in SHAPES}
            writer.put(Row(sample_id, index, arrays | {LATENTS: np.zeros(STEPS, np.float32)}))
    store.refresh()
    return store


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> ActivationStore:
    """Ten samples, of which eight are for training. Its cache is all that a test may change."""
    return make(tmp_path_factory.mktemp("rows") / "store", 10)
