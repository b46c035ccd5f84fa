"""Means over few prompts, and how sure they are: the bootstrap of Student's t.

A percentile interval is too narrow with few prompts, and off to one side where their values are skewed. Quantiles of
the studentised mean mend both (Efron and Tibshirani 1993, 12.5; Hall 1988). Below 10 prompts these quantiles are too
uncertain themselves: Student's own, at two fifths of the level, err less often where values are as skewed as the
exponential, and find as much (docs/verdicts.md). So they do where so few prompts vary that many replicates hold none
of these, and have no error. The same draws of prompts serve all curves, so that maxima over steps
or modules give bands that hold for all of them at once (Westfall and Young 1993).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import stdtrit

from ldmscene.array_types import Array

REPLICATES = 1999
CONFIDENCE = 0.95
FEWEST = 4  # prompts: of fewer, too many replicates hold one prompt alone
RESAMPLED = 10  # prompts, from which on quantiles of replicates are used for single means
STRICTER = 0.4  # of the level, for Student's quantiles below that
# A deviation that is this share of a mean is rounding.
_ROUNDING = 1e-12
# A replicate whose error is this share of the whole's lacks the prompts that vary, so that its quotient means nothing.
_LACKING = 1e-2


@lru_cache(maxsize=8)
def counts(prompts: int, replicates: int = REPLICATES, seed: int = 0) -> Array:
    """How often each prompt is drawn in each replicate, [replicate, prompt]; not to be written to."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(prompts, np.full(prompts, 1 / prompts), size=replicates).astype(np.float64)
    drawn.setflags(write=False)
    return drawn


def interval_words(prompts: int) -> str:
    """Which interval there is with so many prompts; "no interval" below 4."""
    if prompts < FEWEST:
        return "no interval"
    return "95 % interval" if prompts >= RESAMPLED else "Student’s 98 % interval"


@dataclass(frozen=True)
class Draws:
    """Means of values [..., prompt], with replicates of them.

    Below 4 prompts bounds are infinite.
    """

    mean: Array
    """[...]"""
    error: Array
    """[...] standard error"""
    deviation: Array
    """[replicate, ...] of replicates' means from the mean, as wide as means over so few prompts vary"""
    student: Array
    """[replicate, ...] replicates' deviations over their own standard errors"""
    prompts: int

    @classmethod
    def of(cls, values: Array, drawn: Array) -> Draws:
        """Of values [..., prompt], for the draws [replicate, prompt] that `counts` gives."""
        n = values.shape[-1]
        mean = values.mean(-1)
        about = (values - mean[..., None]).reshape(-1, n)
        share = drawn / n
        deviation = (share @ about.T).reshape(len(drawn), *mean.shape)
        square = (share @ (about**2).T).reshape(deviation.shape)
        freedom = max(n - 1, 1)
        error = np.sqrt((about**2).sum(1).reshape(mean.shape) / n / freedom)
        nothing = _ROUNDING * (np.abs(mean) + error)
        errors = np.sqrt(np.maximum(square - deviation**2, 0) / freedom)
        student = _student(deviation, errors, np.maximum(nothing, _LACKING * error))
        # A resampled mean varies as if the deviation had been divided by n rather than n − 1.
        return cls(mean, np.where(error > nothing, error, 0), deviation * np.sqrt(n / freedom), student, n)

    def lower(self, level: float = (1 - CONFIDENCE) / 2) -> Array:
        """[...] the mean lies below with a probability of `level`."""
        return self._bound(-self._quantile(level, -1), -np.inf)

    def upper(self, level: float = (1 - CONFIDENCE) / 2) -> Array:
        """[...] the mean lies above with a probability of `level`."""
        return self._bound(self._quantile(level, 1), np.inf)

    def band(self, confidence: float = CONFIDENCE) -> tuple[Array, Array]:
        """Bounds [...] between which all means lie at once with this probability.

        They enclose those of each mean, which are the wider ones of few means and few prompts.
        """
        level = (1 - confidence) / 2
        return (
            np.minimum(self.lower_of_all(level), self.lower(level)),
            np.maximum(self.upper_of_all(level), self.upper(level)),
        )

    def lower_of_all(self, level: float = 1 - CONFIDENCE) -> Array:
        """[...] with a probability of `level`, any mean lies below its bound."""
        largest = self.student.reshape(len(self.student), -1).max(1)
        return self._bound(np.quantile(largest, 1 - level, method="higher"), -np.inf)

    def upper_of_all(self, level: float = 1 - CONFIDENCE) -> Array:
        """[...] with a probability of `level`, any mean lies above its bound."""
        least = self.student.reshape(len(self.student), -1).min(1)
        return self._bound(np.quantile(least, level, method="lower"), np.inf)

    def upper_of_each(self, level: float, axis: int) -> Array:
        """[...] with a probability of `level`, any mean along one axis lies above its bound."""
        least = self.student.min(axis + 1, keepdims=True)
        return self._bound(np.quantile(least, level, axis=0, method="lower"), np.inf)

    def _quantile(self, level: float, sign: int) -> Array:
        """[...] of single means, each as if its replicates had this sign."""
        students = float(stdtrit(max(self.prompts - 1, 1), STRICTER * level))
        if self.prompts < RESAMPLED:
            return np.full(self.mean.shape, students)
        found = np.quantile(sign * self.student, level, axis=0, method="lower")
        return np.where(np.isfinite(found), found, students)

    def _bound(self, quantile: Array | float, unknown: float) -> Array:
        if self.prompts < FEWEST:
            return np.full(self.mean.shape, unknown)
        with np.errstate(invalid="ignore"):  # no error times an infinite quantile
            return self.mean - np.where(self.error > 0, quantile * self.error, 0)


def _student(deviation: Array, errors: Array, nothing: Array) -> Array:
    """Deviations over errors; infinite where a replicate holds one prompt alone, 0 where all prompts are equal."""
    varies = errors > nothing
    student = np.where(np.abs(deviation) > nothing, np.copysign(np.inf, deviation), 0)
    return np.divide(deviation, errors, out=student, where=varies)
