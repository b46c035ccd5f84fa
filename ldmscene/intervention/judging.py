"""What the labeler of a store reads from pictures that are new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ldmscene.labelers import read
from ldmscene.labeling import resolve
from ldmscene.store.masks import foreground

Array = np.ndarray


@dataclass(frozen=True)
class Judge:
    """Reads labels from pictures, as a store has them.

    Attributes
    ----------
    labels : str
        Their name, such as "mask", or "segments" for all targets that are one of its classes.
    meaning : mapping
        What the store says of them.
    labeler
        That made them.
    """

    labels: str
    meaning: Mapping[str, Any]
    labeler: Any

    @classmethod
    def of(cls, labels: str, meaning: Mapping[str, Any], device: str | None = None) -> Judge:
        """By the labels of a store.

        Raises
        ------
        InputError
            If their labeler can't be had: its package or weights are missing, or they were supplied.
        """
        return cls(labels, meaning, resolve(meaning["labeler"], device))

    def read(self, image: Array) -> Array:
        """The label (Y, X) of a picture uint8 (Y, X, rgb), as it would be stored."""
        (found,) = read(self.labeler, self.labels, image[None], self.meaning)
        label: Array = found
        return label

    def values(self, label: Array, target: str, *, binary: bool) -> Array:
        """A label as a target of it is predicted: 0 and 1 for a mask, float32; NaN where there is none."""
        if not binary:
            return label
        _, _, of_class = target.partition("=")
        if not of_class:
            return foreground(label, self.meaning.get("threshold"))
        return np.where(np.isnan(label), np.nan, label == float(of_class)).astype(np.float32)
