"""What a grid's probes read while a picture forms: each target by its best module, as in the seven rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from scipy.special import expit
from torch import Tensor

from ldmscene.painting.offer import Offer

Array = np.ndarray


@dataclass(frozen=True)
class ModuleProbe:
    """One target's probe at each step of one module: x @ coef + intercept."""

    module: str
    binary: bool
    coefs: Mapping[int, tuple[Array, float]]

    def read(self, step: int, x: Array) -> Array:
        """What it reads in x (y, x, channel): a share of foreground for a mask, else the value; float32 (y, x)."""
        coef, intercept = self.coefs[step]
        reading = x.astype(np.float64) @ coef + intercept
        shown: Array = (expit(reading) if self.binary else reading).astype(np.float32)
        return shown


def probes_of(grid: xr.Dataset, offer: Offer) -> dict[str, ModuleProbe]:
    """The probe of each target's best module."""
    return {one.name: _probe(grid, one.name, one.best, one.kind == "binary") for one in offer.targets}


def _probe(grid: xr.Dataset, target: str, module: str, binary: bool) -> ModuleProbe:
    here = grid.sel(target=target, module=module)
    channels = int(grid["channels"].sel(module=module))
    coefs = {
        int(step): (
            here["coef"].sel(step=step).values[:channels].astype(np.float64),
            float(here["intercept"].sel(step=step)),
        )
        for step in here["step"].values
    }
    return ModuleProbe(module, binary, coefs)


@dataclass
class Reader:
    """The sink of one picture's run.

    Attributes
    ----------
    maps : dict of str to numpy.ndarray
        What each target's probe reads at the latest step, (y, x); none of a step that the grid doesn't have.
    """

    probes: Mapping[str, ModuleProbe]
    branch: str
    maps: dict[str, Array] = field(default_factory=dict)
    on_host = True
    _step: int = -1

    def take(self, module: str, step: int, branch: str, values: Tensor) -> None:
        if step != self._step:
            self._step, self.maps = step, {}
        for target, probe in self.probes.items():
            if branch == self.branch and probe.module == module and step in probe.coefs:
                self.maps[target] = probe.read(step, values[0].numpy())
