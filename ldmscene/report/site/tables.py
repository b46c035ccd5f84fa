"""Heat map and leaderboard as rows of plain values."""

from __future__ import annotations

import re

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from ldmscene import grid as grids
from ldmscene.report.colours import SCORES, ink_on
from ldmscene.report.labels import labels

SPARK_WIDTH, SPARK_HEIGHT = 90, 20


def heat(grid: xr.Dataset, target: str, bounds: xr.Dataset) -> dict[str, object]:
    """Cells of modules × steps in groups, with their colours, and the ends of the colours' scale.

    `bounds` are the intervals of the probes' primary scores (module, step).
    """
    means = bounds["mean"].transpose("module", "step").values
    low, high = (float(f(means)) for f in (np.nanmin, np.nanmax)) if np.isfinite(means).any() else (0.0, 1.0)
    groups: dict[str, list[dict[str, object]]] = {}
    for module in _modules(grid, target):
        row = bounds.sel(module=module["name"])
        groups.setdefault(str(module["block"]), []).append(module | {"cells": _cells(grid, row, low, high)})
    return {
        "target": target,
        "metric": grids.primary(grid, target).replace("_", " "),
        "groups": groups,
        "low": f"{low:.2f}",
        "high": f"{high:.2f}",
        "ramp": [to_hex(matplotlib.colormaps[SCORES](x)) for x in np.linspace(0, 1, 9)],
    }


def _modules(grid: xr.Dataset, target: str) -> list[dict[str, object]]:
    names = [str(m) for m in grid["module"].values]
    short, best = labels(names), grids.best_module(grid, target)
    height, width, channels, block = (grid[k].values for k in ("height", "width", "channels", "block"))
    largest = np.log2(height.max()) + 1
    return [
        {
            "index": i,
            "name": name,
            "label": short[name],
            "block": str(block[i]),
            "size": f"{height[i]} × {width[i]} × {channels[i]}",
            "share": round(100 * (np.log2(height[i]) + 1) / largest),
            "best": name == best,
        }
        for i, name in enumerate(names)
    ]


def _cells(grid: xr.Dataset, row: xr.Dataset, low: float, high: float) -> list[dict[str, object]]:
    bounds = zip(*(row[k].values for k in ("mean", "low", "high")), strict=True)
    return [
        {"step": int(step)} | _cell(float(mean), float(bottom), float(top), (low, high))
        for step, (mean, bottom, top) in zip(grid["step"].values, bounds, strict=True)
    ]


def _cell(mean: float, low: float, high: float, scale: tuple[float, float]) -> dict[str, object]:
    if np.isnan(mean):
        return {"text": "–", "full": "no score", "colour": "#8a9099", "ink": "#000"}
    colour = matplotlib.colormaps[SCORES]((mean - scale[0]) / ((scale[1] - scale[0]) or 1))
    return {
        "text": re.sub(r"^(-?)0\.", r"\1.", f"{mean:.2f}"),
        "full": f"{mean:.3f}, 95 % interval {low:.3f} to {high:.3f}",
        "colour": to_hex(colour),
        "ink": ink_on(colour[:3]),
    }


def leaderboard(grid: xr.Dataset, target: str, held_out: xr.Dataset) -> dict[str, object]:
    """Modules from the best to the worst by cross-validated score, with what held-out images say (see `heat`)."""
    chosen = grid["cv_score"].sel(target=target).mean("step").fillna(-np.inf).values
    modules = _modules(grid, target)
    rows = [
        modules[i]
        | _standing(grid, held_out.isel(module=i), held_out, grids.higher_is_better(grid, target))
        | {"cv": float(chosen[i]), "permuted": _control(grid, target, i)}
        for i in np.argsort(-chosen, kind="stable")
    ]
    return {"target": target, "metric": grids.primary(grid, target).replace("_", " "), "rows": rows}


def _standing(grid: xr.Dataset, one: xr.Dataset, everything: xr.Dataset, higher: bool) -> dict[str, object]:
    means = one["mean"].values
    best = np.nanargmax if higher else np.nanargmin
    return {
        "last": _with_interval(one.isel(step=-1)),
        "peak": int(grid["step"].values[best(means)]) if np.isfinite(means).any() else "–",
        "spark": _spark(means, everything["mean"].values),
    }


def _control(grid: xr.Dataset, target: str, module: int) -> str:
    if "permuted" not in grid:
        return "–"
    metric = grids.primary(grid, target)
    last = grid["permuted"].sel(target=target, metric=metric).isel(module=module, step=-1)
    return _number(float(last.mean("sample", skipna=False)))


def _with_interval(bounds: xr.Dataset) -> tuple[str, str]:
    mean, low, high = (float(bounds[k]) for k in ("mean", "low", "high"))
    return _number(mean), "" if np.isnan(mean) else f"{low:.3f} to {high:.3f}"


def _number(score: float) -> str:
    return "–" if np.isnan(score) else f"{score:.3f}"


def _spark(means: NDArray[np.float64], everything: NDArray[np.float64]) -> str:
    low, high = (np.nanmin(everything), np.nanmax(everything)) if np.isfinite(everything).any() else (0, 1)
    x = np.linspace(1, SPARK_WIDTH - 1, len(means))
    y = SPARK_HEIGHT - 2 - (means - low) / ((high - low) or 1) * (SPARK_HEIGHT - 4)
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True) if np.isfinite(b))
