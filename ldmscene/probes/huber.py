"""The Huber loss at the labels' resolution, computed on cells. Needs torch.

All pixels of a cell see the same score s. Where they all lie within δ of it, their losses are ½ Σ (s − y)², and where
they all lie beyond, δ Σ |s − y| − ½ δ² each: both follow from the cell's sums. Only other cells' pixels are looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ldmscene.array_types import Array, Ints
from ldmscene.cells import Cells


@dataclass(frozen=True)
class HuberCells:
    """Labels of all samples, as the loss needs them."""

    pixels: Array
    """[sample, y, x, pixel] cell by cell; NaN where a pixel has no label"""
    count: Array
    """[sample, y, x] labelled pixels, float32, as all that follow"""
    mean: Array
    scatter: Array
    """Σ (label − mean)²"""
    low: Array
    high: Array

    @classmethod
    def of(cls, labels: Array, grid: tuple[int, int]) -> HuberCells:
        """Of labels (sample, H, W), float32."""
        cells = Cells.of(labels, grid)
        (y, x), (down, across) = grid, cells.scale
        apart = labels.reshape(len(labels), y, down, x, across).swapaxes(2, 3)
        pixels = np.ascontiguousarray(apart).reshape(len(labels), y, x, -1)
        ends = (np.nan_to_num(way.reduce(pixels, axis=-1)) for way in (np.fmin, np.fmax))
        sums = (
            np.broadcast_to(one, cells.mean.shape).astype(np.float32)
            for one in (cells.weight, cells.mean, cells.scatter)
        )
        return cls(pixels, *sums, *ends)

    def loss(self, scores: torch.Tensor, rows: Ints, delta: float) -> tuple[float, torch.Tensor]:
        """Mean over labelled pixels of some samples, and its gradient by their scores (sample, y, x)."""
        names = ("count", "mean", "scatter", "low", "high")
        count, mean, scatter, low, high = (
            torch.from_numpy(getattr(self, name)[rows]).to(scores.device) for name in names
        )
        total = count.sum()
        if not total:
            return 0.0, torch.zeros_like(scores)
        off = scores - mean
        near = (scores - low <= delta) & (high - scores <= delta)
        far = (scores - high >= delta) | (low - scores >= delta)
        gradient = count * torch.where(near, off, delta * off.sign())
        loss = torch.where(near, (count * off**2 + scatter) / 2, count * (delta * off.abs() - delta**2 / 2))
        mixed = ~(near | far) & (count > 0)
        if mixed.any():
            where = mixed.nonzero(as_tuple=True)
            gradient[where], loss[where] = self._of_pixels(scores[where], rows, where, delta)
        return float(loss.sum() / total), gradient / total

    def _of_pixels(
        self, scores: torch.Tensor, rows: Ints, where: Any, delta: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradient and loss of cells [n], pixel by pixel."""
        sample, y, x = (index.cpu().numpy() for index in where)
        pixels = torch.from_numpy(self.pixels[rows[sample], y, x]).to(scores.device)
        off = (scores[:, None] - pixels).nan_to_num_(0)
        cut = off.clamp(-delta, delta)
        return cut.sum(1), (cut * (off - cut / 2)).sum(1)
