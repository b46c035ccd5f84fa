"""Scores that depend on the order of predictions only: Spearman and average precision.

A prediction that is constant over cells ties all pixels of a cell, so its order over pixels follows from
sorting the cells and adding up their pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ldmscene.errors import InputError
from ldmscene.metrics.continuous import correlation
from ldmscene.metrics.truth import Truth

Array = np.ndarray


@dataclass(frozen=True)
class Order:
    """Cells in ascending order of their prediction, with their ties."""

    index: Array
    """[..., image, cell] which cell comes next"""
    first: Array
    """[..., image, cell] position of the first cell with the same prediction"""
    last: Array
    """[..., image, cell] position of the last one"""

    @classmethod
    def of(cls, prediction: Array) -> Order:
        index = np.argsort(prediction, axis=-1)
        ordered = np.take_along_axis(prediction, index, -1)
        position = np.arange(prediction.shape[-1])
        new = np.ones(prediction.shape, dtype=bool)
        new[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
        first = np.maximum.accumulate(np.where(new, position, 0), axis=-1)
        ends = np.roll(new, -1, axis=-1)
        last = np.minimum.accumulate(np.where(ends, position, len(position) - 1)[..., ::-1], axis=-1)[..., ::-1]
        return cls(index, first, last)

    def sort(self, cells: Array) -> Array:
        """Values [image, cell] in this order."""
        return np.take_along_axis(np.broadcast_to(cells, self.index.shape), self.index, -1)


def spearman(truth: Truth, prediction: Array) -> Array:
    """Spearman's rank correlation over the pixels of each image, with average ranks for ties (Spearman 1904).

    Parameters
    ----------
    truth : Truth
        Prepared with ranks.
    prediction : array (..., image, y, x)

    Returns
    -------
    array (..., image)
        0 where the prediction or the label is constant.

    Raises
    ------
    InputError
        If the labels' ranks were left out.
    """
    if truth.ranks is None or truth.rank_scatter is None:
        raise InputError("truth: Spearman needs the labels' ranks; prepare it with Truth.of(..., ranks=True)")
    order = Order.of(truth.flatten(prediction))
    weight = order.sort(truth.weight)
    through = np.cumsum(weight, axis=-1)
    before = np.take_along_axis(through - weight, order.first, -1)
    # Twice the rank less twice the mean rank: whole numbers, so that ties cancel exactly.
    centred = before + np.take_along_axis(through, order.last, -1) - truth.count[:, None]
    covariance = (centred * order.sort(truth.ranks.reshape(truth.weight.shape))).sum(-1)
    return correlation(covariance, (weight * centred**2).sum(-1), truth.rank_scatter)


def average_precision(truth: Truth, prediction: Array) -> Array:
    """Average precision over the pixels of each image: Σ (recall gained) × precision over the thresholds.

    As scikit-learn's average_precision_score: no interpolation, ties share a threshold.

    Parameters
    ----------
    truth : Truth
        Of labels 0 and 1.
    prediction : array (..., image, y, x)
        Scores, higher for foreground.

    Returns
    -------
    array (..., image)
        0 where the label has no foreground.
    """
    order = Order.of(-truth.flatten(prediction).astype(np.float64))
    hits = order.sort(truth.total)
    found = np.take_along_axis(np.cumsum(hits, axis=-1), order.last, -1)
    called = np.take_along_axis(np.cumsum(order.sort(truth.weight), axis=-1), order.last, -1)
    positives = truth.total.sum(-1)
    # Each cell gains its own hits at the precision of its tie, which adds up to the tie's gain.
    return (hits * found / np.maximum(called, 1)).sum(-1) / np.where(positives > 0, positives, 1)
