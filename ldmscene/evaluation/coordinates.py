"""What a grid says of its modules, steps, samples and targets, beside their names."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from ldmscene.evaluation.bench import Bench
from ldmscene.evaluation.features import Latents
from ldmscene.evaluation.scope import Scope
from ldmscene.evaluation.targets import Target
from ldmscene.evaluation.task import Task
from ldmscene.grid import RAW_LATENT
from ldmscene.module_names import part_of
from ldmscene.store.layout import activation_path


def described(grid: xr.Dataset, bench: Bench, scope: Scope, task: Task) -> xr.Dataset:
    """A grid with its coordinates, as `ldmscene.grid` lists them."""
    store, modules, timesteps = bench.store, scope.modules, bench.store.timesteps
    height, width, channels = zip(*(store.info(activation_path(m)).maps.values() for m in modules), strict=True)
    frame = store.manifest.frame.assign(group=store.manifest.groups).set_index("sample_id")
    return grid.assign_coords(
        timestep=("step", [timesteps[s] for s in scope.steps]),
        prompt=("sample", pd.factorize(frame["group"].loc[task.test_ids])[0].astype(np.int32)),
        block=("module", [part_of(m) for m in modules]),
        height=("module", list(height)),
        width=("module", list(width)),
        channels=("module", list(channels)),
        deviation=("target", [label_deviation(bench, target) for target in task.targets]),
    )


def label_deviation(bench: Bench, target: Target) -> float:
    """The standard deviation of a target over all labelled pixels of training samples."""
    size = Latents.of(bench.store, RAW_LATENT, 0).size
    blocks = (bench.labels[target.name, block].cells(bench.cache, size)[0] for block in bench.task.train)
    pictures = [cells.coarsen((1, 1)) for cells in blocks]
    weight, mean, scatter = (
        np.concatenate([getattr(one, key) for one in pictures]) for key in ("weight", "mean", "scatter")
    )
    about = mean - np.average(mean, weights=weight)
    return float(np.sqrt((scatter + weight * about**2).sum() / weight.sum()))
