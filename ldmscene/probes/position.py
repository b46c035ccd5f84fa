"""What the position alone tells: smooth functions over the map, whose products with features need no second pass.

Every sample has the same basis Z. So XᵀUᵀWUZ needs the sum over samples of w·X at each position, and one small product.
The functions are the terms of the two-dimensional discrete cosine transform (Ahmed, Natarajan and Rao 1974), in shells
of rising frequency: the first k × k of them, up to all positions, where they span what indicator columns span.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ldmscene.array_types import Array
from ldmscene.errors import InputError
from ldmscene.probes.bilinear import apply_stencil
from ldmscene.probes.nested import Projection
from ldmscene.probes.ridge import held_out_error
from ldmscene.probes.stats import Moments, merge_all
from ldmscene.probes.targets import Targets, moments_by_position

# Frequencies along a side that statistics hold: all of maps up to 8 × 8, and what larger maps' labels want.
SIDE = 8
# Held-out error that may be left on the table for fewer terms: a tenth of the least effect that counts.
_SLACK = 0.002


def terms(grid: tuple[int, int], side: int) -> int:
    """How many functions there are of `side` × `side` frequencies on a grid (y, x), without the constant."""
    return min(side, grid[0]) * min(side, grid[1]) - 1


def cosines(grid: tuple[int, int], side: int) -> Array:
    """The functions (y, x, term) of the first `side` × `side` frequencies, in shells, so that fewer are a prefix.

    The constant, which every fit has as its intercept, is left out.

    Raises
    ------
    InputError
        If `side` is no whole number from 1 to the longer side of the grid.
    """
    if not isinstance(side, int | np.integer) or not 1 <= side <= max(grid):
        raise InputError(
            f"position: expected a whole number of terms along a side, 1 to {max(grid)} on a grid of "
            f"{grid[0]} × {grid[1]}, got {side!r}"
        )
    along_y, along_x = (np.cos(np.pi * np.outer(np.arange(n) + 0.5, np.arange(min(side, n))) / n) for n in grid)
    pairs = [(i, j) for i in range(along_y.shape[1]) for j in range(along_x.shape[1]) if i or j]
    pairs.sort(key=lambda pair: (max(pair), pair))
    maps = [np.outer(along_y[:, i], along_x[:, j]) for i, j in pairs]
    return np.stack(maps, -1) if maps else np.zeros((*grid, 0))


@dataclass(frozen=True)
class Position:
    """The basis over some samples with labels, ready to be put beside the features of any module and step."""

    targets: Targets
    basis: Array
    """[y, x, k]"""

    @cached_property
    def alone(self) -> Moments:
        """Statistics of the basis against the targets; the labels alone decide them."""
        k, t = self.basis.shape[-1], len(self.targets.names)
        weight = self.targets.weight.sum(0).reshape(-1)
        total = float(weight.sum())
        if not total:
            return Moments.empty(k, t)
        flat = self.basis.reshape(len(weight), k)
        sums = np.einsum("syx,syxt->yxt", self.targets.weight, self.targets.mean).reshape(-1, t)
        mean_x, mean_y = weight @ flat / total, sums.sum(0) / total
        about = flat - mean_x
        cxx = about.T @ self._lifted(about, weight)
        count = self.targets.weight.sum((1, 2))
        cyy = self.targets.scatter.sum(0) + count @ (self.targets.label_mean - mean_y) ** 2
        return Moments(total, mean_x, mean_y, (cxx + cxx.T) / 2, about.T @ (sums - weight[:, None] * mean_y), cyy)

    def _lifted(self, about: Array, weight: Array) -> Array:
        """UᵀWU times the basis, over all samples together."""
        if self.targets.stencil is None:
            return weight[:, None] * about
        whole = self.targets.stencil.sum(0, keepdims=True)
        return apply_stencil(whole, about.reshape(1, *self.basis.shape)).reshape(about.shape)

    def beside(self, X: Any, precision: str = "float64") -> Moments:
        """Statistics of k + c features, the basis first.

        Parameters
        ----------
        X : array or torch.Tensor (sample, y, x, c)
        precision : {"float64", "float32"}
            Of products of features that are float16; all others have those of float64.
        """
        alone = self.alone
        own, sums = moments_by_position(X, self.targets, precision)
        if not own.weight:
            return Moments.empty(len(alone.mean_x) + len(own.mean_x), len(own.mean_y))
        cross = (self.basis.reshape(len(sums), -1) - alone.mean_x).T @ sums
        return Moments(
            own.weight,
            np.concatenate([alone.mean_x, own.mean_x]),
            own.mean_y,
            np.block([[alone.cxx, cross], [cross.T, own.cxx]]),
            np.concatenate([alone.cxy, own.cxy]),
            own.cyy,
            np.concatenate([np.zeros(len(alone.mean_x)), own.rounding]),
        )


def choose_side(folds: Sequence[Moments], grid: tuple[int, int]) -> int:
    """How many frequencies along a side the targets want, by cross-validation from the labels alone.

    The fewest whose held-out error is within .002 of the least, as a share of it, for every target.

    Parameters
    ----------
    folds : sequence of Moments
        `Position.alone` of each fold, of the largest side that is to be tried.
    grid : (int, int)
        y and x of the maps.
    """
    folds = [fold for fold in folds if fold.weight]
    known = len(folds[0].mean_x)
    sides = [side for side in range(1, max(grid) + 1) if terms(grid, side) <= known]
    errors = np.array([_alone(folds, terms(grid, side)) for side in sides])
    enough = (errors <= (1 + _SLACK) * errors.min(0)).all(1)
    return sides[int(np.argmax(enough))] if enough.any() else sides[int(errors.sum(1).argmin())]


def _alone(folds: Sequence[Moments], known: int) -> Array:
    """Mean held-out squared error [t] of a fit on the first functions."""
    errors = []
    for k, test in enumerate(folds):
        train = merge_all(fold for j, fold in enumerate(folds) if j != k)
        coef = Projection.of(train, known).of_targets.T
        errors.append(held_out_error(coef[None], _prefix(train, known), _prefix(test, known))[0])
    mean: Array = np.mean(errors, 0)
    return mean


def _prefix(moments: Moments, known: int) -> Moments:
    """Of the first features alone."""
    some = moments.cxx[:known, :known], moments.cxy[:known]
    return Moments(moments.weight, moments.mean_x[:known], moments.mean_y, *some, moments.cyy)
