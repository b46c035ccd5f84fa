"""Gains over what is known: by step and prompt for what is compared, and in every module at every step.

A gain is a share of what position, and what else `evaluate(beyond=…)` names, leaves unexplained: partial R².
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from ldmscene import grid as grids
from ldmscene.array_types import AnyArray, Array
from ldmscene.axes import AGAIN, check_axes, told_beyond
from ldmscene.errors import InputError
from ldmscene.module_names import that_speak
from ldmscene.text import listed
from ldmscene.verdicts import LEAST, Draws, by_prompt, capped, counts

PARTIAL_R2 = "partial_r2"  # in tables, beside the names of metrics


def has_gains(grid: xr.Dataset) -> bool:
    """Whether a grid has effects beyond what is known: not after `evaluate(beyond=None)`."""
    return "explained" in grid


def beyond(grid: xr.Dataset) -> list[str]:
    """What probes may use anyway: "position", "latent" and names of targets; empty of `evaluate(beyond=None)`."""
    return told_beyond(grid)


def known(grid: xr.Dataset) -> str:
    """What gains are beyond: `position`, `position and mask`; empty where nothing was known."""
    return listed(beyond(grid))


def prompts(grid: xr.Dataset) -> AnyArray:
    """The prompt of each sample, as a number; without it pictures of one prompt would count as several."""
    check_axes(grid, "prompt")
    return grid["prompt"].values


def chosen_module(grid: xr.Dataset, target: str) -> str:
    """The module that speaks for a target: the best over steps on training samples, by the effect that is reported."""
    if not has_gains(grid):
        return grids.best_module(grid, target)
    speaking = that_speak(map(str, grid["module"].values))
    means = grid["gain_cv"].sel(target=target, module=speaking).mean("step")
    return str(means["module"][int(means.argmax("module"))].item())


def of_probe(grid: xr.Dataset, target: str, module: str | None = None) -> Array:
    """A module's gains (step, prompt), those of the target's own module where none is named; it must run at each."""
    module = module or chosen_module(grid, target)
    ours = grid.sel(target=target, module=module)
    return _by_prompt(grid, ours["explained"], ours["left"], f"{module} runs")


def of_rivals(grid: xr.Dataset, target: str) -> dict[str, Array]:
    """Name to gains (step, prompt) of what can be read without the trained model."""
    return dict(_along(grid, target, "rival"))


def of_labelers(grid: xr.Dataset, target: str) -> dict[str, Array]:
    """Name to gains (step, prompt) of labelers on unfinished pictures."""
    return dict(_along(grid, target, "labeler"))


def compared(grid: xr.Dataset, target: str) -> dict[str, Array]:
    """Name to gains (step, prompt) of all that a probe is compared with: rivals, then labelers."""
    return of_rivals(grid, target) | of_labelers(grid, target)


def band(values: Array) -> xr.Dataset:
    """Means (step) of gains (step, prompt) with bounds, between which they all lie at once with 95 %."""
    found = Draws.of(values, counts(values.shape[-1]))
    return _bounds(found, *found.band())


def interval(values: Array) -> xr.Dataset:
    """Means (step) of gains (step, prompt) with a 95 % interval of each step."""
    found = Draws.of(values, counts(values.shape[-1]))
    return _bounds(found, found.lower(), found.upper())


def _bounds(found: Draws, low: Array, high: Array) -> xr.Dataset:
    return xr.Dataset(
        {name: ("step", one) for name, one in (("mean", found.mean), ("low", low), ("high", capped(high)))}
    )


def of_modules(grid: xr.Dataset, target: str) -> xr.Dataset:
    """Every module's gain at every step (module, step): `mean`, a 95 % interval of each cell, and what stands out.

    `stands_out` is true of cells that are above the least gain that counts, by bounds that hold for all cells at once
    with 95 %: the largest of all studentised means decides (Westfall and Young 1993). And by each cell's own interval,
    which is the stricter one of few cells and few prompts. Numbers are NaN where a module doesn't run.
    """
    some = grid[["explained", "left"]].sel(target=target).transpose("module", "step", "sample")
    runs = some["left"].notnull().all("sample").values
    gains = _ratios(grid, some["explained"], some["left"])[runs]
    found = Draws.of(gains, counts(gains.shape[-1]))
    bounds = {
        "mean": found.mean,
        "low": found.lower(),
        "high": capped(found.upper()),
        "stands_out": np.minimum(found.lower_of_all(), found.lower()) > LEAST,
    }
    coords = some.isel(sample=0, drop=True).coords
    return xr.Dataset({name: (("module", "step"), _spread(one, runs)) for name, one in bounds.items()}, coords)


def _spread(values: AnyArray, where: AnyArray) -> AnyArray:
    """Values at their cells; NaN, or False, at others."""
    cells = np.full(where.shape, False if values.dtype == bool else np.nan)
    cells[where] = values
    return cells


def _along(grid: xr.Dataset, target: str, dim: str) -> Iterator[tuple[str, Array]]:
    """Rivals or labelers that were run for a target, by name."""
    if dim not in grid.dims:
        return
    some = grid[[f"{dim}_explained", f"{dim}_left"]].sel(target=target)
    for name in map(str, grid[dim].values):
        one = some.sel({dim: name})
        if bool(one[f"{dim}_explained"].notnull().any()):
            yield name, _by_prompt(grid, one[f"{dim}_explained"], one[f"{dim}_left"], f"the {name} was run")


def _by_prompt(grid: xr.Dataset, explained: xr.DataArray, left: xr.DataArray, needed: str) -> Array:
    """Gains (step, prompt), of grids all of whose steps have some: a step without them is no step without a gain."""
    there = (explained + left).notnull().any("sample").values
    if not there.all():
        steps = grid["step"].values[there].tolist()
        raise InputError(f"grid: expected steps at which {needed}, {steps}; select them by grid.sel(step=…)")
    return _ratios(grid, *(one.transpose("step", "sample") for one in (explained, left)))


def _ratios(grid: xr.Dataset, explained: xr.DataArray, left: xr.DataArray) -> Array:
    part, whole = (one.values.astype(np.float64) for one in (explained, left))
    missing = np.isnan(part + whole)
    if (missing.any(-1) & ~missing.all(-1)).any():  # a module that doesn't run at a step has nothing there at all
        raise InputError(f"grid: expected {explained.name} and {left.name} of every sample, got NaN; {AGAIN}")
    return by_prompt(part, whole, prompts(grid))
