"""Label pixels, reduced to the activation grid that lies under them.

With nearest upsampling all pixels of a cell see the same activation, so a sum over pixels is a sum over
cells of a few numbers for each cell. They are computed once for a label and a grid, and serve every module
and step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ldmscene.array_types import AnyArray, Array, Bools, Ints
from ldmscene.errors import ShapeError

MapSize = tuple[int, int]
"""y and x of a map, in positions"""


@dataclass(frozen=True)
class Cells:
    """Labels (sample, H, W) as sums over the cells of a grid (y, x); NaN pixels count nowhere."""

    weight: Array
    """[sample, y, x] number of labelled pixels"""
    total: Array
    """[sample, y, x] sum of their labels"""
    scatter: Array
    """[sample, y, x] sum of squares about the cell's own mean, where a raw sum of squares would cancel"""
    scale: tuple[int, int]
    """pixels of a whole cell along y and x"""

    @classmethod
    def of(cls, labels: AnyArray, grid: tuple[int, int]) -> Cells:
        """Reduce labels to a grid.

        Parameters
        ----------
        labels : array (sample, H, W)
            Any real dtype or bool. NaN marks a pixel without label.
        grid : (int, int)
            y and x of the activations; H and W must be multiples of them.

        Raises
        ------
        ShapeError
            If H or W is no multiple of the grid, or `labels` has no three axes.
        """
        scale = cell_size(np.shape(labels), grid)
        labels = np.asarray(labels)
        weight, total, scatter = (np.empty((len(labels), *grid)) for _ in range(3))
        for i, image in enumerate(labels):  # one at a time, so that every pass finds it in the processor's cache
            weight[i], total[i], scatter[i] = _reduce(image.astype(np.float64), grid, scale)
        return cls(weight, total, scatter, scale)

    @property
    def grid(self) -> tuple[int, int]:
        return self.weight.shape[1], self.weight.shape[2]

    @property
    def mean(self) -> Array:
        """[sample, y, x] mean label of a cell; 0 where no pixel has a label."""
        return self.total / np.maximum(self.weight, 1)

    def __len__(self) -> int:
        return len(self.weight)

    def __getitem__(self, samples: slice | Sequence[int] | Ints | Bools) -> Cells:
        """Cells of some of the samples, chosen by a slice, indices or a mask."""
        return Cells(self.weight[samples], self.total[samples], self.scatter[samples], self.scale)

    def coarsen(self, grid: tuple[int, int]) -> Cells:
        """The cells of a coarser grid, without going back to the pixels."""
        step = cell_size(self.weight.shape, grid)
        weight, total = block_sum(self.weight, grid), block_sum(self.total, grid)
        deviation = self.mean - spread(total / np.maximum(weight, 1), step)
        scatter = block_sum(self.scatter + self.weight * deviation**2, grid)
        return Cells(weight, total, scatter, (self.scale[0] * step[0], self.scale[1] * step[1]))


def _reduce(values: Array, grid: tuple[int, int], scale: tuple[int, int]) -> tuple[Array, Array, Array | int]:
    """Weight, total and scatter of one image's cells; `values` (H, W) is overwritten."""
    unknown = np.isnan(values)
    gaps = bool(unknown.any())
    if gaps:
        values[unknown] = 0
    weight = block_sum(~unknown[None], grid)[0] if gaps else np.full(grid, float(scale[0] * scale[1]))
    total = block_sum(values[None], grid)[0]
    if scale == (1, 1):
        return weight, total, 0
    tiles = values.reshape(grid[0], scale[0], grid[1], scale[1])
    tiles -= (total / np.maximum(weight, 1))[:, None, :, None]
    if gaps:
        values[unknown] = 0
    values *= values
    return weight, total, block_sum(values[None], grid)[0]


def cell_size(shape: tuple[int, ...], grid: tuple[int, int]) -> tuple[int, int]:
    """Pixels (y, x) of one cell, or a ShapeError if maps of this shape don't tile the grid."""
    if len(shape) != 3:
        raise ShapeError(f"labels: expected (sample, H, W), got an array of shape {tuple(shape)}")
    if shape[1] % grid[0] or shape[2] % grid[1] or not shape[1] or not shape[2]:
        raise ShapeError(
            f"labels: H and W must be multiples of the activations' {grid[0]} × {grid[1]}, "
            f"got {shape[1]} × {shape[2]}; resize the labels or leave this module out"
        )
    return shape[1] // grid[0], shape[2] // grid[1]


def block_sum(maps: Array | Bools, grid: tuple[int, int]) -> Array:
    """Sum maps (sample, H, W) over the cells of a grid: float64 (sample, y, x)."""
    n, height, width = maps.shape
    rows = maps.reshape(n, grid[0], height // grid[0], width).sum(2, dtype=np.float64)
    sums: Array = rows.reshape(n, grid[0], grid[1], width // grid[1]).sum(3)
    return sums


def block_mean(maps: Array, grid: MapSize) -> Array:
    """Mean of maps (sample, H, W) over the cells of a grid: (sample, y, x); the maps themselves where it is theirs."""
    size = cell_size(maps.shape, grid)
    return maps if size == (1, 1) else block_sum(maps, grid) / (size[0] * size[1])


def spread(maps: Array, scale: tuple[int, int]) -> Array:
    """Nearest upsampling of maps (..., y, x) by whole factors."""
    return maps.repeat(scale[0], axis=-2).repeat(scale[1], axis=-1)
