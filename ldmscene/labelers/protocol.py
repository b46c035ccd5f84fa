"""The one protocol behind which every labeler stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from ldmscene.errors import InputError, ShapeError


class Labeler(Protocol):
    """uint8 images (n, Y, X, 3) in; named float maps (n, Y, X) out, NaN where a pixel has no label.

    Attributes
    ----------
    id : str
    provenance : dict
        What the labels depend on and mean, kept beside them: `labeler`, `weights`, `range`, and `kind`
        ("continuous" or "binary", the latter with the `threshold` above which a pixel is foreground).
    """

    id: str

    @property
    def provenance(self) -> dict: ...

    def __call__(self, images: np.ndarray) -> Mapping[str, np.ndarray]: ...


def provenance(labeler: Labeler | Callable) -> dict:
    """What a labeler says of itself; of a plain callable, its name."""
    given = getattr(labeler, "provenance", None)
    if given is not None:
        return dict(given)
    return {"labeler": getattr(labeler, "__qualname__", type(labeler).__name__), "kind": "continuous"}


def read(labeler: Labeler | Callable, target: str, images: np.ndarray) -> np.ndarray:
    """A labeler's maps of one target, float32 (n, Y, X).

    Raises
    ------
    InputError
        If it doesn't give that target.
    ShapeError
        If its maps don't fit the images.
    """
    found = labeler(images)
    if isinstance(found, Mapping):
        if target not in found:
            raise InputError(f"the labeler gives {', '.join(found)}, not {target!r}; label one of those")
        found = found[target]
    maps = np.asarray(found, dtype=np.float32)
    if maps.shape != images.shape[:-1]:
        raise ShapeError(f"the labeler returned {maps.shape} for images {images.shape}; expected {images.shape[:-1]}")
    return maps
