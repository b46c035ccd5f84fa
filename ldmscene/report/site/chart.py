"""Curves as SVG: numbers in, the attributes of a few elements out. Colours are the style sheet's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ldmscene.report.marks import Mark
from ldmscene.report.measures import Measure
from ldmscene.report.series import Series, lone, runs, span
from ldmscene.text import number

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


def chart(
    grid: xr.Dataset, target: str, measure: Measure, found: list[Series], marks: Sequence[Mark] = ()
) -> dict[str, object]:
    """What the template draws of these curves: ticks, curves with bands, marks, and one strip to point at a step."""
    steps = grid["step"].values
    ceilings = measure.ceilings(grid, target)
    low, high = span(found)
    high = max([high, *ceilings.values()])
    pad = 0.03 * ((high - low) or 1)
    ticks = np.asarray(MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high))
    ticks = ticks[(ticks >= low - pad) & (ticks <= high + pad)]
    across = Scale(float(steps[0]), float(steps[-1]), LEFT + 6, WIDTH - RIGHT - 6)
    up = Scale(low - pad, high + pad, HEIGHT - BOTTOM, TOP)
    return {
        "target": target,
        "axis": measure.axis(grid, target),
        "width": WIDTH, "height": HEIGHT,
        "left": LEFT, "right": WIDTH - RIGHT, "top": TOP, "bottom": HEIGHT - BOTTOM,
        "x_ticks": [(across(s), int(s)) for s in steps[:: max(1, len(steps) // 7)]],
        "y_ticks": [(up(t), number(t * measure.factor, f"z.{_decimals(ticks * measure.factor)}f")) for t in ticks],
        "ceilings": [(up(value), size) for size, value in ceilings.items()],
        "lines": [_line(one, steps, across, up) for one in found][::-1],
        "marks": [_mark(mark, found[0], steps, across, up) for mark in marks if found],
        "strips": _strips(grid, measure, found, across),
    }  # fmt: skip


def _decimals(ticks: NDArray[np.float64]) -> int:
    return next(places for places in (0, 1, 2) if places == 2 or np.allclose(ticks, np.round(ticks, places)))


def _line(one: Series, steps: NDArray[np.int_], across: Scale, up: Scale) -> dict[str, object]:
    x = np.array([across(float(step)) for step in steps])
    line = [_path(x[run], [up(v) for v in one.mean[run]]) for run in runs(one.mean)]
    points = [(across(float(steps[i])), up(one.mean[i])) for i in lone(one)]
    band = [_band(one, x, run, up) for run in runs(one.low + one.high)]
    return {"name": one.name, "role": one.role, "line": "".join(line), "band": "".join(band), "points": points}


def _band(one: Series, x: NDArray[np.float64], run: slice, up: Scale) -> str:
    low, high = ([up(v) for v in bound[run]] for bound in (one.low, one.high))
    if len(low) > 1:
        return _path([*x[run], *x[run][::-1]], low + high[::-1]) + "Z"
    # A lone step's band gets a width of its own, or nobody would see it.
    (at,) = x[run]
    return _path([at - 2, at - 2, at + 2, at + 2], [*low, *high, *high, *low]) + "Z"


def _path(xs: Sequence[float] | NDArray[np.float64], ys: list[float]) -> str:
    return "M" + "L".join(f"{x:g},{y:g}" for x, y in zip(xs, ys, strict=True))


def _mark(mark: Mark, probe: Series, steps: NDArray[np.int_], across: Scale, up: Scale) -> dict[str, object]:
    at, low, high = (across(float(step)) for step in (steps[mark.at], mark.low, mark.high))
    return {"kind": mark.kind, "x": at, "low": low, "high": high, "y": up(probe.mean[mark.at])}


def _strips(grid: xr.Dataset, measure: Measure, found: list[Series], across: Scale) -> list[dict[str, object]]:
    """One strip for each step, up to half-way to its neighbours, however far these are."""
    centres = [across(float(step)) for step in grid["step"].values]
    edges = [LEFT, *((a + b) / 2 for a, b in pairwise(centres)), WIDTH - RIGHT]
    strips = []
    for i, (step, timestep) in enumerate(zip(grid["step"].values, grid["timestep"].values, strict=True)):
        lines = [": ".join([one.name, with_bounds(measure, one.mean[i], one.low[i], one.high[i])]) for one in found]
        strips.append(
            {
                "x": round(edges[i], 1),
                "width": round(edges[i + 1] - edges[i], 1),
                "centre": centres[i],
                "text": "\n".join([f"step {step}, timestep {timestep:g}", *lines]),
            }
        )
    return strips


def with_bounds(measure: Measure, mean: float, low: float, high: float) -> str:
    """`57 % (53 % to 61 %)`, or as much of that as there is."""
    if np.isnan(mean):
        return "–"
    bounded = np.isfinite([low, high]).all()  # of few prompts bounds are infinite
    return measure.text(mean) + (f" ({measure.text(low)} to {measure.text(high)})" if bounded else "")
