"""Everything that the template prints, as plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import xarray as xr

from ldmscene import conclusions
from ldmscene import grid as grids
from ldmscene.report.data import ReportData
from ldmscene.report.series import Series, series
from ldmscene.report.site.chart import chart
from ldmscene.report.site.tables import heat, leaderboard


def probe_intervals(grid: xr.Dataset) -> dict[str, xr.Dataset]:
    """Each target's probes: mean and interval of the primary metric (module, step)."""
    metrics = {str(t): grids.primary(grid, str(t)) for t in grid["target"].values}
    return {t: grids.interval(grid["probe"].sel(target=t, metric=metric)) for t, metric in metrics.items()}


def context(data: ReportData, probes: Mapping[str, xr.Dataset]) -> dict[str, object]:
    """The template's variables; `probes` are the grid's `probe_intervals`."""
    grid = data.grid
    curves = {target: series(grid, target) for target in data.targets}
    return {
        "model": _model(data.provenance),
        "counts": _counts(data),
        "findings": findings(grid),
        "beyond": "explained" in grid,
        "charts": [chart(grid, target, found) for target, found in curves.items()],
        "numbers": [_numbers(grid, target, found) for target, found in curves.items()],
        "legend": _legend(curves),
        "controls": [name for name, variable in grids.PROBED_CONTROLS.items() if variable in grid],
        "rivals": list(dict.fromkeys(name for t in data.targets for name in grids.controls(grid, t))),
        "labelers": list(dict.fromkeys(name for t in data.targets for name in grids.labelers(grid, t))),
        "heats": [heat(grid, target, probes[target]) for target in data.targets],
        "leaders": [leaderboard(grid, target, probes[target]) for target in data.targets],
        "targets": data.targets,
        "steps": data.steps,
        "sources": sources(data),
        "command": str(data.provenance.get("command", "")),
        "provenance": groups(data.provenance),
    }


def sources(data: ReportData) -> list[str]:
    """Kinds of unfinished pictures that are shown: those that are stored, or read by a labeler."""
    read = {source for source, _ in data.intermediate}
    return [source for source in ("noisy", "predicted") if source in data.strips() or source in read]


def _model(provenance: Mapping[str, object]) -> str:
    model = provenance.get("model", "")
    return str(model.get("name", "")) if isinstance(model, Mapping) else str(model)


def _counts(data: ReportData) -> dict[str, int]:
    sizes = data.grid.sizes
    return {k: sizes[k] for k in ("module", "step", "sample", "target")} | {"shown": len(data.samples)}


def findings(grid: xr.Dataset) -> list[dict[str, object]]:
    """One finding for each target: the sentence, and its numbers."""
    table = conclusions.emergence(grid)
    return [
        {
            "target": target,
            "sentence": row["sentence"],
            "step": _step(row["first"]),
            "low": _step(row["first_low"]),
            "high": _step(row["first_high"]),
            "most": _step(row["most"]),
            "rivals": [(name, _step(row.get(f"{name} first"))) for name in grids.labelers(grid, str(target))],
        }
        for target, row in table.iterrows()
    ]


def _step(value: object) -> int | None:
    return None if value is None or pd.isna(value) else int(value)  # type: ignore[call-overload]


def _legend(curves: Mapping[str, list[Series]]) -> list[tuple[str, str]]:
    entries = {"probe": "probe of the best module"}
    for found in curves.values():
        for one in found:
            entries.setdefault(one.role if one.role != "other" else one.name, one.name)
    return [(role if role != name else "other", name) for role, name in entries.items()]


def _numbers(grid: xr.Dataset, target: str, found: list[Series]) -> dict[str, object]:
    rows = []
    for i, step in enumerate(grid["step"].values):
        cells = [_interval(one.mean[i], one.low[i], one.high[i]) for one in found]
        rows.append((int(step), f"{float(grid['timestep'][i]):g}", cells))
    return {"target": target, "names": [one.name for one in found], "rows": rows}


def _interval(mean: float, low: float, high: float) -> tuple[str, str]:
    return ("–", "") if np.isnan(mean) else (f"{mean:.3f}", f"{low:.3f} to {high:.3f}")


def groups(provenance: Mapping[str, object]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Single facts first, under no name, then each mapping under its own."""
    single = [(key, str(v)) for key, v in provenance.items() if not isinstance(v, Mapping) and key != "command"]
    nested = [(key, list(flat(v))) for key, v in provenance.items() if isinstance(v, Mapping)]
    return [("", single), *nested]


def flat(nested: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested mappings as lines of a table, `model.steps` beside `15`."""
    for key, value in nested.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)
