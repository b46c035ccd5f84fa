"""Heat map and leaderboard as rows of plain values."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from ldmscene.module_names import that_speak
from ldmscene.report.colours import ink_on, ramp, score_colours
from ldmscene.report.labels import labels
from ldmscene.report.measures import Measure
from ldmscene.report.site.chart import with_bounds

SPARK_WIDTH, SPARK_HEIGHT = 90, 20


def heat(grid: xr.Dataset, target: str, measure: Measure, cells: xr.Dataset) -> dict[str, object]:
    """Cells of modules × steps in groups, with their colours, and the ends of the colours' scale.

    `cells` are those of the measure (module, step).
    """
    means = cells["mean"].transpose("module", "step").values
    low, high = (float(f(means)) for f in (np.nanmin, np.nanmax)) if np.isfinite(means).any() else (0.0, 1.0)
    groups: dict[str, list[dict[str, object]]] = {}
    for module in _modules(grid, measure.module(grid, target)):
        row = _cells(measure, cells.sel(module=module["name"]), (low, high))
        groups.setdefault(str(module["block"]), []).append(module | {"cells": row})
    return {
        "target": target,
        "axis": measure.axis(grid, target),
        "groups": groups,
        "low": measure.short(low),
        "high": measure.short(high),
        "ramp": ramp(),
        "faint": "stands_out" in cells and bool((cells["mean"].notnull() & ~cells["stands_out"]).any()),
    }


def _modules(grid: xr.Dataset, best: str) -> list[dict[str, object]]:
    names = [str(m) for m in grid["module"].values]
    short = labels(names)
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


def _cells(measure: Measure, row: xr.Dataset, scale: tuple[float, float]) -> list[dict[str, object]]:
    stands_out = row["stands_out"].values if "stands_out" in row else np.ones(row.sizes["step"], bool)
    values = zip(row["step"].values, *(row[k].values for k in ("mean", "low", "high")), stands_out, strict=True)
    return [
        {"step": int(step), "faint": not sure} | _cell(measure, (float(mean), float(low), float(high)), sure, scale)
        for step, mean, low, high, sure in values
    ]


def _cell(
    measure: Measure, bounds: tuple[float, float, float], sure: bool, scale: tuple[float, float]
) -> dict[str, object]:
    mean = bounds[0]
    if np.isnan(mean):
        return {"text": "–", "full": "no score", "faint": False, "colour": "#8a9099", "ink": "#000"}
    colour = score_colours()((mean - scale[0]) / ((scale[1] - scale[0]) or 1))
    return {
        "text": measure.short(mean),
        "full": with_bounds(measure, *bounds) + ("" if sure else ", not shown to be above 2 %"),
        "colour": to_hex(colour),
        "ink": ink_on(colour[:3]),
    }


def leaderboard(grid: xr.Dataset, target: str, measure: Measure, held_out: xr.Dataset) -> dict[str, object]:
    """Modules from the best to the worst on folds of training samples, with what held-out images say (see `heat`).

    Those of other parts than the denoiser follow, since they don't run at the same steps, or see predicted pictures.
    """
    training = measure.training(grid, target).transpose("module", "step")
    chosen = training.mean("step").fillna(-np.inf).values
    modules = _modules(grid, measure.module(grid, target))
    speaking = that_speak(str(module["name"]) for module in modules)
    rows = [
        modules[i]
        | _standing(measure, held_out.isel(module=i), held_out)
        | {"cv": measure.text(float(chosen[i])) if np.isfinite(chosen[i]) else "–"}
        | {"peak": int(grid["step"].values[int(training[i].fillna(-np.inf).values.argmax())])}
        for i in sorted(np.argsort(-chosen, kind="stable"), key=lambda i: modules[i]["name"] not in speaking)
    ]
    return {"target": target, "axis": measure.axis(grid, target), "rows": rows}


def _standing(measure: Measure, one: xr.Dataset, everything: xr.Dataset) -> dict[str, object]:
    mean, low, high = (float(one[k].isel(step=-1)) for k in ("mean", "low", "high"))
    return {
        "last": with_bounds(measure, mean, low, high),
        "spark": _spark(one["mean"].values, everything["mean"].values),
    }


def _spark(means: NDArray[np.float64], everything: NDArray[np.float64]) -> str:
    low, high = (np.nanmin(everything), np.nanmax(everything)) if np.isfinite(everything).any() else (0, 1)
    x = np.linspace(1, SPARK_WIDTH - 1, len(means))
    y = SPARK_HEIGHT - 2 - (means - low) / ((high - low) or 1) * (SPARK_HEIGHT - 4)
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True) if np.isfinite(b))
