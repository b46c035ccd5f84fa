"""Scores of predictions, exact at the labels' resolution at the cost of the activations'.

truth = Truth.of(labels, grid)                  once for each batch of labels and grid
METRICS["spearman"].score(truth, prediction)    (..., image, y, x) -> (..., image)
"""

from ldmscene.metrics.continuous import Pairs, pearson, r2, rmse
from ldmscene.metrics.overlap import Overlap, dice, dice_background, iou
from ldmscene.metrics.ranking import Ranks, Retrieval, average_precision, spearman
from ldmscene.metrics.registry import DEFAULT, METRICS, Metric, metrics_of
from ldmscene.metrics.truth import Truth

__all__ = [
    "DEFAULT",
    "METRICS",
    "Metric",
    "Overlap",
    "Pairs",
    "Ranks",
    "Retrieval",
    "Truth",
    "average_precision",
    "dice",
    "dice_background",
    "iou",
    "metrics_of",
    "pearson",
    "r2",
    "rmse",
    "spearman",
]
