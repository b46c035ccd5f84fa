"""Scores that depend on the order of predictions only: Spearman and average precision.

A prediction that is constant over cells ties all pixels of a cell, so its order over pixels follows from
sorting the cells and adding up their pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ldmscene.array_types import Array, Bools, Ints
from ldmscene.errors import InputError
from ldmscene.metrics.continuous import correlation
from ldmscene.metrics.truth import Truth


@dataclass(frozen=True)
class Order:
    """Cells in the order of their prediction, with their ties."""

    index: Ints
    """[..., image, cell] which cell comes next; of one image, where all have the same prediction"""
    first: Ints
    """[..., image, cell] position of the first cell with the same prediction"""
    last: Ints
    """[..., image, cell] position of the last one"""

    @classmethod
    def of(cls, prediction: Array | Bools, descending: bool = False) -> Order:
        """Of predictions [..., image, cell]."""
        if prediction.strides[-2] == 0:  # one map for all images, by `numpy.broadcast_to`
            prediction = prediction[..., :1, :]
        if descending:
            prediction = -prediction.astype(np.float64)
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
        shape = np.broadcast_shapes(self.index.shape, cells.shape)
        return np.take_along_axis(np.broadcast_to(cells, shape), np.broadcast_to(self.index, shape), -1)

    def at(self, position: Ints, values: Array) -> Array:
        """Values [..., image, cell] in this order, at a position of each cell."""
        return np.take_along_axis(values, np.broadcast_to(position, values.shape), -1)


@dataclass(frozen=True)
class Ranks:
    """Second moments of the ranks of prediction and label over pixels, each [..., image]."""

    covariance: Array
    scatter_p: Array
    scatter_y: Array

    @classmethod
    def of(cls, truth: Truth, prediction: Array | Bools) -> Ranks:
        """Ties get their average rank.

        Raises
        ------
        InputError
            If the labels' ranks were left out.
        """
        if truth.ranks is None or truth.rank_scatter is None:
            raise InputError("truth: Spearman needs the labels' ranks; prepare it with Truth.of(..., ranks=True)")
        order = Order.of(truth.flatten(prediction))
        labels = order.sort(truth.ranks.reshape(truth.weight.shape))
        # Twice the rank less twice the mean rank: whole numbers, so that ties cancel exactly.
        if (truth.weight == truth.weight[0, 0]).all():
            weight = truth.weight[0, 0]
            centred = weight * (order.first + order.last + 1 - truth.weight.shape[-1])
        else:
            weight = order.sort(truth.weight)
            through = np.cumsum(weight, axis=-1)
            centred = order.at(order.first, through - weight) + order.at(order.last, through) - truth.count[:, None]
        parts = (centred * labels).sum(-1), (weight * centred**2).sum(-1), truth.rank_scatter
        return cls(*np.broadcast_arrays(*parts))

    def spearman(self) -> Array:
        return correlation(self.covariance, self.scatter_p, self.scatter_y)

    def constant(self) -> Bools:
        """Where all pixels of the prediction, or of the label, are tied: the correlation is 0."""
        constant: Bools = (self.scatter_p == 0) | (self.scatter_y == 0)
        return constant


@dataclass(frozen=True)
class Retrieval:
    """Foreground among pixels in descending order of their prediction, each [..., image]."""

    gained: Array
    """Σ (hits gained) × precision over the thresholds"""
    positives: Array
    count: Array

    @classmethod
    def of(cls, truth: Truth, prediction: Array | Bools) -> Retrieval:
        order = Order.of(truth.flatten(prediction), descending=True)
        hits, weight = order.sort(truth.total), order.sort(truth.weight)
        found = order.at(order.last, np.cumsum(hits, axis=-1))
        called = order.at(order.last, np.cumsum(weight, axis=-1))
        # Each cell gains its own hits at the precision of its tie, which adds up to the tie's gain.
        gained = (hits * found / np.maximum(called, 1)).sum(-1)
        return cls(*np.broadcast_arrays(gained, truth.total.sum(-1), truth.count))

    def mean(self) -> Array:
        return self.gained / np.where(self.positives > 0, self.positives, 1)

    def one_sided(self) -> Bools:
        """Where the label has no foreground, or nothing else: a precision of 0 or 1."""
        one_sided: Bools = (self.positives == 0) | (self.positives == self.count)
        return one_sided


def spearman(truth: Truth, prediction: Array | Bools) -> Array:
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
    return Ranks.of(truth, prediction).spearman()


def average_precision(truth: Truth, prediction: Array | Bools) -> Array:
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
    return Retrieval.of(truth, prediction).mean()
