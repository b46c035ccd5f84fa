"""All metrics by name. A new one is an entry here: what it reduces a prediction to, and its value of that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ldmscene.metrics.classes import Confusion
from ldmscene.metrics.continuous import Pairs
from ldmscene.metrics.overlap import Overlap
from ldmscene.metrics.ranking import Ranks, Retrieval

Array = np.ndarray


@dataclass(frozen=True)
class Metric:
    """A score for each image, and what one has to know to use it."""

    name: str
    reduce: Callable[[Any, Array], Any]
    """(truth, prediction [..., image, y, x]) to what several metrics have in common"""
    value: Callable[[Any], Array]
    """of that, the score [..., image]"""
    undefined: Callable[[Any], Array]
    """of that, where the score has its value by definition rather than by measurement"""
    kind: Literal["continuous", "binary", "classes"]
    """of the target"""
    needs: Literal["value", "mask", "rank", "class"]
    """of the prediction: its values, a thresholded mask, scores of which only the order matters, or classes"""
    better: Literal["higher", "lower"]

    def score(self, truth: Any, prediction: Array) -> Array:
        """Scores [..., image] of predictions [..., image, y, x]; `truth` is a `Truth`, of classes a `ClassTruth`."""
        return self.value(self.reduce(truth, prediction))

    def degenerate(self, truth: Any, prediction: Array) -> Array:
        """Where a score has its value by definition, bool [..., image]; as `score` otherwise."""
        return self.undefined(self.reduce(truth, prediction))


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("spearman", Ranks.of, Ranks.spearman, Ranks.constant, "continuous", "rank", "higher"),
        Metric("pearson", Pairs.of, Pairs.pearson, Pairs.constant, "continuous", "value", "higher"),
        Metric("rmse", Pairs.of, Pairs.rmse, Pairs.never, "continuous", "value", "lower"),
        Metric("r2", Pairs.of, Pairs.r2, Pairs.constant_label, "continuous", "value", "higher"),
        Metric("dice", Overlap.of, Overlap.dice, Overlap.empty, "binary", "mask", "higher"),
        Metric(
            "dice_background", Overlap.of, Overlap.dice_background, Overlap.empty_background, "binary", "mask", "higher"
        ),
        Metric("iou", Overlap.of, Overlap.iou, Overlap.empty, "binary", "mask", "higher"),
        Metric("average_precision", Retrieval.of, Retrieval.mean, Retrieval.one_sided, "binary", "rank", "higher"),
    )
}

CLASS_METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("mean_iou", Confusion.of, Confusion.mean_iou, Confusion.one_class, "classes", "class", "higher"),
        Metric("accuracy", Confusion.of, Confusion.accuracy, Confusion.one_class, "classes", "class", "higher"),
    )
}
