"""The grid's numbers as files to download: what the page's curves, heat maps and tables show."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

from ldmscene import grid as grids

COLUMNS = ("target", "metric", "reading", "module", "step", "timestep", "mean", "low", "high")


def rows(grid: xr.Dataset, probes: Mapping[str, xr.Dataset]) -> list[tuple[Any, ...]]:
    """A row for each target, reading, module and step: mean of the primary metric and its 95 % interval.

    `probes` are the intervals of each target's probes (module, step); a baseline has no module.
    """
    return [row for target in probes for row in _of_target(grid, target, probes[target])]


def _of_target(grid: xr.Dataset, target: str, probes: xr.Dataset) -> Iterator[tuple[Any, ...]]:
    metric = grids.primary(grid, target)
    yield from _table(grid, (target, metric, "probe"), probes)
    for name, variable in grids.PROBED_CONTROLS.items():
        if variable in grid:
            bounds = grids.interval(grid[variable].sel(target=target, metric=metric))
            yield from _table(grid, (target, metric, name), bounds)
    for name in grids.baselines(grid, target):
        bounds = grids.interval(grids.scores(grid, target, variable="baseline", name=name))
        yield from _table(grid, (target, metric, name), bounds.expand_dims(module=[""]))


def _table(grid: xr.Dataset, start: tuple[str, ...], bounds: xr.Dataset) -> Iterator[tuple[Any, ...]]:
    values = np.stack([bounds[k].transpose("module", "step").values for k in ("mean", "low", "high")], axis=-1)
    for module, of_module in zip(bounds["module"].values, values.tolist(), strict=True):
        for step, timestep, three in zip(grid["step"].values, grid["timestep"].values, of_module, strict=True):
            numbers = (None if np.isnan(value) else round(value, 5) for value in three)
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
