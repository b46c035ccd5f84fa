"""Small stores without a model: random arrays under the names that a real one has."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ldmscene.manifest import Manifest, read_manifest
from ldmscene.store import ActivationStore, ArraySpec, Row, StoreWriter
from ldmscene.store.compression import compress
from ldmscene.store.layout import IMAGE, LATENTS, activation_path
from ldmscene.store.places import Place
from ldmscene.store.prepare import prepare_store

MODULE, STEPS = "up_blocks.3.attn", 3
CONFIG = {"branches": ["cond"], "steps": STEPS, "weights": "none"}
SPECS = [
    ArraySpec(activation_path(MODULE), ("step", "branch", "y", "x", "channel"), (STEPS, 1, 4, 4, 6), "float16", cut=2),
    ArraySpec(LATENTS, ("step", "c", "latent_y", "latent_x"), (STEPS, 4, 4, 4), "float32", cut=1),
    ArraySpec(IMAGE, ("Y", "X", "rgb"), (8, 8, 3), "uint8"),
]


def plan(samples: int) -> Manifest:
    return read_manifest([(f"prompt {i}", i) for i in range(samples)]).with_splits(
        ["test" if i % 3 == 2 else "train" for i in range(samples)]
    )


def values(index: int) -> dict[str, np.ndarray]:
    """What the sample in one row of the manifest holds."""
    draw = np.random.default_rng(index)
    return {s.path: (draw.normal(size=s.shape) * 50 + 100).astype(s.dtype) for s in SPECS}


def prepare(root: str | Place, samples: int, compression: str = "none") -> ActivationStore:
    return prepare_store(
        root, CONFIG, plan(samples), [MODULE], [9.0, 5.0, 1.0], _specs(compression), lambda n: sorted({*n}), compression
    )


def fill(store: ActivationStore, rows: range | list[int]) -> None:
    """Write some samples as a run would."""
    with StoreWriter(store.root, _specs(store.compression)) as writer:
        for index in rows:
            writer.put(Row(store.manifest.frame["sample_id"][index], index, values(index)))
    store.refresh()


def fill_rest(root: str | Place, samples: int) -> ActivationStore:
    """Bring a store to hold all samples, as the same call of `extract` would after whatever happened."""
    store = prepare(root, samples)
    fill(store, np.flatnonzero(~store.samples["complete"]).tolist())
    return store


def make(root: str | Place, samples: int = 4, compression: str = "none") -> ActivationStore:
    store = prepare(root, samples, compression)
    fill(store, range(samples))
    return store


def _specs(compression: str) -> list[ArraySpec]:
    return compress(SPECS, compression)


def small_grid() -> xr.Dataset:
    """One target and module at three steps, two held-out samples."""
    means, cells = ("target", "metric", "module", "step"), ("target", "module", "step")
    whole = {name: (means, np.zeros((1, 1, 1, 3))) for name in ("low", "high", "degenerate")}
    each = {name: (cells, np.zeros((1, 1, 3))) for name in ("alpha", "cv_score", "at_edge")}
    scores = np.arange(6.0).reshape(1, 1, 1, 3, 2)
    grid = xr.Dataset(
        {
            **dict.fromkeys(("probe", "shuffled"), ((*means, "sample"), scores)),
            **whole,
            **each,
            "baseline": (("reading", "target", "metric", "step", "sample"), scores),
        },
        {
            "target": ["depth"], "metric": ["spearman"], "module": [MODULE], "step": range(3), "sample": ["a", "b"],
            "reading": ["mean label"], "timestep": ("step", [9.0, 5.0, 1.0]), "prompt": ("sample", [0, 1]),
            "higher_is_better": ("metric", [True]), "of_class": ("target", [np.nan]), "deviation": ("target", [1.0]),
            **{name: ("target", [name]) for name in ("primary", "kind", "labels")},
            **{name: ("module", [name]) for name in ("block", "level")},
            **{name: ("module", [4]) for name in ("height", "width", "channels")},
        },
        {"provenance": "{}"},
    )  # fmt: skip
    return grid.assign_coords(primary=("target", ["spearman"]))
