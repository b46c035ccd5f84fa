"""All metrics by name.

A new one is an entry here, or in another package an entry point of the group `ldmscene.metrics`: what it reduces a
prediction to, and its value of that. It is a function of the prediction and of what `Truth` holds of each cell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ldmscene.array_types import Array, Bools
from ldmscene.metrics.continuous import Pairs
from ldmscene.metrics.overlap import Overlap
from ldmscene.metrics.ranking import Ranks, Retrieval
from ldmscene.metrics.truth import Truth
from ldmscene.registry import Registry


@dataclass(frozen=True)
class Metric:
    """A score for each image, and what one has to know to use it.

    Examples
    --------
    >>> import numpy as np
    >>> from ldmscene.metrics import METRICS, Truth
    >>> labels = np.arange(32.0).reshape(2, 4, 4)  # (image, H, W)
    >>> METRICS["rmse"].score(Truth.of(labels), labels + 1), METRICS["rmse"].higher_is_better
    (array([1., 1.]), False)
    """

    name: str
    reduce: Callable[[Truth, Any], Any]
    """(truth, prediction [..., image, y, x]) to what several metrics have in common"""
    value: Callable[[Any], Array]
    """of that, the score [..., image]"""
    undefined: Callable[[Any], Bools]
    """of that, bool [..., image]: where there is nothing to measure and the score is a convention, such as 0 for the
    correlation with a constant map"""
    kind: Literal["continuous", "binary"]
    """of the target"""
    needs: Literal["value", "mask", "rank"]
    """of the prediction: its values, a thresholded mask, or scores of which only the order matters"""
    higher_is_better: bool = True
    version: int = 1
    """to be counted up with every change of its values, so that scores that are cached are made anew"""

    def key(self) -> dict[str, Any]:
        """What its values depend on, besides truth and prediction."""
        return {"metric": self.name, "version": self.version}

    def score(self, truth: Truth, prediction: Array | Bools) -> Array:
        """Scores [..., image] of predictions [..., image, y, x]."""
        return self.value(self.reduce(truth, prediction))

    def degenerate(self, truth: Truth, prediction: Array | Bools) -> Bools:
        """Where a score has its value by definition, bool [..., image], for the same arguments."""
        return self.undefined(self.reduce(truth, prediction))


METRICS: Registry[Metric] = Registry(
    "metric",
    "ldmscene.metrics",
    (
        Metric(
            "spearman",
            reduce=Ranks.of,
            value=Ranks.spearman,
            undefined=Ranks.constant,
            kind="continuous",
            needs="rank",
        ),
        Metric(
            "pearson",
            reduce=Pairs.of,
            value=Pairs.pearson,
            undefined=Pairs.constant,
            kind="continuous",
            needs="value",
        ),
        Metric(
            "rmse",
            reduce=Pairs.of,
            value=Pairs.rmse,
            undefined=Pairs.never,
            kind="continuous",
            needs="value",
            higher_is_better=False,
        ),
        Metric(
            "r2",
            reduce=Pairs.of,
            value=Pairs.r2,
            undefined=Pairs.constant_label,
            kind="continuous",
            needs="value",
        ),
        Metric(
            "dice",
            reduce=Overlap.of,
            value=Overlap.dice,
            undefined=Overlap.empty,
            kind="binary",
            needs="mask",
        ),
        Metric(
            "dice_background",
            reduce=Overlap.of,
            value=Overlap.dice_background,
            undefined=Overlap.empty_background,
            kind="binary",
            needs="mask",
        ),
        Metric(
            "iou",
            reduce=Overlap.of,
            value=Overlap.iou,
            undefined=Overlap.empty,
            kind="binary",
            needs="mask",
        ),
        Metric(
            "average_precision",
            reduce=Retrieval.of,
            value=Retrieval.mean,
            undefined=Retrieval.one_sided,
            kind="binary",
            needs="rank",
        ),
    ),
)

DEFAULT = {"continuous": "pearson", "binary": "dice"}  # the metric that speaks for a target, where its labels don't say


def metrics_of(kind: str) -> tuple[Metric, ...]:
    """All metrics of a kind of target, in the order in which they were registered."""
    return tuple(metric for metric in METRICS.values() if metric.kind == kind)
