"""Curves as SVG: numbers in, the attributes of a few elements out. Colours are the style sheet's."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ldmscene import grid as grids
from ldmscene.report.series import Series, lone, runs, span

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


def chart(grid: xr.Dataset, target: str, found: list[Series]) -> dict[str, object]:
    """What the template draws of these curves: ticks, curves with bands, and one strip to point at for each step."""
    steps = grid["step"].values
    low, high = span(found)
    pad = 0.03 * ((high - low) or 1)
    ticks = np.asarray(MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high))
    ticks = ticks[(ticks >= low - pad) & (ticks <= high + pad)]
    across = Scale(float(steps[0]), float(steps[-1]), LEFT + 6, WIDTH - RIGHT - 6)
    up = Scale(low - pad, high + pad, HEIGHT - BOTTOM, TOP)
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


def _line(one: Series, steps: NDArray[np.int_], across: Scale, up: Scale) -> dict[str, object]:
    lines, bands = [], []
    for run in runs(one):
        x = [across(float(s)) for s in steps[run]]
        lines.append(_path(x, [up(v) for v in one.mean[run]]))
        edge = [up(v) for v in one.low[run]] + [up(v) for v in one.high[run][::-1]]
        # A lone step's band gets a width of its own, or nobody would see it.
        sides = x + x[::-1] if len(x) > 1 else [x[0] - 2, x[0] - 2, x[0] + 2, x[0] + 2]
        bands.append(_path(sides, edge if len(x) > 1 else [*edge, *edge[::-1]]) + "Z")
    points = [(across(float(steps[i])), up(one.mean[i])) for i in lone(one)]
    return {"name": one.name, "role": one.role, "line": "".join(lines), "band": "".join(bands), "points": points}


def _path(xs: list[float], ys: list[float]) -> str:
    return "M" + "L".join(f"{x:g},{y:g}" for x, y in zip(xs, ys, strict=True))


def _strips(grid: xr.Dataset, found: list[Series], across: Scale) -> list[dict[str, object]]:
    """One strip for each step, up to half-way to its neighbours, however far these are."""
    centres = [across(float(step)) for step in grid["step"].values]
    edges = [LEFT, *((a + b) / 2 for a, b in pairwise(centres)), WIDTH - RIGHT]
    strips = []
    for i, (step, timestep) in enumerate(zip(grid["step"].values, grid["timestep"].values, strict=True)):
        lines = [f"{one.name}: {one.mean[i]:.3f} ({one.low[i]:.3f} to {one.high[i]:.3f})" for one in found]
        strips.append(
            {
                "x": round(edges[i], 1),
                "width": round(edges[i + 1] - edges[i], 1),
                "centre": centres[i],
                "text": "\n".join([f"step {step}, timestep {timestep:g}", *lines]),
            }
        )
    return strips
