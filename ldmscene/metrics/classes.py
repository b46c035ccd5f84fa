"""Scores of maps of classes: accuracy and mean intersection over union.

A prediction is an array of classes (..., image, y, x). As for `Truth`, it is constant over a cell, so that the
labels' counts in each cell suffice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ldmscene.cells import block_sum, cell_size
from ldmscene.errors import InputError, ShapeError

Array = np.ndarray


@dataclass(frozen=True)
class ClassTruth:
    """Labels of some images as counts of each class in the cells of one grid; NaN pixels count nowhere."""

    classes: Array
    """[class] ascending"""
    counts: Array
    """[image, y, x, class] labelled pixels"""

    @classmethod
    def of(cls, labels: Array, grid: tuple[int, int] | None = None, classes: Array | None = None) -> ClassTruth:
        """Prepare labels for predictions on a grid.

        Parameters
        ----------
        labels : array (image, H, W)
            Whole numbers; NaN marks a pixel without label.
        grid : (int, int), optional
            y and x of the predictions; H and W must be multiples. None: the labels' own resolution.
        classes : array (class,), optional
            All classes that may be labelled or predicted; those of the labels where not given.

        Raises
        ------
        ShapeError
            If the labels don't tile the grid.
        InputError
            If an image has no labelled pixel, or a label isn't among the classes.
        """
        labels = np.asarray(labels)
        shape = labels.shape[1:] if grid is None else grid
        cell_size(labels.shape, shape)
        present = np.unique(labels[~np.isnan(labels)] if labels.dtype.kind == "f" else labels)
        known = present if classes is None else np.unique(classes)
        strange = np.setdiff1d(present, known)
        if strange.size:
            raise InputError(f"labels: {strange[0]:g} isn't among the classes {', '.join(f'{c:g}' for c in known)}")
        counts = np.stack([block_sum(labels == one, shape) for one in known], axis=-1)
        labelled = counts.sum((1, 2, 3))
        if not labelled.all():
            raise InputError(f"labels: image {int(np.argmin(labelled))} has no labelled pixel; leave it out")
        return cls(known, counts)

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, images: slice | Sequence[int] | Array) -> ClassTruth:
        """The same for some of the images: a slice, indices or a mask."""
        return ClassTruth(self.classes, self.counts[images])

    def coarsen(self, grid: tuple[int, int]) -> ClassTruth:
        """The same for predictions on a coarser grid, without going back to the pixels."""
        cell_size(self.counts.shape[:3], grid)
        counts = [block_sum(self.counts[..., k], grid) for k in range(len(self.classes))]
        return ClassTruth(self.classes, np.stack(counts, axis=-1))


@dataclass(frozen=True)
class Confusion:
    """How often which class was taken for which."""

    pixels: Array
    """[..., image, labelled class, predicted class]"""

    @classmethod
    def of(cls, truth: ClassTruth, prediction: Array) -> Confusion:
        """Of predicted classes (..., image, y, x).

        Raises
        ------
        ShapeError
            If the prediction is on another grid.
        InputError
            If it holds something that is no class.
        """
        prediction = np.asarray(prediction)
        if prediction.shape[-3:] != truth.counts.shape[:3]:
            raise ShapeError(
                f"prediction: expected (..., image, y, x) ending in {truth.counts.shape[:3]}, got {prediction.shape}"
            )
        masks = [prediction == one for one in truth.classes]
        if not np.logical_or.reduce(masks).all():
            raise InputError(
                f"prediction: holds what is none of the classes {', '.join(f'{c:g}' for c in truth.classes)}"
            )
        columns = [np.einsum("...iyx,iyxk->...ik", mask.astype(np.float64), truth.counts) for mask in masks]
        return cls(np.stack(columns, axis=-1))

    def accuracy(self) -> Array:
        return np.trace(self.pixels, axis1=-2, axis2=-1) / self.pixels.sum((-2, -1))

    def mean_iou(self) -> Array:
        both = np.diagonal(self.pixels, axis1=-2, axis2=-1)
        union = self.pixels.sum(-1) + self.pixels.sum(-2) - both
        present = union > 0
        return np.where(present, both / np.where(present, union, 1), 0).sum(-1) / present.sum(-1)

    def one_class(self) -> Array:
        """Where an image's label holds one class only, so that a constant prediction is perfect."""
        return (self.pixels.sum(-1) > 0).sum(-1) == 1


def accuracy(truth: ClassTruth, prediction: Array) -> Array:
    """The share of each image's labelled pixels whose class is right.

    Parameters
    ----------
    truth : ClassTruth
    prediction : array (..., image, y, x)

    Returns
    -------
    array (..., image)
    """
    return Confusion.of(truth, prediction).accuracy()


def mean_iou(truth: ClassTruth, prediction: Array) -> Array:
    """Intersection over union, averaged over the classes that an image's label or prediction has; as `accuracy`."""
    return Confusion.of(truth, prediction).mean_iou()
