"""The losses of logistic regression on cells, as passes over the data.

A cell of w pixels of which the share s has the class is a binomial trial: w (log(1 + eᶯ) − s η) is exactly
the sum of its pixels' log losses, since they all see the same η.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ldmscene.array_types import Array, Ints
from ldmscene.probes.rows import Scaled


@dataclass(frozen=True)
class Binomial:
    """Two classes; θ is [d]."""

    rows: Scaled
    n_folds: int

    def gradient(self, theta: Array, held_out: Ints) -> Array:
        weights = theta.T.astype(self.rows.dtype)
        total = np.zeros(theta.shape)
        for block in self.rows:
            # σ(η) = ½ + ½ tanh(½ η) neither overflows nor branches.
            share = np.tanh(0.5 * (block.X @ weights))
            share += 1
            share *= 0.5 * block.weight[:, None]
            share -= block.counts
            share[:, held_out == block.fold] = 0
            total += share.T @ block.X
        return total

    def hessians(self, theta: Array) -> Array:
        d = self.rows.width
        total = np.zeros((self.n_folds, d, d))
        for block in self.rows:
            small = np.exp(-np.abs(block.X @ theta.astype(self.rows.dtype)))
            root = np.sqrt(block.weight * small) / (1 + small)
            weighted = block.X * root[:, None]
            total[block.fold] += weighted.T @ weighted
        return total

    def held_out_loss(self, theta: Array, held_out: Ints) -> Array:
        """Mean log loss [p] of each problem on the fold that it left out."""
        loss, weight = np.zeros((2, len(theta)))
        for block in self.rows:
            for p in np.flatnonzero(held_out == block.fold):
                eta = block.X @ theta[p].astype(self.rows.dtype)
                loss[p] += block.weight @ np.logaddexp(0, eta) - block.counts[:, 0] @ eta
                weight[p] += block.weight.sum()
        return loss / np.where(weight > 0, weight, 1)


@dataclass(frozen=True)
class Multinomial:
    """k classes, each with its own coefficients, as in scikit-learn; θ is [k · d]."""

    rows: Scaled
    n_folds: int
    n_classes: int

    def gradient(self, theta: Array, held_out: Ints) -> Array:
        p, k, d = len(theta), self.n_classes, self.rows.width
        weights = theta.reshape(p * k, d).T.astype(self.rows.dtype)
        total = np.zeros((p * k, d))
        for block in self.rows:
            share = _softmax((block.X @ weights).reshape(-1, p, k))
            residual = block.weight[:, None, None] * share - block.counts[:, None]
            residual[:, held_out == block.fold] = 0
            total += residual.reshape(-1, p * k).T @ block.X
        return total.reshape(p, k * d)

    def hessians(self, theta: Array) -> Array:
        k, d = self.n_classes, self.rows.width
        total, weight = np.zeros((self.n_folds, k, d, k, d)), np.zeros(self.n_folds)
        weights = theta.reshape(k, d).T.astype(self.rows.dtype)
        for block in self.rows:
            share = _softmax(block.X @ weights)
            weight[block.fold] += block.weight.sum()
            for a in range(k):
                for b in range(a, k):
                    curvature = block.weight * share[:, a] * ((a == b) - share[:, b])
                    product = block.X.T @ (curvature[:, None] * block.X)
                    total[block.fold, a, :, b] += product
        for a, b in np.argwhere(np.tri(k, k=-1)).tolist():
            total[:, a, :, b] = total[:, b, :, a].swapaxes(1, 2)
        # A constant added to all classes' intercepts changes no probability: without this H is singular.
        if self.rows.intercept:
            total[:, :, -1, :, -1] += weight[:, None, None]
        return total.reshape(self.n_folds, k * d, k * d)

    def held_out_loss(self, theta: Array, held_out: Ints) -> Array:
        """Mean log loss [p] of each problem on the fold that it left out."""
        loss, weight = np.zeros((2, len(theta)))
        for block in self.rows:
            for p in np.flatnonzero(held_out == block.fold):
                eta = block.X @ theta[p].reshape(self.n_classes, -1).T.astype(self.rows.dtype)
                loss[p] += block.weight @ np.logaddexp.reduce(eta, axis=1) - (block.counts * eta).sum()
                weight[p] += block.weight.sum()
        return loss / np.where(weight > 0, weight, 1)


def _softmax(eta: Array) -> Array:
    share: Array = np.exp(eta - eta.max(-1, keepdims=True))
    share /= share.sum(-1, keepdims=True)
    return share
