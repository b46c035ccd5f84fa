"""The probe of one step at the features of another: whether what a module says stays in the same directions."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ldmscene.array_types import Array
from ldmscene.cells import Cells
from ldmscene.evaluation.features import ModuleOutput
from ldmscene.evaluation.targets import Target
from ldmscene.store import ActivationStore
from ldmscene.store.layout import label_path
from ldmscene.verdicts import Residuals

AT_ONCE = 16  # samples


def transfer_gains(store: ActivationStore, fits: xr.Dataset, target: Target, sample_ids: list[str]) -> Array:
    """Partial R² [fitted, applied] on held-out samples; `fits` is a grid's part of one target and module."""
    steps = fits["step"].values.tolist()
    outputs = [ModuleOutput.of(store, str(fits["module"].item()), step) for step in steps]
    (y, x), channels = outputs[0].size, int(fits["channels"])
    maps, known = (fits[name].values[:, : y * x].reshape(len(steps), y, x) for name in ("gain_map", "known_map"))
    coef = fits["gain_coef"].values[:, :channels]
    explained, left = np.zeros((2, len(steps), len(steps)))
    for first in range(0, len(sample_ids), AT_ONCE):
        ids = sample_ids[first : first + AT_ONCE]
        labels = target.values(store.info(label_path(target.labels)).read(store.rows(ids), {}))
        cells = Cells.of(labels, (y, x))
        for t, output in enumerate(outputs):
            X = output.read(store, ids).astype(np.float64)
            said = np.moveaxis(X @ coef.T, -1, 0) + maps[:, None]
            sums = Residuals.of(cells.weight, cells.mean - known[t], said, cells.scatter.sum((1, 2))).pool()
            explained[:, t] += sums.explained
            left[:, t] += sums.rr
    return explained / left
