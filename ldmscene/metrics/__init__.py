"""Scores of predictions, exact at the labels' resolution at the cost of the activations'.

truth = Truth.of(labels, grid)                  once for each batch of labels and grid
METRICS["spearman"].score(truth, prediction)    (..., image, y, x) -> (..., image)
"""

from ldmscene.metrics.classes import ClassTruth, Confusion, accuracy, mean_iou
from ldmscene.metrics.continuous import Pairs, pearson, r2, rmse
from ldmscene.metrics.overlap import Overlap, dice, dice_background, iou
from ldmscene.metrics.ranking import Ranks, Retrieval, average_precision, spearman
from ldmscene.metrics.table import CLASS_METRICS, METRICS, Metric
from ldmscene.metrics.tally import Tally
from ldmscene.metrics.truth import Truth

__all__ = [
    "CLASS_METRICS",
    "METRICS",
    "ClassTruth",
    "Confusion",
    "Metric",
    "Overlap",
    "Pairs",
    "Ranks",
    "Retrieval",
    "Tally",
    "Truth",
    "accuracy",
    "average_precision",
    "dice",
    "dice_background",
    "iou",
    "mean_iou",
    "pearson",
    "r2",
    "rmse",
    "spearman",
]
