"""What figures and pages can show: gains over what is known, which verdicts judge, and the published scores."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

import numpy as np
import xarray as xr

from ldmscene import gains
from ldmscene import grid as grids
from ldmscene.axes import check_grid
from ldmscene.errors import InputError
from ldmscene.report.labels import labels
from ldmscene.report.series import Series
from ldmscene.text import number
from ldmscene.words import metric_title

_ROLES = {
    **grids.LABELER_SOURCES,
    grids.POSITION: "position",
    grids.RAW_LATENT: "latent",
    grids.PERMUTED: "permuted",
    grids.SHUFFLED: "shuffled",
}

GAIN, SCORE = "gain", "score"
Cells = Mapping[tuple[str, str], xr.Dataset]


class Measure(Protocol):
    """One way to say how much a module tells of a target."""

    key: str
    factor: int
    """by which values are multiplied where their unit stands beside the axis"""

    def title(self, grid: xr.Dataset) -> str:
        """For a choice between measures."""

    def axis(self, grid: xr.Dataset, target: str) -> str:
        """For an axis, with its unit."""

    def module(self, grid: xr.Dataset, target: str) -> str:
        """The module that speaks for a target, chosen on training samples."""

    def series(self, grid: xr.Dataset, target: str) -> list[Series]:
        """The curves of a target: the probe's first, then rivals and labelers, as far as they were run."""

    def cells(self, grid: xr.Dataset, target: str) -> xr.Dataset:
        """`mean`, `low`, `high` and, where it is judged, `stands_out` of all modules and steps (module, step)."""

    def ceilings(self, grid: xr.Dataset, target: str) -> dict[str, float]:
        """A map's size, such as `8 × 8`, to the most that any map of that size could reach."""

    def training(self, grid: xr.Dataset, target: str) -> xr.DataArray:
        """By which modules are chosen, on folds of training samples (module, step)."""

    def text(self, value: float) -> str:
        """A value with its unit."""

    def short(self, value: float) -> str:
        """A value in a cell of a heat map."""


class Gain:
    """The share of what is left by what is known that features explain: partial R²."""

    key = GAIN
    factor = 100

    def title(self, grid: xr.Dataset) -> str:
        return f"gain beyond {gains.known(grid)}" if gains.known(grid) else "gain"

    def axis(self, grid: xr.Dataset, target: str) -> str:
        return f"Gain beyond {gains.known(grid)} (%)" if gains.known(grid) else "Gain (%)"

    def module(self, grid: xr.Dataset, target: str) -> str:
        return gains.chosen_module(grid, target)

    def series(self, grid: xr.Dataset, target: str) -> list[Series]:
        found = {_probe_name(grid, self.module(grid, target)): gains.of_probe(grid, target)}
        found |= gains.compared(grid, target)
        return [_of_band(name, gains.band(values)) for name, values in found.items()]

    def cells(self, grid: xr.Dataset, target: str) -> xr.Dataset:
        return gains.of_modules(grid, target)

    def ceilings(self, grid: xr.Dataset, target: str) -> dict[str, float]:
        check_grid(grid, "height", "width", "ceiling")
        sizes = zip(grid["height"].values, grid["width"].values, strict=True)
        means = grid["ceiling"].sel(target=target).mean("step").values
        found = {f"{y} × {x}": float(mean) for (y, x), mean in zip(sizes, means, strict=True)}
        return dict(sorted(found.items(), key=lambda one: -one[1]))

    def training(self, grid: xr.Dataset, target: str) -> xr.DataArray:
        return grid["gain_cv"].sel(target=target)

    def text(self, value: float) -> str:
        return f"{self.short(value)} %"

    def short(self, value: float) -> str:
        return number(round(100 * value), "d")


class Score:
    """The published comparison: a target's own metric, with nothing taken off."""

    key = SCORE
    factor = 1

    def title(self, grid: xr.Dataset) -> str:
        return "published scores"

    def axis(self, grid: xr.Dataset, target: str) -> str:
        return metric_title(grids.primary(grid, target))

    def module(self, grid: xr.Dataset, target: str) -> str:
        return grids.best_module(grid, target)

    def series(self, grid: xr.Dataset, target: str) -> list[Series]:
        found = {_probe_name(grid, self.module(grid, target)): grids.scores(grid, target)}
        found |= grids.compared(grid, target)
        every = [_of_band(name, grids.interval(scores)) for name, scores in found.items()]
        return [one for one in every if not np.isnan(one.mean).all()]

    def cells(self, grid: xr.Dataset, target: str) -> xr.Dataset:
        return grids.interval(grid["probe"].sel(target=target, metric=grids.primary(grid, target)))

    def ceilings(self, grid: xr.Dataset, target: str) -> dict[str, float]:
        return {}

    def training(self, grid: xr.Dataset, target: str) -> xr.DataArray:
        return grid["cv_score"].sel(target=target)

    def text(self, value: float) -> str:
        return number(value, "z.3f")

    def short(self, value: float) -> str:
        return re.sub(r"^(−?)0\.", r"\1.", number(value, "z.2f"))


MEASURES: dict[str, Measure] = {measure.key: measure for measure in (Gain(), Score())}


def measures(grid: xr.Dataset) -> list[Measure]:
    """Those that a grid has, the one that verdicts judge first."""
    return list(MEASURES.values()) if gains.has_gains(grid) else [MEASURES[SCORE]]


def measure_of(grid: xr.Dataset, key: str | None = None) -> Measure:
    """The measure of this name, or the one that verdicts judge; InputError where a grid doesn't have it."""
    had = {measure.key: measure for measure in measures(grid)}
    if key is None:
        return next(iter(had.values()))
    if key not in had:
        raise InputError(f"measure: expected {' or '.join(map(repr, had))}, got {key!r}")
    return had[key]


def all_cells(grid: xr.Dataset) -> Cells:
    """By measure and target: means and bounds of all modules and steps."""
    targets = [str(target) for target in grid["target"].values]
    return {(measure.key, target): measure.cells(grid, target) for measure in measures(grid) for target in targets}


def _probe_name(grid: xr.Dataset, module: str) -> str:
    return f"probe, {labels([str(m) for m in grid['module'].values])[module]}"


def _of_band(name: str, bounds: xr.Dataset) -> Series:
    role = "probe" if name.startswith("probe, ") else _ROLES.get(name, "other")
    mean, low, high = (bounds[k].values.astype(np.float64) for k in ("mean", "low", "high"))
    return Series(name, role, mean, *(np.where(np.isfinite(bound), bound, np.nan) for bound in (low, high)))
