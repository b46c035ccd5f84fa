"""The numbers that the page's script reads, as a script of its own: `fetch` doesn't work from `file://`."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ldmscene import grid as grids
from ldmscene.report.data import BASELINES, ReportData
from ldmscene.report.labels import labels
from ldmscene.report.site.maps import Atlas
from ldmscene.report.site.strips import PICTURE, READING, folder_name, reading_rows, shrink


def script(data: ReportData, atlas: Atlas) -> str:
    """`window.ldmscene = {...}` in ASCII, with nothing in it that HTML could take for a tag."""
    text = json.dumps(payload(data, atlas), separators=(",", ":"), allow_nan=False)
    return f"window.ldmscene={text.replace('<', chr(92) + 'u003c')};\n"


def payload(data: ReportData, atlas: Atlas) -> dict[str, object]:
    """Everything that the sample browser and the cells' windows show."""
    return {
        "steps": data.steps,
        "timesteps": [round(float(t), 1) for t in data.grid["timestep"].values],
        "modules": _modules(data),
        "targets": [_target(data, atlas, target) for target in data.targets],
        "samples": [_sample(data, atlas, i) for i in range(len(data.samples))],
        "pictures": {"rows": list(data.strips()), **_size(data, PICTURE)},
        "readings": {
            "rows": [f"{source} {target}" for source, target in reading_rows(data)],
            "labels": list(data.labels),
            **_size(data, READING),
        },
    }


def _size(data: ReportData, longest: int) -> dict[str, int]:
    height, width = shrink(np.zeros((*data.image.shape[1:3], 3), np.uint8), longest).shape[:2]
    return {"height": height, "width": width}


def _modules(data: ReportData) -> list[dict[str, object]]:
    names = [str(m) for m in data.grid["module"].values]
    short = labels(names)
    return [{"name": name, "label": short[name]} for name in names]


def _sample(data: ReportData, atlas: Atlas, i: int) -> dict[str, object]:
    row = data.samples.iloc[i]
    return {
        "id": str(data.samples.index[i]),
        "prompt": str(row["prompt"]),
        "seed": str(row["seed"]),
        "folder": folder_name(i),
        "complete": i < atlas.complete,
    }


def _target(data: ReportData, atlas: Atlas, target: str) -> dict[str, object]:
    names = [str(m) for m in data.grid["module"].values]
    tiles = atlas.rows[target]
    return {
        "name": target,
        "metric": grids.primary(data.grid, target),
        "best": names.index(grids.best_module(data.grid, target)),
        "tiles": [[tiles[m].top, tiles[m].height, tiles[m].width] for m in names],
        "scores": rounded(_shown(data, target).transpose("module", "step", "sample")),
        "readings": {
            source: rounded(grids.scores(_of_shown(data), target, variable="baseline", name=name))
            for source, name in BASELINES.items()
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
