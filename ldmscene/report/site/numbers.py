"""The grid's numbers as files to download: what the page's curves, heat maps and tables show."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

from ldmscene import gains
from ldmscene import grid as grids
from ldmscene.report.measures import GAIN, SCORE, Cells

COLUMNS = ("target", "metric", "reading", "module", "step", "timestep", "mean", "low", "high")


def rows(grid: xr.Dataset, cells: Cells) -> list[tuple[Any, ...]]:
    """A row for each target, metric, reading, module and step: a mean over held-out images and its 95 % interval.

    `cells` are the probes' (module, step), by measure and target; what is compared with them has no module.
    """
    targets = [str(target) for target in grid["target"].values]
    found = [row for target in targets for row in _scores(grid, target, cells[SCORE, target])]
    if gains.has_gains(grid):
        found += [row for target in targets for row in _gains(grid, target, cells[GAIN, target])]
    return found


def _scores(grid: xr.Dataset, target: str, probes: xr.Dataset) -> Iterator[tuple[Any, ...]]:
    metric = grids.primary(grid, target)
    yield from _table(grid, (target, metric, "probe"), probes)
    for name, variable in grids.PROBED_CONTROLS.items():
        if variable in grid:
            bounds = grids.interval(grid[variable].sel(target=target, metric=metric))
            yield from _table(grid, (target, metric, name), bounds)
    for name in grids.baselines(grid, target):
        bounds = grids.interval(grids.scores(grid, target, variable="baseline", name=name))
        yield from _table(grid, (target, metric, name), bounds.expand_dims(module=[""]))


def _gains(grid: xr.Dataset, target: str, probes: xr.Dataset) -> Iterator[tuple[Any, ...]]:
    yield from _table(grid, (target, gains.PARTIAL_R2, "probe"), probes)
    for name, values in gains.compared(grid, target).items():
        bounds = gains.interval(values).expand_dims(module=[""])
        yield from _table(grid, (target, gains.PARTIAL_R2, name), bounds)


def _table(grid: xr.Dataset, start: tuple[str, ...], bounds: xr.Dataset) -> Iterator[tuple[Any, ...]]:
    values = np.stack([bounds[k].transpose("module", "step").values for k in ("mean", "low", "high")], axis=-1)
    for module, of_module in zip(bounds["module"].values, values.tolist(), strict=True):
        for step, timestep, three in zip(grid["step"].values, grid["timestep"].values, of_module, strict=True):
            numbers = (None if not np.isfinite(value) else round(value, 5) for value in three)
            yield (*start, str(module), int(step), round(float(timestep), 3), *numbers)


def as_csv(table: list[tuple[Any, ...]]) -> str:
    """The rows under their columns' names; a missing score is empty."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *table])
    return text.getvalue()


def as_json(table: list[tuple[Any, ...]], provenance: Mapping[str, object]) -> str:
    """Columns, rows and what was run; a missing score is null."""
    found = {"columns": COLUMNS, "rows": table, "provenance": provenance}
    return json.dumps(found, separators=(",", ":"), allow_nan=False, default=str) + "\n"
