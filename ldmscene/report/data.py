"""What a report is made from: one value, checked when it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from ldmscene.errors import IncompleteError, ShapeError, unknown
from ldmscene.report.interventions import Intervention

NOISY = "noisy"
PREDICTED = "predicted"


@dataclass(frozen=True)
class ReportData:
    """Scores of all held-out samples, and the pictures of those that are shown.

    Arrays may be dask-backed; they are read a few samples at a time. Each has a `sample` coordinate that
    equals `samples.index`.

    Attributes
    ----------
    grid
        The scores, as `ldmscene.grid` describes them. Its `sample` may hold more than is shown.
    samples
        The shown samples: index `sample_id`, columns `prompt_id`, `prompt`, `seed`, `split`.
    image
        (sample, Y, X, rgb) uint8, the final images.
    noisy, predicted
        (sample, step, Y, X, rgb) uint8: x_t before the denoiser's call `step`, and the x_0 that it
        predicts there, both decoded. None where previews weren't stored.
    labels
        Target to (sample, Y, X), NaN where there is no label, such as the sky of shading.
    intermediate
        (source, target) to (sample, step, Y, X): the labeler's reading of the unfinished picture, where
        source is "noisy" or "predicted".
    predict
        (target, module, step) to the probe's map (sample, y, x) of the shown samples at the activation's
        resolution, a probability for binary targets. The site calls it once for each cell of the grid, for
        all targets of a module and step in a row.
    provenance
        What was run: fingerprint, versions, `command`; `model` has a `name`. Mappings may nest.
    transfer
        Target to what the probe of each step gains at every other, (fitted, applied), where that was run.
    interventions
        Edits of the same store, for a page of their own.

    Raises
    ------
    ShapeError
        An array whose samples or dimensions aren't those described.
    IncompleteError
        A target of the grid whose labels are missing.
    UnknownNameError
        A label whose target the grid doesn't have.
    """

    grid: xr.Dataset
    samples: pd.DataFrame
    image: xr.DataArray
    noisy: xr.DataArray | None
    predicted: xr.DataArray | None
    labels: Mapping[str, xr.DataArray]
    intermediate: Mapping[tuple[str, str], xr.DataArray]
    predict: Callable[[str, str, int], xr.DataArray]
    provenance: Mapping[str, object]
    transfer: Mapping[str, xr.DataArray] = field(default_factory=dict)
    interventions: Sequence[Intervention] = ()

    def __post_init__(self) -> None:
        self._check("image", self.image, ("sample", "Y", "X", "rgb"))
        for name, strip in ((NOISY, self.noisy), (PREDICTED, self.predicted)):
            if strip is not None:
                self._check(name, strip, ("sample", "step", "Y", "X", "rgb"))
        for target in self.targets:
            if target not in self.labels:
                raise IncompleteError(f"the grid scores {target!r}, but its labels are missing; add them")
        for target, label in self.labels.items():
            if target not in self.targets:
                raise unknown("target in this grid", target, self.targets)
            self._check(f"labels[{target!r}]", label, ("sample", "Y", "X"))
        for key, reading in self.intermediate.items():
            self._check(f"intermediate[{key!r}]", reading, ("sample", "step", "Y", "X"))

    def _check(self, name: str, array: xr.DataArray, dims: tuple[str, ...]) -> None:
        if array.dims != dims:
            raise ShapeError(f"{name} should have dimensions {dims}, but has {array.dims}; transpose it")
        if "sample" not in array.coords or not np.array_equal(array["sample"], self.samples.index):
            raise ShapeError(f"{name} should have the samples of `samples`, in order; select those first")
        wanted, arrived = ((a.sizes["Y"], a.sizes["X"]) for a in (self.image, array))
        if wanted != arrived:
            raise ShapeError(f"{name} should be of the images' size {wanted}, but is of {arrived}; resize it")

    @property
    def targets(self) -> list[str]:
        """The grid's targets, in order."""
        return [str(target) for target in self.grid["target"].values]

    @property
    def steps(self) -> list[int]:
        """The grid's steps, in order."""
        return [int(step) for step in self.grid["step"].values]

    def strips(self) -> dict[str, xr.DataArray]:
        """Source to its decoded pictures, for the sources that are stored."""
        stored = {NOISY: self.noisy, PREDICTED: self.predicted}
        return {name: strip for name, strip in stored.items() if strip is not None}
