"""Small data sets with a known signal, and the features as a plain library would need them."""

from __future__ import annotations

import numpy as np

from ldmscene.cells import spread
from ldmscene.probes import LogisticSolution, RidgeSolution
from ldmscene.probes.bilinear import lift

GRID, SCALE, SAMPLES, CHANNELS = (4, 3), (2, 4), 14, 5
GROUPS = np.array([0, 0, 1, 1, 2, 2, 2, 3, 4, 4, 5, 5, 6, 6])


def upsampled(X: np.ndarray, mode: str) -> np.ndarray:
    """Maps (sample, y, x, c) at the labels' resolution."""
    channels = np.moveaxis(X, -1, 1)
    shape = GRID[0] * SCALE[0], GRID[1] * SCALE[1]
    return np.moveaxis(lift(channels, shape) if mode == "bilinear" else spread(channels, SCALE), 1, -1)


def linear(X: np.ndarray, solution: RidgeSolution | LogisticSolution) -> np.ndarray:
    """What a solution's coefficients give (..., t) of features (..., c)."""
    return X.astype(np.float64) @ solution.coef.T + solution.intercept


def depth_world(seed: int = 0, holes: bool = True, mode: str = "nearest") -> tuple[np.ndarray, np.ndarray]:
    """Activations far from zero and of unequal sizes, and labels that depend on them."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(SAMPLES, *GRID, CHANNELS)) * np.array([1, 3, 0.5, 1, 2]) + 10 * rng.normal(size=CHANNELS)
    X += rng.normal(size=(SAMPLES, 1, 1, CHANNELS))
    pixels = upsampled(X, mode)
    y = 0.7 * pixels[..., 0] - 0.2 * pixels[..., 1] + 3 + rng.normal(size=pixels.shape[:3])
    if holes:
        y[0, :3] = np.nan
        y[5, :, ::2] = np.nan
    return X, y


def mask_world(seed: int = 0, holes: bool = True, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """The same with classes as labels."""
    rng = np.random.default_rng(seed + 100)
    X, y = depth_world(seed, holes=False)
    noisy = (y - y.mean()) / y.std() + rng.logistic(size=y.shape)
    labels = np.digitize(noisy, np.quantile(noisy, np.arange(1, classes) / classes)).astype(float)
    if holes:
        labels[0, :3] = np.nan
        labels[5, :, ::2] = np.nan
    return X, labels


def pixel_table(X: np.ndarray, y: np.ndarray, mode: str = "nearest") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels and sample number of every labelled pixel."""
    known = ~np.isnan(y)
    return upsampled(X, mode)[known], y[known], np.nonzero(known)[0]
