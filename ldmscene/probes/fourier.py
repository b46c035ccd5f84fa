"""Random functions of features, in which a linear fit comes close to one by a kernel: what "linear" may have missed.

Rahimi and Recht (2007, "Random features for large-scale kernel machines", algorithm 1): with frequencies drawn from a
normal distribution, products of √(2 / d) cos(ωᵀx + b) are, on average, the Gaussian kernel of the two points. So the
statistics of a ridge on them are gathered in one pass, as those of the features themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ldmscene.array_types import Array
from ldmscene.errors import InputError
from ldmscene.probes.choice import deviation
from ldmscene.probes.stats import Moments

FUNCTIONS = 256  # that stand beside features unless asked for otherwise


@dataclass(frozen=True)
class FourierFeatures:
    """Features, and random functions of them beside, so that a fit on both reads at least what a linear one does."""

    mean: Array
    """[c]"""
    scale: Array
    """[c]"""
    frequencies: Array
    """[c, d]"""
    phases: Array
    """[d]"""

    @classmethod
    def of(cls, train: Moments, count: int = FUNCTIONS, length: float = 1.0, seed: int = 0) -> FourierFeatures:
        """For features that are standardised by their training data.

        Parameters
        ----------
        train : Moments
        count : int
            How many functions.
        length : float
            The kernel's, in units of the median distance of two points of as many normal features, √(2 c).
        seed : int

        Raises
        ------
        InputError
            If there are no functions, or the length isn't positive.

        Examples
        --------
        >>> import numpy as np
        >>> from ldmscene.probes import FourierFeatures, Moments
        >>> X = np.random.default_rng(0).normal(size=(50, 3))
        >>> FourierFeatures.of(Moments.of(X, None, X[:, 0]), count=8)(X).shape
        (50, 11)
        """
        if count < 1 or not length > 0:
            raise InputError(f"expected at least 1 function and a length above 0, got {count} and {length:g}")
        c, rng = len(train.mean_x), np.random.default_rng(seed)
        scale = deviation(np.diag(train.cxx) / train.weight, train.mean_x)
        frequencies = rng.normal(size=(c, count)) / (length * np.sqrt(2 * c))
        return cls(train.mean_x, scale, frequencies, rng.uniform(0, 2 * np.pi, count))

    def __call__(self, X: Array) -> Array:
        """Features (..., c) to (..., c + d), float64."""
        about = (X.astype(np.float64) - self.mean) / self.scale
        waves = np.sqrt(2 / len(self.phases)) * np.cos(about @ self.frequencies + self.phases)
        return np.concatenate([X, waves], -1)
