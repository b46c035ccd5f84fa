"""Curves as SVG: numbers in, the attributes of a few elements out. Colours are the style sheet's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ldmscene import grid as grids
from ldmscene.report.series import Series, series, span

WIDTH, HEIGHT = 360, 250
LEFT, RIGHT, TOP, BOTTOM = 34, 8, 10, 36


@dataclass(frozen=True)
class Scale:
    """A linear map from data to one axis of the drawing."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1)
        return round(self.start + share * (self.end - self.start), 1)


def chart(grid: xr.Dataset, target: str) -> dict[str, object]:
    """What the template draws: ticks, curves with bands, and one strip to hover for each step."""
    found = series(grid, target)
    steps = grid["step"].values
    ticks = np.asarray(MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(*span(found)))
    across = Scale(float(steps[0]), float(steps[-1]), LEFT + 6, WIDTH - RIGHT - 6)
    up = Scale(float(ticks[0]), float(ticks[-1]), HEIGHT - BOTTOM, TOP)
    return {
        "target": target,
        "metric": grids.primary(grid, target).replace("_", " "),
        "width": WIDTH, "height": HEIGHT,
        "left": LEFT, "right": WIDTH - RIGHT, "top": TOP, "bottom": HEIGHT - BOTTOM,
        "x_ticks": [(across(s), int(s)) for s in steps[:: max(1, len(steps) // 7)]],
        "y_ticks": [(up(t), f"{t:.{_decimals(ticks)}f}") for t in ticks],
        "lines": [_line(one, steps, across, up) for one in found][::-1],
        "strips": _strips(grid, found, across),
    }  # fmt: skip


def _decimals(ticks: NDArray[np.float64]) -> int:
    return 1 if np.allclose(ticks * 10, np.round(ticks * 10)) else 2


def _line(one: Series, steps: NDArray[np.int_], across: Scale, up: Scale) -> dict[str, str]:
    runs = _runs(np.isfinite(one.mean) & np.isfinite(one.low) & np.isfinite(one.high))
    lines, bands = [], []
    for run in runs:
        x = [across(float(s)) for s in steps[run]]
        lines.append(_path(x, [up(v) for v in one.mean[run]]))
        edge = [up(v) for v in one.low[run]] + [up(v) for v in one.high[run][::-1]]
        bands.append(_path(x + x[::-1], edge) + "Z")
    return {"name": one.name, "role": one.role, "line": "".join(lines), "band": "".join(bands)}


def _runs(present: NDArray[np.bool_]) -> list[slice]:
    """Stretches without a gap, so that a curve isn't drawn across steps that have no score."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], present.astype(int), [0]])))
    return [slice(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _path(xs: list[float], ys: list[float]) -> str:
    return "M" + "L".join(f"{x:g},{y:g}" for x, y in zip(xs, ys, strict=True))


def _strips(grid: xr.Dataset, found: list[Series], across: Scale) -> list[dict[str, object]]:
    steps = grid["step"].values
    width = (across.end - across.start) / max(1, len(steps) - 1)
    strips = []
    for i, (step, timestep) in enumerate(zip(steps, grid["timestep"].values, strict=True)):
        lines = [f"{one.name}: {one.mean[i]:.3f} ({one.low[i]:.3f} to {one.high[i]:.3f})" for one in found]
        title = "\n".join([f"step {step}, timestep {timestep:g}", *lines])
        left = round(across(float(step)) - width / 2, 1)
        strips.append({"x": left, "width": round(width, 1), "title": title})
    return strips
