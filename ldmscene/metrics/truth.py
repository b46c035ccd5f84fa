"""Labels, prepared once for all predictions that are to be scored against them.

A prediction on a grid reaches the labels' resolution by nearest upsampling, so it is constant over a cell,
and a score over pixels is a sum over cells of the labels' cell sums. A prediction at the labels' own
resolution is the same with cells of one pixel. Nothing is approximated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from ldmscene.array_types import AnyArray, Array, Bools, Ints
from ldmscene.cells import Cells, block_sum
from ldmscene.errors import InputError, ShapeError


@dataclass(frozen=True)
class Truth:
    """Labels of some images on one grid; NaN pixels count nowhere."""

    cells: Cells
    mean: Array
    """[image] mean label"""
    scatter: Array
    """[image] Σ (y − mean)² over labelled pixels"""
    ranks: Array | None
    """[image, y, x] cell sums of the labels' ranks, less their mean; None: prepared without"""
    rank_scatter: Array | None
    """[image] Σ (rank − mean rank)² over labelled pixels"""

    @classmethod
    def of(cls, labels: AnyArray, grid: tuple[int, int] | None = None, ranks: bool = True) -> Truth:
        """Prepare labels for predictions on a grid.

        Parameters
        ----------
        labels : array (image, H, W)
            NaN marks a pixel without label.
        grid : (int, int), optional
            y and x of the predictions; H and W must be multiples. None: the labels' own resolution.
        ranks : bool
            Whether Spearman will be asked for.

        Raises
        ------
        ShapeError
            If the labels don't tile the grid.
        InputError
            If an image has no labelled pixel.
        """
        labels = np.asarray(labels)
        cells = Cells.of(labels, labels.shape[1:] if grid is None else grid)
        count = cells.weight.sum((1, 2))
        if not count.all():
            raise InputError(f"labels: image {int(np.argmin(count))} has no labelled pixel; leave it out")
        mean = cells.total.sum((1, 2)) / count
        scatter = _scatter(cells, mean)
        if not ranks:
            return cls(cells, mean, scatter, None, None)
        sums, rank_scatter = np.empty(cells.weight.shape), np.empty(len(labels))
        for i, image in enumerate(labels):  # one by one, since ranks of all pixels take more than the labels
            centred = np.nan_to_num(_ranks(image) - (count[i] + 1) / 2, copy=False)
            sums[i], rank_scatter[i] = block_sum(centred[None], cells.grid)[0], np.square(centred).sum()
        return cls(cells, mean, scatter, sums, rank_scatter)

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, images: slice | Sequence[int] | Ints | Bools) -> Truth:
        """Labels of some of the images, chosen by a slice, indices or a mask."""
        ranks = None if self.ranks is None else self.ranks[images]
        rank_scatter = None if self.rank_scatter is None else self.rank_scatter[images]
        return Truth(self.cells[images], self.mean[images], self.scatter[images], ranks, rank_scatter)

    def coarsen(self, grid: tuple[int, int]) -> Truth:
        """Labels for predictions on a coarser grid, from the sums of the finer one without going back to the pixels."""
        ranks = None if self.ranks is None else block_sum(self.ranks, grid)
        return Truth(self.cells.coarsen(grid), self.mean, self.scatter, ranks, self.rank_scatter)

    @property
    def count(self) -> Array:
        """[image] labelled pixels."""
        pixels: Array = self.weight.sum(-1)
        return pixels

    @property
    def weight(self) -> Array:
        """[image, cell] labelled pixels."""
        return self.cells.weight.reshape(len(self), -1)

    @property
    def total(self) -> Array:
        """[image, cell] sum of labels."""
        return self.cells.total.reshape(len(self), -1)

    def flatten(self, prediction: AnyArray) -> AnyArray:
        """A prediction (..., image, y, x) as (..., image, cell); ShapeError if it is on another grid."""
        prediction = np.asarray(prediction)
        if prediction.shape[-3:] != self.cells.weight.shape:
            raise ShapeError(
                f"prediction: expected (..., image, y, x) ending in {self.cells.weight.shape}, "
                f"got {prediction.shape}; prepare the labels with Truth.of(labels, grid) for its grid"
            )
        flat = prediction.reshape(*prediction.shape[:-2], -1)
        if flat.dtype.kind == "f" and not np.isfinite(flat).all():
            bad = int(np.argmin(np.isfinite(flat).all(-1).reshape(-1, len(self)).all(0)))
            raise InputError(f"prediction: image {bad} holds NaN or infinity")
        return flat


def _ranks(label: AnyArray) -> Array:
    """Ranks (H, W) of an image's labelled pixels, from 1; ties get their average; NaN stays NaN."""
    known = ~np.isnan(label) if label.dtype.kind == "f" else np.ones(label.shape, dtype=bool)
    ranks = np.full(label.shape, np.nan)
    ranks[known] = rankdata(label[known])
    return ranks


def _scatter(cells: Cells, mean: Array) -> Array:
    scatter = (cells.scatter + cells.weight * (cells.mean - mean[:, None, None]) ** 2).sum((1, 2))
    return np.where(scatter <= rounding(cells.weight.sum((1, 2)), mean), 0, scatter)


def rounding(count: Array, mean: Array) -> Array:
    """What Σ (v − mean)² of a constant may come to, since its mean is off by rounding."""
    return count * (4 * np.finfo(np.float64).eps * mean) ** 2
