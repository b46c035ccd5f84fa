"""Between class labels and numbers."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, softmax

from ldmscene.array_types import Array
from ldmscene.cells import block_sum
from ldmscene.errors import InputError
from ldmscene.probes.inputs import Samples

_MOST_CLASSES = 256


def find_classes(samples: Samples) -> tuple[Array, Array]:
    """Classes [k], and which pixels [sample, H, W] have a label.

    Raises
    ------
    InputError
        If no pixel has one, or labels are no classes.
    """
    labels = samples.y[..., 0]
    known = ~np.isnan(labels) if labels.dtype.kind == "f" else np.ones(labels.shape, dtype=bool)
    if not known.any():
        raise InputError("y: expected at least one pixel with a label, got none, so there is nothing to learn")
    classes = np.unique(labels[known])
    if len(classes) > _MOST_CLASSES and not samples.table:
        raise InputError(f"y: expected classes, got {len(classes)} different values; threshold the labels first")
    if not samples.table and classes.dtype.kind == "f" and (classes % 1 != 0).any():
        raise InputError(f"y: expected whole numbers as classes, got {classes[classes % 1 != 0][0]:g}; threshold first")
    return classes, known


def count_classes(samples: Samples) -> tuple[Array, Array, Array]:
    """Classes [k], labelled pixels [sample, y, x] and those of each class [..., k].

    Of two classes only the second is counted.
    """
    labels, (classes, known) = samples.y[..., 0], find_classes(samples)
    counted = classes[1:] if len(classes) == 2 else classes
    counts = np.stack([block_sum(labels == one, samples.grid) for one in counted], axis=-1)
    weight = block_sum(known, samples.grid)
    if samples.weight is not None:
        weight, counts = weight * samples.weight[:, None, None], counts * samples.weight[:, None, None, None]
    return classes, weight, counts


def probabilities(decision: Array, n_classes: int) -> Array:
    """Probabilities (..., k) from decision values."""
    if n_classes > 2:
        shares: Array = softmax(decision, axis=-1)
        return shares
    return np.stack([expit(-decision), expit(decision)], axis=-1)


def likeliest(scores: Array) -> Array:
    """Index of the likeliest class from scores (..., 1 or k)."""
    return (scores[..., 0] > 0).astype(int) if scores.shape[-1] == 1 else scores.argmax(-1)
