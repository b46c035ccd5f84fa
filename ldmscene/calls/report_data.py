"""From a store and a grid to what the report is made from."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr

from ldmscene import gains
from ldmscene.axes import check_grid, told
from ldmscene.calls.opening import opened
from ldmscene.calls.transfer import transfer
from ldmscene.errors import InputError, unknown
from ldmscene.evaluation.features import ModuleOutput
from ldmscene.evaluation.kinds import KINDS
from ldmscene.evaluation.predicting import bench_of, predictions
from ldmscene.evaluation.provenance import about, fitting_of
from ldmscene.grid import has_linear
from ldmscene.report import ReportData, samples_that_fit
from ldmscene.store import ActivationStore
from ldmscene.store.layout import IMAGE, PREVIEWS, label_path
from ldmscene.store.readings import read_by_its_labeler

BLOCK = 16  # samples whose activations are in memory at once


def report_data(
    store: ActivationStore | str | Path, grid: xr.Dataset, samples: int | Sequence[str] | None = None
) -> ReportData:
    """Everything that a report shows of some held-out samples: these ids, the first so many, or as many as fit.

    Pictures stay on disk until they are needed.

    Raises
    ------
    InputError
        If a count is below 1, or the grid is none.
    UnknownNameError
        If no held-out sample is called so.
    """
    store = opened(store)
    check_grid(grid, "kind", "labels", "of_class", "block", "height", "width", "timestep")
    ids = shown_samples(store, grid, samples)
    frame = store.manifest.frame.iloc[store.rows(ids)].set_index("sample_id")
    targets = list(zip(grid["target"].values, grid["labels"].values, grid["of_class"].values, strict=True))
    steps = grid["step"].values.tolist()

    shown = {source: set(ids) <= store.complete(path) for source, path in PREVIEWS.items()}
    read = {
        (source, str(target)): _shown(store.intermediate(source, str(labels), step=steps, samples=ids), value)
        for source in PREVIEWS
        for target, labels, value in targets
        if set(ids) <= read_by_its_labeler(store, label_path(str(labels)), source)
    }
    return ReportData(
        grid=grid,
        samples=frame,
        image=store.images(samples=ids),
        noisy=store.previews("noisy", step=steps, samples=ids) if shown["noisy"] else None,
        predicted=store.previews("predicted", step=steps, samples=ids) if shown["predicted"] else None,
        labels={str(t): _shown(store.labels(str(labels), samples=ids), value) for t, labels, value in targets},
        intermediate=read,
        predict=_predictor(store, grid, ids),
        provenance={**about(store), **told(grid)},
    )


def with_transfer(data: ReportData, store: ActivationStore) -> ReportData:
    """A report's data with what probes gain at other steps than their own."""
    return replace(data, transfer=_transfer(store, data.grid))


def _transfer(store: ActivationStore, grid: xr.Dataset) -> dict[str, xr.DataArray]:
    """Target to gains of probes at other steps: of grids beyond position alone, of more than one step."""
    if not gains.has_gains(grid) or gains.beyond(grid) != ["position"] or grid.sizes["step"] < 2:
        return {}
    return {target: transfer(store, grid, target) for target in map(str, grid["target"].values)}


def shown_samples(store: ActivationStore, grid: xr.Dataset, samples: int | Sequence[str] | None = None) -> list[str]:
    """The held-out samples that a report shows: these, the first so many, or as many as fit; errors as above."""
    held_out = [str(s) for s in grid["sample"].values]
    if samples is None:
        shape = store.info(IMAGE).layout.shape[:2]
        samples = samples_that_fit(grid.sizes["step"], grid.sizes["target"], max(shape))
    if isinstance(samples, str):
        samples = [samples]
    if isinstance(samples, int):
        if samples < 1:
            raise InputError(f"samples: expected a count of at least 1, or ids; got {samples}")
        return held_out[:samples]
    for sample_id in samples:
        if sample_id not in held_out:
            raise unknown("held-out sample in this grid", sample_id, held_out)
    return list(dict.fromkeys(samples))


def _shown(maps: xr.DataArray, of_class: float) -> xr.DataArray:
    """Labels as they are drawn: of one class, where it is."""
    return maps if np.isnan(of_class) else (maps == of_class).where(maps.notnull())


def _predictor(store: ActivationStore, grid: xr.Dataset, ids: Sequence[str]) -> Callable[[str, str, int], xr.DataArray]:
    """(target, module, step) to a fitted probe's maps (sample, y, x); probabilities for binary targets."""
    targets = [str(target) for target in grid["target"].values]
    binary = grid["kind"].values == "binary"
    values_of = _linear_values(store, grid, ids) if has_linear(grid) else _solved_values(store, grid, ids)

    @functools.lru_cache(maxsize=1)  # the targets of a module and step follow each other, and share what is read
    def of_all_targets(module: str, step: int) -> np.ndarray:
        values = values_of(ModuleOutput.of(store, module, step))
        values[..., binary] = 1 / (1 + np.exp(-np.clip(values[..., binary], -50, 50)))
        return values

    def predict(target: str, module: str, step: int) -> xr.DataArray:
        output = ModuleOutput.of(store, module, step)
        runs = step in store.steps_of(module)
        value = (
            of_all_targets(module, step)[..., targets.index(target)]
            if runs
            else np.full((len(ids), *output.size), np.nan)
        )
        return xr.DataArray(value, dims=("sample", "y", "x"), coords={"sample": list(ids)})

    return predict


def _linear_values(
    store: ActivationStore, grid: xr.Dataset, ids: Sequence[str]
) -> Callable[[ModuleOutput], np.ndarray]:
    """Predictions (sample, y, x, target) from the grid's coefficients."""
    order = ("module", "step", "target")
    coef, intercept = grid["coef"].transpose(*order, "channel").values, grid["intercept"].transpose(*order).values
    modules, steps = ({name: i for i, name in enumerate(grid[dim].values.tolist())} for dim in order[:2])

    def values(features: ModuleOutput) -> np.ndarray:
        cell, blocks = (modules[features.name], steps[features.step]), []
        for begin in range(0, len(ids), BLOCK):
            maps = features.read(store, ids[begin : begin + BLOCK]).astype(np.float64)
            blocks.append(maps @ coef[cell][:, : maps.shape[-1]].T + intercept[cell])
        return np.concatenate(blocks)

    return values


def _solved_values(
    store: ActivationStore, grid: xr.Dataset, ids: Sequence[str]
) -> Callable[[ModuleOutput], np.ndarray]:
    """Predictions (sample, y, x, target) of fits that are solved again from what is cached."""
    bench = bench_of(store, grid, KINDS[fitting_of(grid).probe["probe"]])
    rows = [bench.task.test_ids.index(sample_id) for sample_id in ids]

    def values(features: ModuleOutput) -> np.ndarray:
        found = predictions(bench, features)
        return np.stack([found[target][rows] for target in grid["target"].values.tolist()], -1)

    return values
