"""Probes of one kind at every (target, module, step), as one dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import xarray as xr

from ldmscene.evaluation.baselines import join_readings, reading_jobs
from ldmscene.evaluation.bench import Bench, reduce_labels, ungrouped
from ldmscene.evaluation.beyond import Beyond, known_of, known_with
from ldmscene.evaluation.coordinates import described
from ldmscene.evaluation.features import Latents, ModuleOutput, Position, outputs_of
from ldmscene.evaluation.fitting import fit_jobs
from ldmscene.evaluation.gains import gains
from ldmscene.evaluation.kind import Kind
from ldmscene.evaluation.nonlinear import nonlinear_gains
from ldmscene.evaluation.ridge import for_store
from ldmscene.evaluation.running import compute
from ldmscene.evaluation.scope import Scope
from ldmscene.evaluation.scoring import Fit
from ldmscene.evaluation.task import Task
from ldmscene.grid import POSITION, RAW_LATENT
from ldmscene.store import ActivationStore
from ldmscene.store.cache import Cache
from ldmscene.store.layout import activation_path


def set_up(
    store: ActivationStore,
    kind: Kind,
    task: Task,
    scope: Scope,
    beyond: Beyond | None = None,
    client: Any = None,
    *,
    progress: bool = False,
) -> Bench:
    """Labels, reduced to the maps of every module and of the latents, and what is known beside features."""
    outputs = [ModuleOutput.of(store, module, 0) for module in scope.modules]
    sizes = [*(output.size for output in outputs), Latents.of(store, RAW_LATENT, 0).size]
    # Statistics that were made sample by sample are of one target each: whether two have the same labelled pixels
    # showed in the last of them only.
    apart = any(store.dropped(output.path) for output in outputs)
    bench = ungrouped(store, Cache.beside(store.root), kind, task)
    grouped = reduce_labels(bench, sizes, client, "reducing labels" if progress else "")
    bench = bench if apart else grouped
    return bench if beyond is None else replace(bench, known=known_of(bench, beyond, sizes))


def of_control(bench: Bench, control: ActivationStore, beyond: Beyond | None) -> Bench:
    """A bench for a control's features, against the store's labels, folds and targets.

    Where the control has statistics instead of activations, each target is a group of its own, as those are.
    """
    found = replace(bench.on(control), kind=for_store(bench.kind, control))
    if not any(control.dropped(activation_path(module)) for module in control.modules):
        return found
    apart = replace(found, grouped=tuple((target,) for target in bench.task.targets))
    terms_of = {size: known[0].terms for size, known in bench.known.items()}
    return apart if beyond is None else replace(apart, known=known_with(apart, beyond, terms_of))


def fit(
    bench: Bench,
    scope: Scope,
    control: Bench | None = None,
    client: Any = None,
    title: str = "",
    *,
    nonlinear: bool = False,
) -> xr.Dataset:
    """The grid of a store with its baselines and, where there is one, its control; all of it as one graph.

    Coordinates say what its modules, steps and samples are.
    """
    store = bench.store
    # Targets that are known, and not predicted, stay out of the grid.
    task = replace(bench.task, targets=tuple(one for one in bench.task.targets if one.labels in scope.targets))
    modules, steps = scope.modules, scope.steps
    own = outputs_of(store, modules, steps)
    raw = [Latents.of(store, RAW_LATENT, s) for s in steps]
    position = Position(POSITION, 0, raw[0].size)
    todo = [
        fit_jobs(bench, [*own, *raw, position]),
        [] if control is None else fit_jobs(control, own),
        reading_jobs(replace(bench, task=task), steps),
    ]
    results = iter(compute([job for jobs in todo for job in jobs], client, title))
    found, controlled, readings = (list(islice(results, len(jobs))) for jobs in todo)
    of_raw, of_position = found[len(own) : -1], found[-1:]
    fits, permuted = (_by_cell(own, some, modules, steps) for some in (found, controlled))

    grid = assemble(fits, task, modules, steps)
    if control is not None:
        control_grid = assemble(permuted, task, modules, steps)
        grid["permuted"], grid["permuted_cv_score"] = control_grid["probe"], control_grid["cv_score"]
    baselines = (RAW_LATENT, of_raw), (POSITION, of_position * len(steps))
    parts = [
        join_readings(readings, task, steps),
        *(
            assemble(some, task, [name], steps)["probe"].isel(module=0, drop=True).expand_dims(reading=[name])
            for name, some in baselines
        ),
    ]
    grid["baseline"] = xr.concat([part.reset_coords(drop=True) for part in parts], "reading", join="outer")
    grid = described(grid, bench, scope, task)
    prompt = grid["prompt"].values
    grid = grid.merge(gains(bench, modules, steps, fits, of_raw, permuted if controlled else [], prompt))
    return grid.merge(nonlinear_gains(bench, grid, client, title)) if nonlinear else grid


def _by_cell(
    outputs: Sequence[ModuleOutput], fits: Sequence[Mapping[str, Fit]], modules: Sequence[str], steps: Sequence[int]
) -> list[Mapping[str, Fit]]:
    """Fits of all steps of the first module, then of the second, and so on; empty where a module doesn't run."""
    found = {(output.name, output.step): fit for output, fit in zip(outputs, fits, strict=False)}
    return [found.get((module, step), {}) for module in modules for step in steps]


def assemble(fits: Sequence[Mapping[str, Fit]], task: Task, modules: Sequence[str], steps: Sequence[int]) -> xr.Dataset:
    """`probe`, `shuffled`, `alpha`, `cv_score`, `degenerate` and, of linear fits, `coef` and `intercept` of a grid.

    `fits` are those of all steps of the first module, then of the second, and so on; empty ones leave a cell NaN.
    """
    names = [target.name for target in task.targets]
    better = {m.name: m.higher_is_better for target in task.targets for m in target.metrics}
    metrics = list(better)
    cells = (len(names), len(modules), len(steps))
    scored = (cells[0], len(metrics), *cells[1:])
    channels = max(0 if f.fitted.coef is None else len(f.fitted.coef) for cell in fits for f in cell.values())
    probe, shuffled = (np.full((*scored, len(task.test_ids)), np.nan, np.float32) for _ in range(2))
    degenerate = np.zeros(scored, np.int32)
    coef = np.full((*cells, channels), np.nan, np.float32)
    scalars = {name: np.full(cells, np.nan) for name in ("alpha", "cv_score", "intercept")}
    edges = min(task.alphas), max(task.alphas)
    for (m, s), cell in zip(np.ndindex(cells[1:]), fits, strict=True):
        for t, name in enumerate(names if cell else ()):
            fit = cell[name]
            for key, array in scalars.items():
                array[t, m, s] = getattr(fit.fitted, key)
            if fit.fitted.coef is not None:
                coef[t, m, s, : len(fit.fitted.coef)] = fit.fitted.coef
            for metric in fit.scores:
                at = t, metrics.index(metric), m, s
                probe[at], shuffled[at] = fit.scores[metric], fit.shuffled[metric]
                degenerate[at] = fit.degenerate[metric]
    axes = ("target", "module", "step")
    grid = xr.Dataset(
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
            "higher_is_better": ("metric", list(better.values())),
            "primary": ("target", [target.primary for target in task.targets]),
            "kind": ("target", [target.kind for target in task.targets]),
            "labels": ("target", [target.labels for target in task.targets]),
            "of_class": ("target", [np.nan if t.of_class is None else t.of_class for t in task.targets]),
        },
    )
    return grid if channels else grid.drop_vars(["coef", "intercept"])
