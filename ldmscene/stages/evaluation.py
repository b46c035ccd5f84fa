"""The same probe at every (target, module, step), as one dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from ldmscene.capture import stage
from ldmscene.stages.fitting import Bench, Fit, fit_places, reduce_labels, ungrouped
from ldmscene.stages.places import Activations
from ldmscene.stages.task import Scope, Task
from ldmscene.store import ActivationStore
from ldmscene.store.kept import Kept
from ldmscene.store.layout import LATENTS, activation_path


def set_up(store: ActivationStore, task: Task, scope: Scope, client=None, *, progress: bool = False) -> Bench:
    """Labels, reduced to the grid of every module and of the latents."""
    places = [Activations.of(store, module, 0) for module in scope.modules]
    latent = store.info(LATENTS).layout.shape[2:]
    grids = [*(place.grid for place in places), (latent[0], latent[1])]
    # Statistics that were made sample by sample are of one target each: whether two have the same labelled pixels
    # showed in the last of them only.
    apart = any(store.dropped(place.path) for place in places)
    bench = ungrouped(store, Kept.beside(store.root), task)
    grouped = reduce_labels(bench, grids, client, "reducing labels" if progress else "")
    return bench if apart else grouped


def fit_store(bench: Bench, scope: Scope, client=None, title: str = "") -> xr.Dataset:
    """The grid of a store, with coordinates that say what its modules, steps and samples are."""
    store, task = bench.features, bench.task
    modules, steps = scope.modules, scope.steps
    places = [Activations.of(store, m, s) for m in modules for s in steps]
    fits = fit_places(bench, places, client, title)
    grid = assemble({(p.name, p.step): fit for p, fit in zip(places, fits, strict=True)}, task, modules, steps)
    height, width, channels = zip(*(store.info(activation_path(m)).layout.shape[2:] for m in modules), strict=True)
    frame = store.manifest.frame.assign(group=store.manifest.groups).set_index("sample_id")
    prompts = frame["group"].loc[task.test_ids]
    timesteps = store.timesteps
    return grid.assign_coords(
        timestep=("step", [timesteps[s] for s in steps]),
        prompt=("sample", pd.factorize(prompts)[0].astype(np.int32)),
        block=("module", [stage(m) for m in modules]),
        level=("module", [".".join(m.split(".")[:2]) for m in modules]),
        height=("module", list(height)),
        width=("module", list(width)),
        channels=("module", list(channels)),
    )


def assemble(
    fits: Mapping[tuple[str, int], Mapping[str, Fit]], task: Task, modules: Sequence[str], steps: Sequence[int]
) -> xr.Dataset:
    """`probe`, `shuffled`, `alpha`, `cv_score`, `coef`, `intercept` and `degenerate` of a grid of fits."""
    names = [target.name for target in task.targets]
    metrics = list(dict.fromkeys(m for target in task.targets for m in target.metrics))
    places = (len(names), len(modules), len(steps))
    scored = (places[0], len(metrics), *places[1:])
    channels = max(len(f.coef) for cell in fits.values() for f in cell.values())
    probe, shuffled = (np.full((*scored, len(task.test_ids)), np.nan, np.float32) for _ in range(2))
    degenerate = np.zeros(scored, np.int32)
    coef = np.full((*places, channels), np.nan, np.float32)
    scalars = {name: np.full(places, np.nan) for name in ("alpha", "cv_score", "intercept")}
    edges = min(task.alphas), max(task.alphas)
    for (module, step), cell in fits.items():
        m, s = modules.index(module), steps.index(step)
        for t, name in enumerate(names):
            fit = cell[name]
            coef[t, m, s, : len(fit.coef)] = fit.coef
            for key, array in scalars.items():
                array[t, m, s] = getattr(fit, key)
            for metric in fit.scores:
                at = t, metrics.index(metric), m, s
                probe[at], shuffled[at] = fit.scores[metric], fit.shuffled[metric]
                degenerate[at] = fit.degenerate[metric]
    axes = ("target", "module", "step")
    return xr.Dataset(
        {
            "probe": (("target", "metric", "module", "step", "sample"), probe),
            "shuffled": (("target", "metric", "module", "step", "sample"), shuffled),
            "degenerate": (("target", "metric", "module", "step"), degenerate),
            "coef": ((*axes, "channel"), coef),
            **{key: (axes, array) for key, array in scalars.items()},
            "at_edge": (axes, np.isin(scalars["alpha"], edges)),
        },
        coords={
            "target": names,
            "metric": metrics,
            "module": list(modules),
            "step": list(steps),
            "sample": task.test_ids,
            "primary": ("target", [target.primary for target in task.targets]),
            "kind": ("target", [target.kind for target in task.targets]),
            "labels": ("target", [target.labels for target in task.targets]),
            "of_class": ("target", [np.nan if t.of_class is None else t.of_class for t in task.targets]),
        },
    )
