"""Statistics as flat arrays, for keeping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import numpy as np

from ldmscene.probes import Moments


def pack_moments(moments: Moments) -> dict[str, np.ndarray]:
    """All fields by name; of the symmetric matrix, one triangle."""
    changed = {"weight": np.float64(moments.weight), "cxx": moments.cxx[np.triu_indices(len(moments.cxx))]}
    return {name: np.asarray(array) for name, array in (vars(moments) | changed).items()}


def unpack_moments(packed: Mapping[str, np.ndarray]) -> Moments:
    """The inverse of `pack_moments`."""
    weight, mean_x, mean_y, triangle, cxy, cyy = (packed[field.name] for field in fields(Moments))
    cxx = np.empty((len(mean_x), len(mean_x)))
    rows, columns = np.triu_indices(len(cxx))
    cxx[rows, columns] = cxx[columns, rows] = triangle
    return Moments(float(weight), mean_x, mean_y, cxx, cxy, cyy)
