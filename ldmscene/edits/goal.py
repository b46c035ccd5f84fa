"""What a probe reads in a module's output and what it is to read there. Needs torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ldmscene.array_types import Array
from ldmscene.cells import Cells
from ldmscene.edits.readout import Readout


@dataclass(frozen=True)
class Goal:
    """For a batch of samples, on one module's grid.

    Attributes
    ----------
    reading : Tensor (sample, y, x)
        What the probe reads now: log odds for a mask.
    wanted : Tensor (sample, y, x)
        What it is to read; NaN leaves a cell alone.
    labels : Tensor (sample, Y, X)
        The wanted map at its own size: 0 and 1 for a mask; NaN leaves a pixel alone.
    region : Tensor (sample, y, x), bool
        Cells that the edit is about: all that are foreground now or then, or all that the wanted map changes.
    binary : bool
        Whether the target is a mask.
    donor : Tensor (sample, y, x, channel), optional
        Another trajectory's activations.
    """

    reading: Tensor
    wanted: Tensor
    labels: Tensor
    region: Tensor
    binary: bool
    donor: Tensor | None = None

    @property
    def residual(self) -> Tensor:
        """(sample, y, x) by how much the reading is to change; 0 in cells that are left alone."""
        return torch.nan_to_num(self.wanted - self.reading, nan=0.0)


@dataclass(frozen=True)
class Maps:
    """Own and wanted maps (sample, Y, X) of a batch, from which each module's goal follows."""

    own: Array
    wanted: Array
    binary: bool
    margin: float

    def goal(self, x: Tensor, readout: Readout, donor: Tensor | None = None) -> Goal:
        """On the grid of x (sample, y, x, channel)."""
        grid = x.shape[1], x.shape[2]
        wanted = cell_values(self.wanted, grid, binary=self.binary, margin=self.margin)
        own = cell_values(self.own, grid, binary=self.binary, margin=self.margin)
        region = ~np.isnan(wanted) & ((own > 0) | (wanted > 0) if self.binary else own != wanted)
        return Goal(
            reading=read(x, readout),
            wanted=like(wanted, x),
            labels=like(self.wanted, x),
            region=torch.from_numpy(region).to(x.device),
            binary=self.binary,
            donor=donor,
        )


def cell_values(labels: Array, grid: tuple[int, int], *, binary: bool, margin: float) -> Array:
    """What a probe is to read in each cell of labels (sample, Y, X): float64 (sample, y, x).

    The mean label; for a mask ± margin, with + where at least half of a cell's labelled pixels are foreground. NaN
    where no pixel has a label.
    """
    cells = Cells.of(labels, grid)
    values = np.where(cells.mean >= 0.5, margin, -margin) if binary else cells.mean
    return np.where(cells.weight > 0, values, np.nan)


def read(x: Tensor, readout: Readout) -> Tensor:
    """What the probe reads in x (sample, y, x, channel): (sample, y, x)."""
    return wide(x) @ like(readout.coef, x) + readout.intercept


def wide(x: Tensor) -> Tensor:
    """In float64 where the device has it: in float32 the sum over channels would lose what the reading is held to."""
    return x.to(_dtype(x))


def like(array: Array, x: Tensor) -> Tensor:
    """An array on the device of x, as `wide` has it."""
    return torch.from_numpy(np.asarray(array, np.float64)).to(device=x.device, dtype=_dtype(x))


def _dtype(x: Tensor) -> torch.dtype:
    return torch.float32 if x.device.type == "mps" else torch.float64
