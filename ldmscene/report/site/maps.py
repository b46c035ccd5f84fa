"""The probes' maps: which are kept, where each lies in its sample's picture, and their values.

A sample's maps of one target share one picture (an atlas): a row of tiles for each module, a column for
each step. The best module's row comes first, so it has the same place whether or not others follow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ldmscene import grid as grids
from ldmscene.errors import ShapeError
from ldmscene.report.data import ReportData

PIXELS = 6_000_000  # of all atlases together, about as many bytes at most
LARGEST = 64  # pixels of a map's longer side; larger maps are averaged down

Maps = dict[tuple[str, str], NDArray[np.float32]]


@dataclass(frozen=True)
class Tile:
    """A module's row in an atlas, in pixels: where it begins, and one map's size."""

    top: int
    height: int
    width: int


@dataclass(frozen=True)
class Atlas:
    """`rows[target][module]` places each map; the first `complete` samples have every module's."""

    rows: dict[str, dict[str, Tile]]
    complete: int

    def modules(self, target: str, sample: int) -> list[str]:
        """The modules whose maps are kept for the sample at this position: all, or the best."""
        names = list(self.rows[target])
        return names if sample < self.complete else names[:1]


def plan(data: ReportData) -> Atlas:
    """Lay out every target's atlas and keep every module's maps for as many samples as there is room."""
    rows = {target: _stack(data, target) for target in data.targets}
    tiles = [tile for row in rows.values() for tile in row.values()]
    pixels = len(data.steps) * sum(tile.height * tile.width for tile in tiles)
    return Atlas(rows, min(len(data.samples), max(1, PIXELS // max(1, pixels))))


def _stack(data: ReportData, target: str) -> dict[str, Tile]:
    best = grids.best_module(data.grid, target)
    order = [best, *(m for m in map(str, data.grid["module"].values) if m != best)]
    tiles, top = {}, 0
    for module in order:
        height, width = (int(data.grid[side].sel(module=module)) for side in ("height", "width"))
        factor = reduction(height, width)
        tiles[module] = Tile(top, height // factor, width // factor)
        top += tiles[module].height
    return tiles


def reduction(height: int, width: int, longest: int = LARGEST) -> int:
    """By how much a picture is averaged down so that its longer side fits."""
    return max(1, -(-max(height, width) // longest))


def predicted_maps(data: ReportData, atlas: Atlas) -> Maps:
    """(target, module) to the probe's maps (sample, step, y, x), of the samples that keep them."""
    maps = {}
    for target, row in atlas.rows.items():
        for i, module in enumerate(row):
            count = len(data.samples) if i == 0 else atlas.complete
            steps = [data.predict(target, module, step).isel(sample=slice(count)) for step in data.steps]
            maps[target, module] = np.stack([_map(one, row[module]) for one in steps], axis=1)
    return maps


def _map(values: xr.DataArray, tile: Tile) -> NDArray[np.float32]:
    factor = reduction(values.sizes["y"], values.sizes["x"])
    if factor > 1:
        values = values.coarsen(y=factor, x=factor, boundary="trim").mean()
    if (values.sizes["y"], values.sizes["x"]) != (tile.height, tile.width):
        arrived = tuple(values.sizes[d] for d in ("y", "x"))
        raise ShapeError(f"predict gave maps of {arrived}, but the grid says {tile.height, tile.width}")
    return np.asarray(values.transpose("sample", "y", "x").values, np.float32)
