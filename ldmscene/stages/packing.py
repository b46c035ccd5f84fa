"""Statistics as flat arrays, for keeping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

import numpy as np

from ldmscene.probes import Moments


def pack_moments(groups: Sequence[Moments]) -> dict[str, np.ndarray]:
    """Statistics of each group of targets; of a symmetric matrix, one triangle."""
    packed: dict[str, np.ndarray] = {}
    for g, one in enumerate(groups):
        changed = {"weight": np.float64(one.weight), "cxx": one.cxx[np.triu_indices(len(one.cxx))]}
        packed |= {f"{g}.{name}": np.asarray(array) for name, array in (vars(one) | changed).items()}
    return packed


def unpack_moments(packed: Mapping[str, np.ndarray]) -> list[Moments]:
    """The inverse of `pack_moments`."""
    return [_unpack(packed, f"{g}.") for g in range(len(packed) // len(fields(Moments)))]


def _unpack(packed: Mapping[str, np.ndarray], prefix: str) -> Moments:
    weight, mean_x, mean_y, triangle, cxy, cyy = (packed[prefix + field.name] for field in fields(Moments))
    cxx = np.empty((len(mean_x), len(mean_x)))
    rows, columns = np.triu_indices(len(cxx))
    cxx[rows, columns] = cxx[columns, rows] = triangle
    return Moments(float(weight), mean_x, mean_y, cxx, cxy, cyy)
