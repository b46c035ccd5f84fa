"""All metrics by name. A new one is a function and an entry here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ldmscene.metrics.classes import accuracy, mean_iou, one_class
from ldmscene.metrics.continuous import Pairs, pearson, r2, rmse
from ldmscene.metrics.overlap import Overlap, dice, dice_background, iou
from ldmscene.metrics.ranking import average_precision, spearman
from ldmscene.metrics.truth import Truth

Array = np.ndarray
Score = Callable[[Any, Array], Array]


@dataclass(frozen=True)
class Metric:
    """A score for each image, and what one has to know to use it."""

    name: str
    score: Score
    """(truth, prediction [..., image, y, x]) -> [..., image]; a `ClassTruth` for classes, else a `Truth`"""
    degenerate: Score
    """the same arguments -> bool: where the score has its value by definition rather than by measurement"""
    kind: Literal["continuous", "binary", "classes"]
    """of the target"""
    needs: Literal["value", "mask", "rank", "class"]
    """of the prediction: its values, a thresholded mask, scores of which only the order matters, or classes"""
    better: Literal["higher", "lower"]


def _constant(truth: Truth, prediction: Array) -> Array:
    return Pairs.of(truth, prediction).constant()


def _tied(truth: Truth, prediction: Array) -> Array:
    flat = truth.flatten(prediction)
    lowest = np.where(truth.weight > 0, flat, np.inf).min(-1)
    return (lowest == np.where(truth.weight > 0, flat, -np.inf).max(-1)) | (truth.scatter == 0)


def _constant_label(truth: Truth, prediction: Array) -> Array:
    flat = truth.flatten(prediction)
    return np.broadcast_to(truth.scatter == 0, flat.shape[:-1])


def _never(truth: Truth, prediction: Array) -> Array:
    return np.zeros(truth.flatten(prediction).shape[:-1], dtype=bool)


def _empty(truth: Truth, prediction: Array) -> Array:
    return Overlap.of(truth, prediction).empty()


def _empty_background(truth: Truth, prediction: Array) -> Array:
    return Overlap.of(truth, prediction).background().empty()


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("spearman", spearman, _tied, "continuous", "rank", "higher"),
        Metric("pearson", pearson, _constant, "continuous", "value", "higher"),
        Metric("rmse", rmse, _never, "continuous", "value", "lower"),
        Metric("r2", r2, _constant_label, "continuous", "value", "higher"),
        Metric("dice", dice, _empty, "binary", "mask", "higher"),
        Metric("dice_background", dice_background, _empty_background, "binary", "mask", "higher"),
        Metric("iou", iou, _empty, "binary", "mask", "higher"),
        Metric("average_precision", average_precision, _constant_label, "binary", "rank", "higher"),
    )
}

CLASS_METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("mean_iou", mean_iou, one_class, "classes", "class", "higher"),
        Metric("accuracy", accuracy, one_class, "classes", "class", "higher"),
    )
}
