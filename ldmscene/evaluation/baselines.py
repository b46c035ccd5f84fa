"""Readings that need no probe at all: what a probe must beat to mean something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from dask.delayed import delayed

from ldmscene.evaluation.bench import Bench
from ldmscene.evaluation.features import without_gaps
from ldmscene.evaluation.running import Job
from ldmscene.evaluation.samples import SampleBlock
from ldmscene.evaluation.scoring import score
from ldmscene.evaluation.targets import Target
from ldmscene.evaluation.task import Task
from ldmscene.grid import LABELER_SOURCES, MEAN_LABEL
from ldmscene.metrics import Truth
from ldmscene.probes import merged
from ldmscene.store import ActivationStore
from ldmscene.store.fingerprints import fingerprint
from ldmscene.store.layout import intermediate_path, label_path
from ldmscene.store.readings import read_by_its_labeler

SCORES = "scores"
VERSION = 1  # of the readings; to be counted up with every change of them
AT_ONCE = 4  # samples: at the labels' own resolution, the ranks and orders of one take tens of megabytes


def reading_jobs(bench: Bench, steps: Sequence[int]) -> list[Job]:
    """Score the mean label, and the labeler on the unfinished pictures where it was run.

    One job for each target and block of held-out samples, in this order.
    """
    shared, jobs = delayed(bench, traverse=False), []
    for target in bench.task.targets:
        sources = _sources(bench.store, bench.task, target)
        keys = _keys(bench, target, steps, sources)
        mean = None
        if not all(bench.cache.has(SCORES, key) for key in keys):
            sums = [delayed(partial(label_sums, target=target, block=b))(shared) for b in bench.task.train]
            mean = delayed(mean_label)(merged(sums, add_sums))
        for key, block in zip(keys, bench.task.test, strict=True):
            todo = partial(cached_readings, key=key, target=target, block=block, steps=list(steps), sources=sources)
            jobs.append(Job(delayed(todo)(shared, mean=mean)))
    return jobs


def join_readings(found: Sequence[Mapping[str, Any]], task: Task, steps: Sequence[int]) -> xr.DataArray:
    """Scores (reading, target, metric, step, sample) from what `reading_jobs` gave; NaN where there is none."""
    blocks = iter(found)
    arrays = [_joined([next(blocks) for _ in task.test], target, task, steps) for target in task.targets]
    return xr.concat(arrays, "target", join="outer")


def _sources(store: ActivationStore, task: Task, target: Target) -> dict[str, str]:
    wanted, labels = set(task.test_ids), label_path(target.labels)
    return {n: s for n, s in LABELER_SOURCES.items() if wanted <= read_by_its_labeler(store, labels, s)}


def _keys(bench: Bench, target: Target, steps: Sequence[int], sources: Mapping[str, str]) -> list[dict[str, Any]]:
    """For each block of held-out samples, what the scores of its readings depend on."""
    train = fingerprint({"labels": [bench.labels[target.name, b].key_of_labels() for b in bench.task.train]})
    read = {source: bench.store.checksums(intermediate_path(source, target.labels)) for source in sources.values()}
    return [
        {
            "version": VERSION,
            "metrics": [metric.key() for metric in target.metrics],
            "labels": bench.labels[target.name, block].key_of_labels(),
            "mean": train,
            "steps": list(steps),
            "readings": {source: [known[sample_id] for sample_id in block.ids] for source, known in read.items()},
        }
        for block in bench.task.test
    ]


def cached_readings(
    bench: Bench,
    key: dict[str, Any],
    target: Target,
    block: SampleBlock,
    steps: Sequence[int],
    sources: Mapping[str, str],
    mean: np.ndarray | None,
) -> dict[str, dict[str, np.ndarray]]:
    """`score_readings`, from the cache or into it."""
    readings, metrics = [MEAN_LABEL, *sources], [metric.name for metric in target.metrics]
    if mean is None or bench.cache.has(SCORES, key):
        cached = bench.cache.read(SCORES, key)
        return {reading: {m: cached[f"{reading}/{m}"] for m in metrics} for reading in readings}
    found = score_readings(bench, target, block, steps, sources, mean)
    bench.cache.write(SCORES, key, {f"{r}/{m}": found[r][m] for r in readings for m in metrics})
    return found


def label_sums(bench: Bench, target: Target, block: SampleBlock) -> tuple[np.ndarray, np.ndarray]:
    """Over a block's labels: how many each pixel has (Y, X), and their sum."""
    maps = bench.labels[target.name, block].read(bench.store, block.ids)
    known = ~np.isnan(maps)
    return known.sum(0), np.where(known, maps, 0).sum(0, dtype=np.float64)


def add_sums(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """The sums of several blocks together."""
    count, total = (np.sum(some, axis=0) for some in zip(*parts, strict=True))
    return count, total


def mean_label(sums: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Each pixel's mean label (Y, X) over training samples; 0 where it never has one."""
    count, total = sums
    mean: np.ndarray = total / np.maximum(count, 1)
    return mean


def score_readings(
    bench: Bench, target: Target, block: SampleBlock, steps: Sequence[int], sources: Mapping[str, str], mean: np.ndarray
) -> dict[str, dict[str, np.ndarray]]:
    """Scores by reading and metric, (step, sample), of one block of held-out samples."""
    found: dict[str, list[Any]] = {reading: [] for reading in (MEAN_LABEL, *sources)}
    for first in range(0, len(block.ids), AT_ONCE):
        ids = block.ids[first : first + AT_ONCE]
        truth = Truth.of(bench.labels[target.name, block].read(bench.store, ids))
        value = np.broadcast_to(mean, truth.cells.weight.shape)
        found[MEAN_LABEL].append([score(target, truth, value, value > 0.5).each] * len(steps))
        for reading, source in sources.items():
            array, rows = bench.store.info(intermediate_path(source, target.labels)), bench.store.rows(ids)
            each = (array.read(rows, {"step": [step]})[:, 0] for step in steps)
            found[reading].append([_score_reading(maps, target, truth) for maps in each])
    metrics = [metric.name for metric in target.metrics]
    return {
        reading: {m: np.concatenate([[one[m] for one in each] for each in parts], axis=1) for m in metrics}
        for reading, parts in found.items()
    }


def _score_reading(maps: np.ndarray, target: Target, truth: Truth) -> Mapping[str, np.ndarray]:
    if target.of_class is not None:  # classes have no mean: gaps are filled in the mask
        value = without_gaps(target.values(maps))
        return score(target, truth, value, value > 0.5).each
    value = without_gaps(maps)
    return score(target, truth, value, target.values(value) > 0).each


def _joined(
    blocks: Sequence[Mapping[str, Mapping[str, np.ndarray]]], target: Target, task: Task, steps: Sequence[int]
) -> xr.DataArray:
    readings, metrics = list(blocks[0]), [metric.name for metric in target.metrics]
    values = [
        [np.concatenate([block[reading][metric] for block in blocks], -1) for metric in metrics] for reading in readings
    ]
    return xr.DataArray(
        np.array(values, np.float32)[:, None],
        dims=("reading", "target", "metric", "step", "sample"),
        coords={
            "reading": readings,
            "target": [target.name],
            "metric": metrics,
            "step": list(steps),
            "sample": task.test_ids,
        },
    )
