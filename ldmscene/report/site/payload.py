"""The numbers that the page's script reads, as a script of its own: `fetch` doesn't work from `file://`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple

import numpy as np
import xarray as xr
from matplotlib.colors import to_hex
from numpy.typing import ArrayLike, NDArray

from ldmscene import gains
from ldmscene import grid as grids
from ldmscene.report.colours import LEVELS, palette
from ldmscene.report.data import ReportData
from ldmscene.report.labels import labels
from ldmscene.report.site.sheets import Sheet
from ldmscene.report.site.strips import folder_name, picture_rows
from ldmscene.words import metric_title

Ranges = Mapping[str, NDArray[np.float64]]


def script(data: ReportData, sheets: Mapping[str, Sheet], ranges: Ranges) -> str:
    """`window.ldmscene = {...}` in ASCII, with nothing in it that HTML could take for a tag."""
    text = json.dumps(payload(data, sheets, ranges), separators=(",", ":"), allow_nan=False)
    return f"window.ldmscene={text.replace('<', chr(92) + 'u003c')};\n"


def payload(data: ReportData, sheets: Mapping[str, Sheet], ranges: Ranges) -> dict[str, object]:
    """All that the sample browser and the cells' windows show; rows of tiles are [top, height, width, columns]."""
    return {
        "steps": data.steps,
        "timesteps": [round(float(t), 1) for t in data.grid["timestep"].values],
        "modules": _modules(data),
        "pictures": {source: astuple(row) for source, row in zip(data.strips(), picture_rows(data), strict=True)},
        "targets": [_target(data, sheets[target], target, ranges[target]) for target in data.targets],
        "samples": [_sample(data, i) for i in range(len(data.samples))],
    }


def _modules(data: ReportData) -> list[dict[str, object]]:
    names = [str(m) for m in data.grid["module"].values]
    short = labels(names)
    return [{"name": name, "label": short[name]} for name in names]


def _sample(data: ReportData, i: int) -> dict[str, object]:
    row = data.samples.iloc[i]
    return {
        "id": str(data.samples.index[i]),
        "prompt": str(row["prompt"]),
        "seed": str(row["seed"]),
        "folder": folder_name(i),
    }


def _target(data: ReportData, sheet: Sheet, target: str, ranges: NDArray[np.float64]) -> dict[str, object]:
    names = [str(m) for m in data.grid["module"].values]
    return {
        "name": target,
        "metric": metric_title(grids.primary(data.grid, target)),
        "sign": 1 if grids.higher_is_better(data.grid, target) else -1,
        "best": names.index(gains.chosen_module(data.grid, target)),
        "ramp": ",".join(to_hex(c) for c in palette(target)[np.linspace(0, LEVELS - 1, 9).astype(int)] / 255),
        "label": astuple(sheet.label),
        "read": {source: astuple(row) for source, row in sheet.readings.items()},
        "probes": [astuple(sheet.probes[m]) for m in names],
        "ranges": [[f"{low:.2g}", f"{high:.2g}"] for low, high in ranges],
        "scores": rounded(_shown(data, target).transpose("module", "step", "sample")),
        "readings": {
            source: rounded(grids.scores(_of_shown(data), target, variable="baseline", name=name))
            for name, source in grids.LABELER_SOURCES.items()
            if name in grids.baselines(data.grid, target)
        },
    }


def _of_shown(data: ReportData) -> xr.Dataset:
    return data.grid.sel(sample=list(data.samples.index))


def _shown(data: ReportData, target: str) -> xr.DataArray:
    return _of_shown(data)["probe"].sel(target=target, metric=grids.primary(data.grid, target))


def rounded(values: ArrayLike) -> object:
    """Nested lists with three decimals, None for NaN."""
    array = np.asarray(values, np.float64).round(3)
    listed = array.astype(object)
    listed[np.isnan(array)] = None
    return listed.tolist()
