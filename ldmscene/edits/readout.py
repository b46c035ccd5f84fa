"""A probe at one module and step, with what is known of the features that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ldmscene.array_types import Array
from ldmscene.errors import InputError, ShapeError

# Eigenvalues below this share of the largest are rounding of the statistics that they come from.
_NOTHING = 1e-12


@dataclass(frozen=True)
class Readout:
    """A linear probe, and first and second moments of its features over the training samples.

    The probe reads x @ coef + intercept: log odds for a mask, the value for a continuous target.

    Raises
    ------
    ShapeError
        If the arrays don't belong to the same channels.
    InputError
        If a value isn't finite.
    """

    coef: Array
    """[channel]"""
    intercept: float
    mean: Array
    """[channel] of the features"""
    covariance: Array
    """[channel, channel] of the features"""
    cross: Array
    """[channel] covariance of the features with the target"""
    rivals: Mapping[str, Array] = field(default_factory=dict)
    """coefficients [channel] of other probes of the same features, by name"""

    def __post_init__(self) -> None:
        c = len(self.coef)
        for name, array in self.arrays().items():
            expected = (c, c) if name == "covariance" else (c,)
            if array.shape != expected:
                raise ShapeError(f"readout: expected {name} of shape {expected}, got {array.shape}")
            if not np.isfinite(array).all():
                raise InputError(f"readout: {name} holds NaN or infinity; evaluate the store again")

    def arrays(self) -> dict[str, Array]:
        """All arrays by name, those of rivals as `rivals/NAME`."""
        own = {"coef": self.coef, "mean": self.mean, "covariance": self.covariance, "cross": self.cross}
        return own | {f"rivals/{name}": coef for name, coef in self.rivals.items()}

    @cached_property
    def pattern(self) -> Array:
        """[channel] Σw / wᵀΣw, the change of features that goes with a reading of one more (Haufe et al. 2014, eq. 6).

        Of all changes with that reading it has the least Mahalanobis norm. It is 0 where the probe reads nothing.
        """
        along = self._covariance @ self._coef
        return along / max(float(self._coef @ along), np.finfo(float).tiny)

    @cached_property
    def normal(self) -> Array:
        """[channel] w / wᵀw: of all changes with a reading of one more, that of the least Euclidean norm."""
        return self._coef / max(float(self._coef @ self._coef), np.finfo(float).tiny)

    @cached_property
    def eraser(self) -> tuple[Array, Array]:
        """Two vectors [channel], v and u: x − u (x − mean) @ v is independent of the target for every linear probe.

        u = Σxz and v = Σ⁺Σxz / Σxzᵀ Σ⁺ Σxz, which is LEACE for one target (Belrose et al. 2023, theorem 4.2).
        """
        values, vectors = self._spectrum
        some = values > 0
        rotated = vectors[:, some].T @ self.cross.astype(np.float64)
        best = vectors[:, some] @ (rotated / values[some])
        return best / max(float(self.cross @ best), np.finfo(float).tiny), self.cross.astype(np.float64)

    @cached_property
    def root(self) -> Array:
        """[channel, channel] R with R Rᵀ = Σ: R z is distributed as the features are, for a standard normal z."""
        values, vectors = self._spectrum
        return vectors * np.sqrt(values)

    @cached_property
    def whitener(self) -> Array:
        """[channel, rank] V with (x − mean) @ V of unit covariance; its norm is the Mahalanobis distance of x."""
        values, vectors = self._spectrum
        some = values > 0
        return vectors[:, some] / np.sqrt(values[some])

    @cached_property
    def _spectrum(self) -> tuple[Array, Array]:
        values, vectors = np.linalg.eigh(self._covariance)
        return np.where(values > _NOTHING * values[-1], values, 0), vectors

    @property
    def _coef(self) -> Array:
        return self.coef.astype(np.float64)

    @property
    def _covariance(self) -> Array:
        return self.covariance.astype(np.float64)
