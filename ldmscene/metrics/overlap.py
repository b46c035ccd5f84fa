"""Scores of masks: Dice and intersection over union.

A prediction is a mask (..., image, y, x): bool, or the share of each cell that is called foreground.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ldmscene.array_types import Array, Bools
from ldmscene.metrics.truth import Truth

# The published protocol's; it makes two empty masks agree, with a score of 1.
SMOOTHING = 1e-8


@dataclass(frozen=True)
class Overlap:
    """Pixel counts of two masks, each [..., image]."""

    both: Array
    predicted: Array
    labelled: Array
    count: Array
    """all labelled pixels, foreground or not"""

    @classmethod
    def of(cls, truth: Truth, prediction: Array | Bools) -> Overlap:
        mask = truth.flatten(prediction).astype(np.float64)
        both = np.einsum("...im,im->...i", mask, truth.total)
        predicted = np.einsum("...im,im->...i", mask, truth.weight)
        return cls(both, predicted, *np.broadcast_arrays(truth.total.sum(-1), truth.count, both)[:2])

    def background(self) -> Overlap:
        """Counts of the background: foreground and background exchanged, in labels and predictions."""
        neither = self.count - self.predicted - self.labelled + self.both
        return Overlap(neither, self.count - self.predicted, self.count - self.labelled, self.count)

    def dice(self) -> Array:
        return (2 * self.both + SMOOTHING) / (self.predicted + self.labelled + SMOOTHING)

    def iou(self) -> Array:
        union = self.predicted + self.labelled - self.both
        return (self.both + SMOOTHING) / (union + SMOOTHING)

    def dice_background(self) -> Array:
        return self.background().dice()

    def empty(self) -> Bools:
        """Where one of the masks has no pixel: a score of 0, or of 1 if both have none."""
        empty: Bools = (self.predicted == 0) | (self.labelled == 0)
        return empty

    def empty_background(self) -> Bools:
        return self.background().empty()


def dice(truth: Truth, prediction: Array | Bools) -> Array:
    """Dice of the foreground, 2 |A ∩ B| / (|A| + |B|), for each image (Dice 1945).

    With the published smoothing of 1e-8 in numerator and denominator: 1 if both masks are empty, about 0 if
    one is.

    Parameters
    ----------
    truth : Truth
        Of labels 0 and 1.
    prediction : array (..., image, y, x)
        bool, thresholded by the probe; or shares in 0 to 1.

    Returns
    -------
    array (..., image)
    """
    return Overlap.of(truth, prediction).dice()


def dice_background(truth: Truth, prediction: Array | Bools) -> Array:
    """Dice of the background; as `dice` otherwise."""
    return Overlap.of(truth, prediction).dice_background()


def iou(truth: Truth, prediction: Array | Bools) -> Array:
    """Intersection over union of the foreground (Jaccard 1912); as `dice` otherwise."""
    return Overlap.of(truth, prediction).iou()
