"""Scores of maps of numbers: Pearson, RMSE and R².

A prediction is an array (..., image, y, x) in the units of the labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ldmscene.array_types import Array, Bools
from ldmscene.metrics.truth import Truth, rounding


@dataclass(frozen=True)
class Pairs:
    """Second moments of prediction and label over pixels, each [..., image]."""

    count: Array
    mean_p: Array
    mean_y: Array
    spp: Array
    """Σ (p − p̄)²"""
    spy: Array
    """Σ (p − p̄)(y − ȳ)"""
    syy: Array
    """Σ (y − ȳ)²"""
    sse: Array
    """Σ (y − p)²"""

    @classmethod
    def of(cls, truth: Truth, prediction: Array | Bools) -> Pairs:
        p = truth.flatten(prediction).astype(np.float64)
        weight, cell_mean = truth.weight, truth.cells.mean.reshape(truth.weight.shape)
        count = truth.count
        mean_p = (p * weight).sum(-1) / count
        within = truth.cells.scatter.sum((1, 2))
        sse = within + (weight * (cell_mean - p) ** 2).sum(-1)
        p = p - mean_p[..., None]
        spp = (weight * p**2).sum(-1)
        spy = (p * (truth.total - weight * truth.mean[:, None])).sum(-1)
        spp = np.where(spp <= rounding(count, mean_p), 0, spp)
        return cls(*np.broadcast_arrays(count, mean_p, truth.mean, spp, spy, truth.scatter, sse))

    def pearson(self) -> Array:
        return correlation(self.spy, self.spp, self.syy)

    def rmse(self) -> Array:
        return np.sqrt(self.sse / self.count)

    def r2(self) -> Array:
        constant = self.syy == 0
        score = 1 - self.sse / np.where(constant, 1, self.syy)
        return np.where(constant, self.sse == 0, score)

    def constant(self) -> Bools:
        """Where prediction or label doesn't vary: the correlation is 0."""
        constant: Bools = (self.spp == 0) | (self.syy == 0)
        return constant

    def constant_label(self) -> Bools:
        """Where the label doesn't vary: R² is 0 or 1."""
        constant: Bools = self.syy == 0
        return constant

    def never(self) -> Bools:
        """Nowhere: an error is always measured."""
        return np.zeros(self.sse.shape, dtype=bool)


def correlation(spy: Array, spp: Array, syy: Array) -> Array:
    """Σpy / √(Σpp Σyy), and 0 where one of them doesn't vary."""
    norm = np.sqrt(spp) * np.sqrt(syy)
    return np.clip(np.where(norm > 0, spy / np.where(norm > 0, norm, 1), 0), -1, 1)


def pearson(truth: Truth, prediction: Array | Bools) -> Array:
    """Pearson's correlation over the pixels of each image.

    Parameters
    ----------
    truth : Truth
    prediction : array (..., image, y, x)

    Returns
    -------
    array (..., image)
        0 where the prediction or the label is constant.
    """
    return Pairs.of(truth, prediction).pearson()


def rmse(truth: Truth, prediction: Array | Bools) -> Array:
    """Root mean squared error over the pixels of each image, in the labels' units; as `pearson` otherwise."""
    return Pairs.of(truth, prediction).rmse()


def r2(truth: Truth, prediction: Array | Bools) -> Array:
    """Coefficient of determination over the pixels of each image; as `pearson` otherwise.

    Where the label is constant: 1 if the prediction is exact, else 0, as scikit-learn's r2_score has it.
    """
    return Pairs.of(truth, prediction).r2()
