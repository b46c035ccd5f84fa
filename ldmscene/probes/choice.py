"""Strengths and scales: what they may be, and which strength the held-out scores speak for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ldmscene.array_types import Array, Ints
from ldmscene.errors import InputError

# Errors this close are rounding, not evidence.
_TIE = 1e-12


def check_alphas(alphas: float | Sequence[float] | Array) -> Array:
    """Strengths [a], ascending and without repetition; InputError unless all are positive and finite."""
    try:
        values = np.unique(np.asarray(alphas, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise InputError(f"alphas: expected positive numbers, got {alphas!r}") from error
    if not values.size or not np.isfinite(values).all() or values[0] <= 0:
        raise InputError(f"alphas: expected positive numbers, got {alphas!r}; use 1e-12 or so for no penalty")
    return values


def choose(errors: Array, one_standard_error: bool = False) -> Ints:
    """Index [t] of the best of ascending strengths, given held-out errors [fold, a, t].

    The mean over folds decides, as in scikit-learn's searches. Ties go to the larger strength. With
    `one_standard_error`, so does all that lies within one standard error of the best.
    """
    mean = errors.mean(0)
    best = mean.min(0)
    limit = best + _TIE * np.abs(best)
    if one_standard_error:
        at = (mean.argmin(0), np.arange(mean.shape[1]))
        limit = limit + (errors.std(0, ddof=1) / np.sqrt(len(errors)))[at]
    acceptable = mean <= limit
    chosen: Ints = len(mean) - 1 - acceptable[::-1].argmax(0)
    return chosen


def deviation(variance: Array, mean: Array) -> Array:
    """Standard deviation of features, and 1 for a constant one, whose variance is rounding."""
    rounding = (10 * np.finfo(np.float64).eps * mean) ** 2
    return np.sqrt(np.where(variance > rounding, variance, 1))
