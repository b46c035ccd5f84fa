"""Readings that need no probe of a module: what a probe must beat to mean something."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from ldmscene.grid import LABELER_NOISY, LABELER_PREDICTED, MEAN_LABEL, POSITION, RAW_LATENT
from ldmscene.stages.evaluation import Labels, Task, assemble, fit_place, foreground, score
from ldmscene.store import ActivationStore
from ldmscene.store.layout import LATENTS, intermediate_path

SOURCES = {LABELER_NOISY: "noisy", LABELER_PREDICTED: "predicted"}


def baselines(store: ActivationStore, task: Task, steps: Sequence[int]) -> xr.DataArray:
    """Scores (reading, target, metric, step, sample); NaN where a baseline can't be had from this store."""
    parts = {
        **{name: _labeler(store, task, steps, source) for name, source in SOURCES.items()},
        RAW_LATENT: _raw_latent(store, task, steps),
        POSITION: _position(store, task, steps),
        MEAN_LABEL: _mean_label(task, steps),
    }
    ran = {name: part.reset_coords(drop=True) for name, part in parts.items() if part is not None}
    return xr.concat(list(ran.values()), xr.Variable("reading", list(ran)), join="outer")


def _labeler(store: ActivationStore, task: Task, steps: Sequence[int], source: str) -> xr.DataArray | None:
    """The labeler applied to the unfinished pictures."""
    read = [one for one in task.labels if set(task.test) <= store.complete(intermediate_path(source, one.name))]
    if not read:
        return None
    return xr.concat([_labeler_scores(store, one, task, steps, source) for one in read], "target", join="outer")


def _labeler_scores(store: ActivationStore, one: Labels, task: Task, steps: Sequence[int], source: str) -> xr.DataArray:
    maps = store.intermediate(source, one.name, "test").sel(sample=list(task.test), step=list(steps))
    value = without_gaps(maps.transpose("step", "sample", "Y", "X").to_numpy())
    scores, _ = score(one.name, task, one.truth, value, foreground(value, one.threshold) > 0)
    return _named(scores, one, task, steps)


def without_gaps(maps: np.ndarray) -> np.ndarray:
    """Maps (..., Y, X) with their own mean (0 if there is none) where the labeler sees nothing to label: NaN."""
    known = ~np.isnan(maps)
    mean = np.where(known, maps, 0).sum((-2, -1)) / np.maximum(known.sum((-2, -1)), 1)
    return np.where(known, maps, mean[..., None, None])


def _raw_latent(store: ActivationStore, task: Task, steps: Sequence[int]) -> xr.DataArray:
    """The same probe on x_t itself: what is readable without the model."""
    array = store.info(LATENTS)
    prepared = task.on(array.layout.shape[2:])
    fits = {}
    for step in steps:
        train, test = (array.read(store.rows(ids), {"step": [step]})[:, 0] for ids in (task.train, task.test))
        fits[RAW_LATENT, step] = fit_place(np.moveaxis(train, 1, -1), np.moveaxis(test, 1, -1), prepared)
    return assemble(fits, task, [RAW_LATENT], list(steps))["probe"].isel(module=0, drop=True)


def _position(store: ActivationStore, task: Task, steps: Sequence[int]) -> xr.DataArray:
    """The same probe on a position's coordinates and their products up to the third degree."""
    grid = store.info(LATENTS).layout.shape[2:]
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in grid), indexing="ij")
    maps = np.stack([y**i * x**j for i in range(4) for j in range(4 - i) if i + j], -1).astype(np.float32)
    train, test = (np.broadcast_to(maps, (len(ids), *maps.shape)) for ids in (task.train, task.test))
    fits = {(POSITION, 0): fit_place(np.ascontiguousarray(train), np.ascontiguousarray(test), task.on(grid))}
    once = assemble(fits, task, [POSITION], [0])["probe"].isel(module=0, step=0, drop=True)
    return once.expand_dims(step=list(steps), axis=2)


def _mean_label(task: Task, steps: Sequence[int]) -> xr.DataArray:
    """Each pixel's mean label over training samples, the same for every image."""
    return xr.concat([_mean_scores(one, task, steps) for one in task.labels], "target", join="outer")


def _mean_scores(one: Labels, task: Task, steps: Sequence[int]) -> xr.DataArray:
    cells = one.cells
    mean = cells.total.sum(0) / np.maximum(cells.weight.sum(0), 1)
    value = np.broadcast_to(mean, (1, len(task.test), *mean.shape))
    scores, _ = score(one.name, task, one.truth, value, value > 0.5)
    return _named({m: np.repeat(v, len(steps), 0) for m, v in scores.items()}, one, task, steps)


def _named(scores: dict[str, np.ndarray], one: Labels, task: Task, steps: Sequence[int]) -> xr.DataArray:
    values = np.stack(list(scores.values())).astype(np.float32)[None]
    coords = {"target": [one.name], "metric": list(scores), "step": list(steps), "sample": list(task.test)}
    return xr.DataArray(values, dims=("target", "metric", "step", "sample"), coords=coords)
