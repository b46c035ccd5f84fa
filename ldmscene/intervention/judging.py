"""What the labeler of a store reads from pictures that are new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ldmscene.labelers import read
from ldmscene.labeling import resolve

Array = np.ndarray


@dataclass(frozen=True)
class Judge:
    """Reads a target from pictures.

    Attributes
    ----------
    target : str
        Such as "mask", or "segments=2" for one of a target's classes.
    binary : bool
        Whether it is a mask.
    meaning : mapping
        What the store says of the target's labels.
    labeler
        That made them.
    """

    target: str
    binary: bool
    meaning: Mapping[str, Any]
    labeler: Any

    @classmethod
    def of(cls, target: str, binary: bool, meaning: Mapping[str, Any], device: str | None = None) -> Judge:
        """By the labels of a store.

        Raises
        ------
        InputError
            If their labeler can't be had: its package or weights are missing, or they were supplied.
        """
        return cls(target, binary, meaning, resolve(meaning["labeler"], device))

    def __call__(self, image: Array) -> Array:
        """The label (Y, X) of a picture uint8 (Y, X, rgb): 0 and 1 for a mask, NaN where there is none."""
        name, _, of_class = self.target.partition("=")
        maps: Array
        (maps,) = read(self.labeler, name, image[None], self.meaning)
        if not self.binary:
            return maps
        foreground = maps == float(of_class) if of_class else maps > self.meaning.get("threshold", 0.5)
        return np.where(np.isnan(maps), np.nan, foreground)
