"""Labels as masks: foreground by the threshold that is stored with them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ldmscene.errors import InputError

THRESHOLD = 0.5  # where labels name none


def foreground(maps: np.ndarray, threshold: float | None) -> np.ndarray:
    """float32: 1 above the threshold (0.5 where it is None), 0 elsewhere; NaN stays NaN."""
    above = maps > (THRESHOLD if threshold is None else threshold)
    return np.where(np.isnan(maps), np.nan, above).astype(np.float32)


def as_mask(labels: xr.DataArray, target: str) -> xr.DataArray:
    """Stored labels as `foreground` has them.

    Raises
    ------
    InputError
        If they are classes or continuous.
    """
    kind = labels.attrs.get("kind", "continuous")
    if kind != "binary":
        what = f"labels({target!r}) == CLASS" if kind == "classes" else f"labels({target!r}) > NUMBER"
        raise InputError(f"binary: expected labels of a mask, but {target!r} is {kind}; compare yourself: {what}")
    return labels.copy(data=labels.data.map_blocks(foreground, labels.attrs.get("threshold"), dtype=np.float32))
