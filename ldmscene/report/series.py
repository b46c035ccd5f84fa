"""The curves of one target as numbers, for the figure and the page alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ldmscene import grid as grids
from ldmscene.report.labels import labels

_ROLES = {
    grids.LABELER_NOISY: "noisy",
    grids.LABELER_PREDICTED: "predicted",
    grids.POSITION: "position",
    grids.RAW_LATENT: "latent",
}


@dataclass(frozen=True)
class Series:
    """One curve: `mean` over held-out images with its interval, each of shape (step,)."""

    name: str
    role: str
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def series(grid: xr.Dataset, target: str) -> list[Series]:
    """The best module's probe, its controls where they were run, then every baseline that was run."""
    module = grids.best_module(grid, target)
    label = labels([str(m) for m in grid["module"].values])[module]
    found = [_series(f"probe, {label}", "probe", grids.scores(grid, target))]
    for name, variable in grids.PROBED_CONTROLS.items():
        if variable in grid:
            found.append(_series(name, variable, grids.scores(grid, target, variable=variable)))
    for name in grids.baselines(grid, target):
        scores = grids.scores(grid, target, variable="baseline", name=name)
        found.append(_series(name, _ROLES.get(name, "other"), scores))
    return [one for one in found if not np.isnan(one.mean).all()]


def _series(name: str, role: str, scores: xr.DataArray) -> Series:
    bounds = grids.interval(scores)
    return Series(name, role, *(bounds[k].values.astype(np.float64) for k in ("mean", "low", "high")))


def span(curves: list[Series]) -> tuple[float, float]:
    """The smallest and largest value that these curves and their bands reach."""
    values = np.array([bound for c in curves for bound in (c.low, c.high)])
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)


def runs(curve: Series) -> list[slice]:
    """Stretches of steps without a gap, so that a curve isn't drawn across steps that have no score."""
    present = np.isfinite(curve.mean) & np.isfinite(curve.low) & np.isfinite(curve.high)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], present.astype(int), [0]])))
    return [slice(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def lone(curve: Series) -> list[int]:
    """Positions of steps whose neighbours have no score: a line wouldn't show them."""
    return [int(run.start) for run in runs(curve) if run.stop - run.start == 1]


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
