"""All maps of a sample and target as one picture, a sheet: where each lies, and its pixels.

From the top: the label, a row of each labeler's readings, and a row of each module's probe, one map for each
step. Rows of many steps are wrapped into lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ldmscene import gains
from ldmscene.errors import ShapeError
from ldmscene.report.colours import levels, limits
from ldmscene.report.data import ReportData
from ldmscene.report.site.room import MAP, longest_side, shrunk

LONGEST = 8192  # pixels of a line; WebP ends at 16383, and some browsers earlier
APART = 8  # of the levels of readings: unfinished pictures are noise, which 32 levels show as well as 255

Levels = NDArray[np.uint8]


@dataclass(frozen=True)
class SheetRow:
    """Tiles of one size, in pixels from `top` on, `columns` of them in a line."""

    top: int
    height: int
    width: int
    columns: int

    @classmethod
    def below(cls, top: int, height: int, width: int, count: int) -> SheetRow:
        """A row of `count` tiles."""
        return cls(top, height, width, max(1, min(count, LONGEST // width)))

    def bottom(self, count: int) -> int:
        """Where the next row begins, below `count` tiles."""
        return self.top + self.height * -(-count // self.columns)

    def place(self, i: int) -> tuple[slice, slice]:
        """Pixels (y, x) of the tile at a position."""
        y, x = self.top + i // self.columns * self.height, i % self.columns * self.width
        return slice(y, y + self.height), slice(x, x + self.width)


@dataclass(frozen=True)
class Sheet:
    """A target's rows: the label, `readings` by source, `probes` by module; `size` is (y, x)."""

    label: SheetRow
    readings: dict[str, SheetRow]
    probes: dict[str, SheetRow]
    size: tuple[int, int]


def plan(data: ReportData) -> dict[str, Sheet]:
    """Each target's sheet. Maps of the best module are 64 pixels at most, the others' as large as there is room."""
    return {target: _plan(data, target) for target in data.targets}


def _plan(data: ReportData, target: str) -> Sheet:
    count, best = len(data.steps), gains.chosen_module(data.grid, target)
    sizes = {
        str(m): (int(h), int(w))
        for m, h, w in zip(*(data.grid[k].values for k in ("module", "height", "width")), strict=True)
    }
    others = [size for module, size in sizes.items() if module != best]
    longest = longest_side(others, count * len(data.samples) * len(data.targets))
    label = SheetRow.below(0, *shrunk(data.image.sizes["Y"], data.image.sizes["X"], MAP), 1)
    top, readings, probes = label.bottom(1), {}, {}
    for source, of in data.intermediate:
        if of == target:
            readings[source] = SheetRow.below(top, label.height, label.width, count)
            top = readings[source].bottom(count)
    for module, size in sizes.items():
        probes[module] = SheetRow.below(top, *shrunk(*size, MAP if module == best else longest), count)
        top = probes[module].bottom(count)
    width = max(row.width * row.columns for row in (label, *readings.values(), *probes.values()))
    return Sheet(label, readings, probes, (top, width))


def blank(sheets: dict[str, Sheet], samples: int) -> dict[str, Levels]:
    """Empty sheets (sample, y, x) of each target."""
    return {target: np.zeros((samples, *sheet.size), np.uint8) for target, sheet in sheets.items()}


def draw_labels(
    label: NDArray[np.generic], readings: Mapping[str, NDArray[np.generic]], kind: str, sheet: Sheet, onto: Levels
) -> tuple[float, float]:
    """Put a sample's label (Y, X) and what labelers read from its unfinished pictures on its sheet; return their range.

    `readings` are (step, Y, X), by source.
    """
    bounds = limits(label, kind)
    onto[sheet.label.place(0)] = levels(averaged(label, sheet.label), *bounds)
    for source, row in sheet.readings.items():
        for i, one in enumerate(levels(averaged(readings[source], row), *bounds, apart=APART)):
            onto[row.place(i)] = one
    return bounds


def draw_probes(
    data: ReportData, sheets: dict[str, Sheet], bounds: dict[str, NDArray[np.float64]], onto: dict[str, Levels]
) -> None:
    """Put every probe's maps of all samples on their sheets; `bounds` are (sample, 2)."""
    sizes = zip(*(data.grid[k].values for k in ("module", "height", "width")), strict=True)
    for module, *size in sizes:
        for i, step in enumerate(data.steps):
            for target, sheet in sheets.items():
                row = sheet.probes[str(module)]
                low, high = bounds[target].T[..., None, None]
                maps = averaged(_maps(data.predict(target, str(module), step), size), row)
                y, x = row.place(i)
                onto[target][:, y, x] = levels(maps, low, high)


def _maps(values: xr.DataArray, size: list[int]) -> NDArray[np.generic]:
    maps = values.transpose("sample", "y", "x").values
    if list(maps.shape[1:]) != size:
        raise ShapeError(f"predict gave maps of {maps.shape[1:]}, but the grid says {tuple(map(int, size))}")
    return maps


def averaged(maps: NDArray[np.generic], row: SheetRow) -> NDArray[np.float32]:
    """Maps [..., y, x] averaged down to the size of a row's tiles; what fills no whole block is cut off."""
    *rest, height, width = maps.shape
    down, across = height // row.height, width // row.width
    blocks = maps[..., : row.height * down, : row.width * across].astype(np.float32)
    means: NDArray[np.float32] = blocks.reshape(*rest, row.height, down, row.width, across).mean((-3, -1))
    return means
