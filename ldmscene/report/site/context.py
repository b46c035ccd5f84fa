"""Everything that the template prints, as plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import xarray as xr

from ldmscene import grid as grids
from ldmscene.report.data import ReportData
from ldmscene.report.series import series
from ldmscene.report.site.chart import chart
from ldmscene.report.site.tables import heat, leaderboard


def context(data: ReportData) -> dict[str, object]:
    """The template's variables."""
    grid = data.grid
    return {
        "model": _model(data.provenance),
        "counts": _counts(data),
        "findings": findings(grid),
        "charts": [chart(grid, target) for target in data.targets],
        "numbers": [_numbers(grid, target) for target in data.targets],
        "legend": _legend(data),
        "heats": [heat(grid, target) for target in data.targets],
        "leaders": [leaderboard(grid, target) for target in data.targets],
        "targets": data.targets,
        "steps": data.steps,
        "sources": list(data.strips()),
        "command": str(data.provenance.get("command", "")),
        "provenance": list(flat(data.provenance)),
    }


def _model(provenance: Mapping[str, object]) -> str:
    model = provenance.get("model", "")
    return str(model.get("name", "")) if isinstance(model, Mapping) else str(model)


def _counts(data: ReportData) -> dict[str, int]:
    sizes = data.grid.sizes
    return {k: sizes[k] for k in ("module", "step", "sample", "target")} | {"shown": len(data.samples)}


def findings(grid: xr.Dataset) -> list[dict[str, object]]:
    """One finding for each target: the sentence, and its numbers."""
    table = grids.emergence(grid)
    return [
        {
            "target": target,
            "sentence": grids.sentence(grid, str(target)),
            "step": _step(row["step"]),
            "low": _step(row["low"]),
            "high": _step(row["high"]),
            "rivals": [(name, _step(row[name])) for name in grids.labelers(grid, str(target))],
        }
        for target, row in table.iterrows()
    ]


def _step(value: object) -> int | None:
    return None if pd.isna(value) else int(value)  # type: ignore[call-overload]


def _legend(data: ReportData) -> list[tuple[str, str]]:
    entries = {"probe": "probe of the best module"}
    for target in data.targets:
        for one in series(data.grid, target):
            entries.setdefault(one.role if one.role != "other" else one.name, one.name)
    return [(role if role != name else "other", name) for role, name in entries.items()]


def _numbers(grid: xr.Dataset, target: str) -> dict[str, object]:
    found = series(grid, target)
    rows = []
    for i, step in enumerate(grid["step"].values):
        cells = [_interval(one.mean[i], one.low[i], one.high[i]) for one in found]
        rows.append((int(step), f"{float(grid['timestep'][i]):g}", cells))
    return {"target": target, "names": [one.name for one in found], "rows": rows}


def _interval(mean: float, low: float, high: float) -> tuple[str, str]:
    return ("–", "") if np.isnan(mean) else (f"{mean:.3f}", f"{low:.3f} to {high:.3f}")


def flat(nested: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested mappings as lines of a table, `model.steps` beside `15`."""
    for key, value in nested.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)
