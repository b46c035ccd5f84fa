"""The few directions in which ridges of all strengths predict.

A ridge's coefficients are a smooth curve of log α, which lies close to a space of few dimensions (its members are
rational functions with poles at −α, as in rational Krylov methods: Ruhe 1984). Data projected on that space give
the predictions of any ridge on the curve, to the rounding of float32, in a fraction of the space of the features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import svd

from ldmscene.array_types import Array
from ldmscene.probes.ridge import Spectrum
from ldmscene.probes.stats import Moments
from ldmscene.probes.widening import subtract

# What float32 coordinates round anyway.
_ROUNDING = 1e-7
# Held-out data may vary where training data hardly do: this share of the mean variance is assumed everywhere.
_FLOOR = 1e-6
_BLOCK_VALUES = 1 << 18  # stay in the cache between the cast and the product


@dataclass(frozen=True)
class Subspace:
    """Directions that are uncorrelated and of unit variance in the training data."""

    mean: Array
    """[c] of the training data"""
    directions: Array
    """[c, r]"""
    duals: Array
    """[c, r] the covariance of the training data times `directions`"""

    @classmethod
    def of(cls, train: Moments, spectrum: Spectrum, coefs: Array) -> Subspace:
        """The space that holds all of `coefs` [k, c], up to 1e-7 of each prediction's deviation."""
        deviation = np.sqrt(spectrum.values / train.weight + _floor(train))
        curves = deviation[:, None] * (spectrum.vectors.T @ coefs.T)
        norms = np.linalg.norm(curves, axis=0)
        curves = curves[:, norms > 0] / norms[norms > 0]
        vectors, values, rotation = svd(curves, full_matrices=False, check_finite=False)
        # left[r]: the worst that r directions leave of any curve
        left = np.cumsum(((values[:, None] * rotation) ** 2)[::-1], axis=0)[::-1]
        enough = np.flatnonzero(np.append(np.sqrt(left.max(1, initial=0)), 0) <= _ROUNDING)[0]
        directions = spectrum.vectors @ (vectors[:, :enough] / deviation[:, None])
        return cls(train.mean_x, directions, _metric(train, directions))

    def project(self, X: Array) -> Array:
        """Coordinates (..., r) of features (..., c), float32."""
        flat = X.reshape(-1, X.shape[-1])
        out = np.empty((len(flat), self.directions.shape[1]), np.float32)
        rows = max(1, _BLOCK_VALUES // flat.shape[1])
        block = np.empty((min(rows, len(flat)), flat.shape[1]))
        for first in range(0, len(flat), rows):
            some = flat[first : first + rows]
            part = block[: len(some)]
            subtract(some, self.mean, part)
            out[first : first + rows] = part @ self.directions
        return out.reshape(*X.shape[:-1], -1)

    def express(self, coef: Array) -> Array:
        """Coefficients [r] of the coordinates that predict as coefficients [c] of the features do."""
        return self.duals.T @ coef

    def lost(self, train: Moments, coef: Array) -> float:
        """What the coordinates lose of a prediction, as a share of its deviation in the training data."""
        outside = coef - self.directions @ self.express(coef)
        whole = coef @ _metric(train, coef)
        return float(np.sqrt(outside @ _metric(train, outside) / whole)) if whole else 0.0


def _metric(train: Moments, coefs: Array) -> Array:
    """The covariance of features with what coefficients [c] or [c, k] predict."""
    return train.cxx @ coefs / train.weight + _floor(train) * coefs


def _floor(train: Moments) -> float:
    return _FLOOR * float(np.trace(train.cxx)) / train.weight / len(train.mean_x)
