"""Which labeler is meant by a name, a callable or labels, and what is known of it before it is loaded."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import xarray as xr

from ldmscene import labelers
from ldmscene.errors import InputError
from ldmscene.labelers import CLASSIFICATION, SuppliedLabels


def resolve(labeler: Any, device: str | None = None) -> Any:
    """A labeler or supplied labels, from all that `ldmscene.label` takes.

    Raises
    ------
    InputError
        If there is no labeler of that name, or its package or weights are missing.
    """
    if isinstance(labeler, str):
        return labelers.find(labeler, device)
    return labelers.from_arrays(labeler) if isinstance(labeler, Mapping | xr.DataArray | np.ndarray) else labeler


def check_name(name: str) -> None:
    """UnknownNameError if no labeler is called so; nothing is loaded."""
    labelers.named(name)


def check_given(found: Mapping[str, Any], size: tuple[int, int]) -> None:
    """Refuse a target that its labeler doesn't give, by what each makes of a blank picture.

    Raises
    ------
    InputError
        With what it gives.
    """
    for target, one in found.items():
        if not isinstance(one, SuppliedLabels):
            labelers.check_given(_of_blank(one, size), target)


def _of_blank(labeler: Any, size: tuple[int, int]) -> Any:
    """What a labeler makes of a blank picture; None if it can't read that, as it may read others."""
    with warnings.catch_warnings(action="ignore"), suppress(Exception):
        return labeler(np.zeros((1, *size, 3), np.uint8))
    return None


def gives_maps(labeler: object) -> bool:
    """Whether a labeler gives maps rather than one answer for a whole picture; nothing is loaded."""
    if isinstance(labeler, str):
        return labelers.named(labeler)[0].gives != CLASSIFICATION
    return getattr(labeler, "provenance", {}).get("kind") != CLASSIFICATION


def reads_pictures(labeler: object) -> bool:
    """Whether a labeler looks at pictures, rather than being the labels themselves; nothing is loaded."""
    if isinstance(labeler, str):
        return labelers.named(labeler)[0].gives != "supplied"
    return not isinstance(labeler, SuppliedLabels | Mapping | xr.DataArray | np.ndarray)


def seconds_per_picture(labeler: Any, size: tuple[int, int], device: str | None = None) -> float | None:
    """Timed on a few blank pictures; None where its package or weights aren't here, 0 for labels that are supplied."""
    try:
        found = resolve(labeler, device)
    except InputError:
        return None
    if isinstance(found, SuppliedLabels):
        return 0.0
    blank = np.zeros((4, *size, 3), np.uint8)
    _answer(found, blank[:1])  # the first call may load and compile
    start = time.perf_counter()
    _answer(found, blank)
    return (time.perf_counter() - start) / len(blank)


def _answer(labeler: Any, images: np.ndarray) -> None:
    """Have a labeler read pictures, and wait for its maps: a GPU returns before it has computed them."""
    maps = labeler(images)
    for one in maps.values() if isinstance(maps, Mapping) else [maps]:
        labelers.as_numpy(one)
