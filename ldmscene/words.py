"""The names that figures, pages and sentences print: of metrics and targets."""

from __future__ import annotations

_METRICS = {
    "dice": "Dice",
    "spearman": "Spearman’s ρ",
    "pearson": "Pearson’s r",
    "rmse": "RMSE",
    "r2": "R²",
    "iou": "IoU",
    "dice_background": "Dice of the background",
    "mahalanobis": "Mahalanobis norm",
}
_TARGETS = {
    "depth": "how near things are",
    "mask": "which pixels are foreground",
    "shading": "where light and shadow fall",
}


def metric_words(metric: str) -> str:
    """A metric as a sentence has it: `Spearman’s ρ`, `Dice`, `average precision`."""
    return _METRICS.get(metric, metric.replace("_", " "))


def metric_title(metric: str) -> str:
    """A metric on its own, such as beside an axis: `Spearman’s ρ`, `Dice`, `Average precision`."""
    return capital(metric_words(metric))


def target_words(target: str) -> str:
    """What a target is, in a few words; empty for one that only its user knows."""
    return _TARGETS.get(target, "")


def capital(text: str) -> str:
    """The first letter large, the others as they are."""
    return text[:1].upper() + text[1:]


def subscripts(text: str) -> str:
    """`xₜ` and `x₀`, as letters of the same font: each font that a figure has is embedded in its PDF."""
    return text.replace("x_t", "xₜ").replace("x_0", "x₀")
