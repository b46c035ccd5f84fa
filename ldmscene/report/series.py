"""The curves of one target as numbers, for the figure and the page alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Series:
    """One curve: `mean` over held-out images with its bounds, each of shape (step,)."""

    name: str
    role: str
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def span(curves: list[Series]) -> tuple[float, float]:
    """The smallest and largest value that these curves and their bands reach."""
    values = np.array([part for one in curves for part in (one.mean, one.low, one.high)])
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)


def runs(values: NDArray[np.float64]) -> list[slice]:
    """Stretches of steps without a gap, so that nothing is drawn across steps that have no value."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.isfinite(values).astype(int), [0]])))
    return [slice(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def lone(curve: Series) -> list[int]:
    """Positions of steps whose neighbours have no score: a line wouldn't show them."""
    return [int(run.start) for run in runs(curve.mean) if run.stop - run.start == 1]


def dodge(wanted: NDArray[np.float64], gap: float) -> NDArray[np.float64]:
    """Positions near the wanted ones that keep a distance of `gap`, in the same order."""
    order = np.argsort(wanted, kind="stable")
    placed = wanted[order].astype(np.float64)
    for _ in range(200):
        overlap = np.clip(gap - np.diff(placed), 0, None)
        if overlap.max(initial=0) < 1e-3 * gap:
            break
        # Each of two that overlap gives way by half, so a crowd spreads about its middle.
        placed[:-1] -= overlap / 2
        placed[1:] += overlap / 2
    result = np.empty_like(placed)
    result[order] = placed
    return result
