"""Exact truth as a benchmark: what simple readers score on the testbed's world.

python -m benchmarks.world [--quick]

A reader may use the position in the picture anyway: it predicts what the mean map of the training pictures leaves,
by a ridge on its own features without their mean map. `docs/world.md` says what the task is.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from scipy.stats import pearsonr, spearmanr

import ldmscene
from benchmarks import harness
from ldmscene.testbed import Truth, render

MODEL, MODULE, TIMESTEP = "tiny-scenes", "up_blocks.3.attentions.0.transformer_blocks.0.attn1.to_out.0", 100
CELL = 4  # pixels along the side of what a feature belongs to
SIZES = {"train": 300, "test": 100, "unseen": 100}
QUICK = {"train": 20, "test": 6, "unseen": 6}


def colours(truth: Truth) -> np.ndarray:
    """The 4 × 4 pixels of each cell, [n, 16, 16, 48]."""
    return _cells(truth.image / 255.0)


def mask(truth: Truth) -> np.ndarray:
    """The true mask in each cell, [n, 16, 16, 16]."""
    return _cells(truth.mask[..., None].astype(float))


def activations(truth: Truth) -> np.ndarray:
    """A self-attention's output in the embedded model, for the picture with a little noise, [n, 16, 16, channel]."""
    with tempfile.TemporaryDirectory() as folder:
        store = ldmscene.extract_images(
            MODEL, truth.image, Path(folder) / "store", MODULE, timesteps=[TIMESTEP], batch_size=20, progress=False
        )
        return store.activations(MODULE, step=0).to_numpy().astype(float)


READERS: dict[str, Callable[[Truth], np.ndarray]] = {"colours": colours, "true mask": mask, MODEL: activations}


def _cells(maps: np.ndarray) -> np.ndarray:
    n, y, x, c = maps.shape
    return (
        maps.reshape(n, y // CELL, CELL, x // CELL, CELL, c)
        .transpose(0, 1, 3, 2, 4, 5)
        .reshape(n, y // CELL, x // CELL, -1)
    )


def dice(truth: np.ndarray, guess: np.ndarray) -> float:
    found, wanted = guess > 0.5, truth > 0.5
    return 2 * (found & wanted).sum() / (found.sum() + wanted.sum())


def correlation(truth: np.ndarray, guess: np.ndarray) -> float:
    known = np.isfinite(truth)
    return pearsonr(truth[known], guess[known]).statistic


def ranks(truth: np.ndarray, guess: np.ndarray) -> float:
    return spearmanr(truth.ravel(), guess.ravel()).statistic


TARGETS: dict[str, tuple[Callable[[Truth], np.ndarray], str, Callable[[np.ndarray, np.ndarray], float]]] = {
    "depth": (lambda t: t.depth, "Spearman", ranks),
    "mask": (lambda t: t.mask.astype(float), "Dice", dice),
    "shading": (lambda t: t.shading, "Pearson", correlation),
    "normal, right": (lambda t: t.normal[..., 0].astype(float), "Pearson", correlation),
    "normal, up": (lambda t: t.normal[..., 1].astype(float), "Pearson", correlation),
}


def scores(truths: dict[str, Truth]) -> list[dict]:
    """One row for each target and split: the score of position alone and of each reader, mean over pictures."""
    features = {name: {split: read(truth) for split, truth in truths.items()} for name, read in READERS.items()}
    rows = []
    for target, (of, metric, score) in TARGETS.items():
        maps = {split: of(truth) for split, truth in truths.items()}
        mean = np.nanmean(maps["train"], 0)
        fits = {name: _fit(X["train"], maps["train"] - mean) for name, X in features.items()}
        for split in list(truths)[1:]:
            guesses = {"position": np.broadcast_to(mean, maps[split].shape)}
            guesses |= {name: mean + fits[name](features[name][split]) for name in READERS}
            found = {
                name: round(float(np.mean([score(*pair) for pair in zip(maps[split], guess, strict=True)])), 3)
                for name, guess in guesses.items()
            }
            rows.append({"target": target, "score": metric, "split": split, **found})
    return rows


def _fit(X: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A ridge from what features are beyond their mean map."""
    mean = X.mean(0)
    probe = ldmscene.RidgeProbe(fit_intercept=False).fit(X - mean, y, groups=np.arange(len(X)))
    return lambda other: probe.predict(other - mean)


def main(sizes: dict[str, int]) -> None:
    rows = scores({split: render(count, seed=1, split=split)[0] for split, count in sizes.items()})
    harness.save("world", rows)
    Console().print(harness.table(rows, f"exact truth, {sizes['train']} pictures to learn from"))


if __name__ == "__main__":
    main(QUICK if "--quick" in sys.argv else SIZES)
