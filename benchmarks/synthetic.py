"""Stores of any size without a model: features that know the labels, among noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ldmscene.cells import block_sum
from ldmscene.manifest import read_manifest
from ldmscene.store import ActivationStore, ArraySpec, Row, StoreWriter
from ldmscene.store.layout import IMAGE, LATENTS, activation_path, label_path
from ldmscene.store.prepare import prepare_store

MODULE = "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"


def smooth(rng: np.random.Generator, count: int, side: int, coarse: int = 8) -> np.ndarray:
    """Maps (count, side, side) of blobs, float32, about zero."""
    low = rng.normal(size=(count, coarse, coarse)).astype(np.float32)
    return low.repeat(side // coarse, 1).repeat(side // coarse, 2) + 0.1 * rng.normal(size=(count, side, side))


def features(rng: np.random.Generator, labels: np.ndarray, grid: int, channels: int) -> np.ndarray:
    """Activations (sample, y, x, channel) float16 that hold labels (target, sample, H, W) in some directions."""
    cells = np.stack([block_sum(maps, (grid, grid)) / (maps.shape[1] // grid) ** 2 for maps in labels], -1)
    signal = cells @ rng.normal(size=(len(labels), channels))
    return (signal + rng.normal(size=signal.shape) * np.logspace(1, -1, channels)).astype(np.float16)


def make_store(root: Path, samples: int, *, channels: int, grid: int, side: int, steps: int = 1) -> ActivationStore:
    """A store with one module, three targets and two samples a prompt, two thirds of them for training."""
    rng = np.random.default_rng(0)
    manifest = read_manifest([(f"prompt {i // 2}", i) for i in range(samples)])
    manifest = manifest.with_splits(["test" if i // 2 % 3 == 0 else "train" for i in range(samples)])
    targets = {"depth": "continuous", "shading": "continuous", "mask": "binary"}
    specs = [
        ArraySpec(
            activation_path(MODULE),
            ("step", "branch", "y", "x", "channel"),
            (steps, 1, grid, grid, channels),
            "float16",
            cut=2,
        ),
        ArraySpec(IMAGE, ("Y", "X", "rgb"), (side, side, 3), "uint8"),
        ArraySpec(LATENTS, ("step", "c", "latent_y", "latent_x"), (steps, 4, grid, grid), "float32", cut=1),
        *(
            ArraySpec(label_path(t), ("Y", "X"), (side, side), "float32", attributes={"kind": kind})
            for t, kind in targets.items()
        ),
    ]
    config = {"branches": ["cond"], "components": {}, "synthetic": [samples, channels, grid, side, steps]}
    prepare_store(root, config, manifest, [MODULE], range(steps), specs, list)
    with StoreWriter(root, specs) as writer:
        for index, sample_id in enumerate(manifest.frame["sample_id"]):
            labels = smooth(rng, 3, side)
            labels[2] = labels[2] > 0.5
            labels[1, :2] = np.nan
            maps = np.nan_to_num(labels)[:, None].repeat(steps, 1)
            writer.put(
                Row(
                    sample_id,
                    index,
                    {
                        activation_path(MODULE): features(rng, maps, grid, channels)[:, None],
                        IMAGE: np.zeros((side, side, 3), np.uint8),
                        LATENTS: rng.normal(size=(steps, 4, grid, grid)).astype(np.float32),
                        **{label_path(t): one.astype(np.float32) for t, one in zip(targets, labels, strict=True)},
                    },
                )
            )
    return ActivationStore(root)
