"""The one protocol behind which every labeler stands."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from ldmscene.errors import InputError, ShapeError

CLASSIFICATION = "classification"
KINDS = ("continuous", "binary", "classes", CLASSIFICATION)
_APART = 2**24  # below which float32 tells all whole numbers apart


class Labeler(Protocol):
    """uint8 images (n, Y, X, 3) in; maps (n, Y, X) out, NaN where a pixel has no label.

    One that gives several targets returns a mapping of maps by name. A classifier of whole pictures gives the
    probability of each class instead, (n, class).

    Attributes
    ----------
    provenance : dict
        What the labels depend on and mean, stored beside them: `labeler`, `weights`, `range`, and `kind`:
        "continuous", "binary" (with the `threshold` above which a pixel is foreground), "classes" (whole
        numbers), or "classification" (with the names of its `classes`). `weights` is a hash of them, or "none".
        Optional: `metric`, the name of the metric by which what is predicted of the labels is judged first;
        `transform`, in words what was done to the pictures and to the output; and, of all kinds but the last, `void`,
        a number that marks a pixel without label.
    """

    @property
    def provenance(self) -> dict[str, Any]: ...

    def __call__(self, images: np.ndarray) -> Mapping[str, np.ndarray] | np.ndarray: ...


def provenance(
    labeler: object, kind: str | None = None, threshold: float | None = None, void: float | None = None
) -> dict[str, Any]:
    """What a labeler says of itself (of a plain callable: its name), and what the caller says of it."""
    if kind is not None and kind not in KINDS[:3]:
        raise InputError(f"kind must be one of {', '.join(KINDS[:3])}; got {kind!r}")
    said = getattr(labeler, "provenance", None)
    found = dict(said) if said is not None else {"labeler": getattr(labeler, "__qualname__", type(labeler).__name__)}
    found |= {} if kind is None else {"kind": kind}
    if threshold is not None and found.get("kind") != "binary":
        raise InputError("threshold: only a binary target has one; add kind='binary'")
    numbers = {"threshold": threshold, "void": void}
    return found | {name: float(number) for name, number in numbers.items() if number is not None}


def read(labeler: Callable[..., Any], target: str, images: np.ndarray, meaning: Mapping[str, Any]) -> np.ndarray:
    """A labeler's maps of one target, float32 (n, Y, X), or a classifier's probabilities (n, class).

    `meaning` is what `provenance` says.

    Raises
    ------
    InputError
        If it doesn't give that target, or its values aren't what they are said to mean.
    ShapeError
        If its maps don't fit the images.
    """
    found = labeler(images)
    check_given(found, target)
    found = found[target] if isinstance(found, Mapping) else found
    expected = images.shape[:-1]
    if meaning.get("kind") == CLASSIFICATION:
        expected = (len(images), len(meaning["classes"]))
    maps = as_numpy(found)
    if maps.shape != expected:
        raise ShapeError(f"the labeler returned {maps.shape} for images {images.shape}; expected {expected}")
    return as_labels(maps, meaning, "the labeler returned")


def check_given(found: object, target: str) -> None:
    """InputError if a labeler's answer is of several targets, and not of this one."""
    if isinstance(found, Mapping) and target not in found:
        raise InputError(f"the labeler gives {', '.join(found)}, not {target!r}; label one of those")


def as_numpy(found: Any) -> np.ndarray:
    """numpy from arrays and tensors, wherever these are, masked where they are; bfloat16 comes as float32."""
    if not hasattr(found, "detach"):
        return np.asanyarray(found)
    here = found.detach().cpu()
    return np.asarray(here.float() if "bfloat16" in str(here.dtype) else here)


def as_labels(maps: np.ndarray, meaning: Mapping[str, Any], what: str) -> np.ndarray:
    """Maps as float32, NaN where masked or of the void number, if their values can mean what they are said to.

    A mask without a threshold is brought to 0 to 1; from its type's range if it is of uint8 or uint16 above 1.

    Raises
    ------
    InputError
        Of whole numbers or booleans without a kind, since they may be a scale, a mask or classes; of classes
        that aren't whole numbers, or too large; of masks of which nobody knows the range; of infinity.
    """
    kind = meaning.get("kind")
    if maps.dtype.kind not in "biuf":
        raise InputError(f"{what} {maps.dtype}; expected numbers")
    if kind is None and maps.dtype.kind != "f":
        raise InputError(
            f"{what} {maps.dtype}, which may be a scale, a mask or classes; "
            "say which with kind='continuous', 'binary' or 'classes'"
        )
    labels = np.asarray(maps, dtype=np.float32)
    if isinstance(maps, np.ma.MaskedArray):
        labels = np.where(maps.mask, np.float32(np.nan), labels)
    if "void" in meaning:
        labels = np.where(labels == meaning["void"], np.float32(np.nan), labels)
    if np.isinf(labels).any():
        raise InputError(f"{what} infinity; NaN marks a pixel without label")
    if kind == "classes" and not np.array_equal(labels, np.rint(labels), equal_nan=True):
        raise InputError(f"{what} {labels[labels != np.rint(labels)][0]:g} as a class; expected whole numbers")
    if kind == "classes" and (np.abs(labels) >= _APART).any():
        raise InputError(
            f"{what} {np.nanmax(np.abs(labels)):.0f} as a class; expected numbers below {_APART}, so number them anew"
        )
    if kind == "classes" and "void" not in meaning and {255} == set(labels[labels > 253]):
        warnings.warn(
            f"{what} the class 255, as pixels without label are often marked; if so, say void=255", stacklevel=4
        )
    if kind == "binary" and meaning.get("threshold") is None:
        return _from_0_to_1(labels, maps.dtype, what)
    return labels


def _from_0_to_1(labels: np.ndarray, dtype: np.dtype, what: str) -> np.ndarray:
    """A mask whose foreground is above a half."""
    levels = np.unique(labels[~np.isnan(labels)])
    if len(levels) == 0 or (levels[0] >= 0 and levels[-1] <= 1):
        return labels
    hard = not levels[:-1].any()
    top = np.iinfo(dtype).max if dtype in (np.uint8, np.uint16) else levels[-1] if hard else np.inf
    if levels[0] < 0 or levels[-1] <= top / 2 or {1, 255} <= set(levels) <= {0, 1, 255}:
        shown = ", ".join(f"{level:g}" for level in levels[:3]) + (" …" if len(levels) > 3 else "")
        raise InputError(
            f"{what} {shown} of {dtype} as a mask, which may mean several things; say above which number is foreground "
            "with threshold=, and which marks pixels without label with void="
        )
    return labels / np.float32(top)
