"""Scores of many images, gathered batch by batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Tally:
    """Count, mean and spread of scores over images; every image counts, degenerate or not."""

    count: int
    mean: Array
    """[...]"""
    square: Array
    """[...] Σ (score − mean)²"""
    degenerate: Array
    """[...] how many scores have their value by definition, as of a constant prediction or an empty mask"""

    @classmethod
    def of(cls, scores: Array, degenerate: Array | bool = False) -> Tally:
        """Of scores [..., image]."""
        mean = scores.mean(-1)
        flags = np.broadcast_to(degenerate, scores.shape).sum(-1)
        return cls(scores.shape[-1], mean, ((scores - mean[..., None]) ** 2).sum(-1), flags)

    def merge(self, other: Tally) -> Tally:
        """The scores of both, by Chan's rule; neither is changed."""
        count = self.count + other.count
        delta = other.mean - self.mean
        mean = self.mean + delta * other.count / count
        square = self.square + other.square + delta**2 * self.count * other.count / count
        return Tally(count, mean, square, self.degenerate + other.degenerate)

    @property
    def standard_error(self) -> Array:
        """[...] of the mean over images; NaN for a single one."""
        if self.count < 2:
            return np.full(np.shape(self.mean), np.nan)
        return np.sqrt(self.square / (self.count - 1) / self.count)
