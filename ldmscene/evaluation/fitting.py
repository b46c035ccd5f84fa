"""Probes at many places, in one pass over the features of each.

For each place: block statistics ─► folds ─► ridges at all strengths ─► held-out coordinates ─► scores. Statistics and
coordinates are kept in the store, so that other strengths read no features again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import dask
import numpy as np
from dask.callbacks import Callback

from ldmscene.errors import InputError
from ldmscene.evaluation.features import Place
from ldmscene.evaluation.packing import pack_moments, unpack_moments
from ldmscene.evaluation.reduction import Grid, LabelBlock
from ldmscene.evaluation.solving import SHUFFLED, Solved, solve
from ldmscene.evaluation.task import Block, Target, Task
from ldmscene.metrics import METRICS, Truth
from ldmscene.probes import Moments, Targets, merge_all, merged, moments
from ldmscene.probes.threads import one_thread_each
from ldmscene.progress import bar
from ldmscene.store import ActivationStore
from ldmscene.store.kept import Kept
from ldmscene.store.layout import label_path
from ldmscene.store.prepare import fingerprint

MOMENTS, COORDINATES = "moments", "coordinates"


@dataclass(frozen=True)
class Fit:
    """One target's probe at one place, and its scores on held-out images."""

    coef: np.ndarray  # [channel]; of log odds for binary targets
    intercept: float
    alpha: float
    cv_score: float  # share of the variance explained on held-out folds of the training samples
    scores: Mapping[str, np.ndarray]  # metric -> [test sample]
    degenerate: Mapping[str, int]
    shuffled: Mapping[str, np.ndarray]  # the same scores, fitted to other samples' labels


@dataclass(frozen=True)
class Bench:
    """What every block of every place is worked on with."""

    store: ActivationStore
    features: ActivationStore  # the same store, or that of a control
    kept: Kept
    task: Task
    labels: Mapping[tuple[str, Block], LabelBlock]
    groups: tuple[tuple[str, ...], ...]
    """targets with the same labelled pixels, which share their statistics of features"""

    def on(self, control: ActivationStore) -> Bench:
        """The same work on another store's features, against the same labels."""
        return replace(self, features=control)

    @property
    def columns(self) -> list[list[str]]:
        """Names of what each group's statistics predict."""
        return [[*group, *(SHUFFLED + name for name in group)] for group in self.groups]


@dataclass(frozen=True)
class Job:
    """Delayed work, and how many bytes of features it reads."""

    work: Any
    size: int = 0


@dataclass(frozen=True)
class Scores:
    """Of one probe on some images."""

    each: Mapping[str, np.ndarray]  # metric -> [..., sample]
    degenerate: Mapping[str, int]  # how many have their value by definition


def ungrouped(store: ActivationStore, kept: Kept, task: Task) -> Bench:
    """A bench on which each target is a group of its own, with labels that aren't reduced yet."""
    checksums = {name: store.checksums(label_path(name)) for name in {target.labels for target in task.targets}}
    labels = {
        (target.name, block): LabelBlock.of(target, block, checksums[target.labels])
        for target in task.targets
        for block in (*task.train, *task.test)
    }
    return Bench(store, store, kept, task, labels, tuple((target.name,) for target in task.targets))


def reduce_labels(bench: Bench, grids: Iterable[Grid], client: Any = None, title: str = "") -> Bench:
    """Reduce all labels to all grids, and group the targets that have the same labelled pixels."""
    wanted, shared = sorted(set(grids)), dask.delayed(bench.store, traverse=False)
    jobs = [
        Job(dask.delayed(partial(LabelBlock.reduce, block, kept=bench.kept, grids=wanted))(shared))
        for block in bench.labels.values()
    ]
    known = dict(zip(bench.labels, compute(jobs, client, title), strict=True))
    patterns: dict[tuple[str, ...], list[str]] = {}
    for target in bench.task.targets:
        patterns.setdefault(tuple(known[target.name, block] for block in bench.task.train), []).append(target.name)
    return replace(bench, groups=tuple(tuple(names) for names in patterns.values()))


def compute(jobs: Sequence[Job], client: Any = None, title: str = "") -> list:
    """Run jobs on dask's threads, or on a `dask.distributed` client whose workers see the same store.

    Progress is shown under the title, where there is one.
    """
    work, sizes = [job.work for job in jobs], {job.work.key: job.size for job in jobs}
    with bar(title, len(jobs), enabled=bool(title)) as advance:
        if client is not None:
            return _compute_on(client, work, lambda key: advance(1, sizes[key]))
        watch = Callback(posttask=lambda key, *_: advance(1, sizes[key]) if key in sizes else None)
        with watch, one_thread_each():
            return list(dask.compute(*work, scheduler="threads"))


def _compute_on(client: Any, work: Sequence[Any], advance: Callable[[str], None]) -> list:
    from dask.distributed import as_completed

    futures = client.compute(list(work))
    try:
        for future in as_completed(futures, loop=client.loop):
            if future.status == "error":
                future.result()
            advance(future.key)
        return client.gather(futures)
    except BaseException:  # what is left would be done for nothing
        client.cancel(futures)
        raise


def place_jobs(bench: Bench, places: Sequence[Place]) -> list[Job]:
    """Fit and score a probe of every target at each place; features of a sample are read at most once.

    Each gives a `Fit` by target.
    """
    shared = dask.delayed(bench, traverse=False)
    checksums = {path: bench.features.checksums(path) if path else {} for path in {place.path for place in places}}
    return [_place_job(bench, shared, place, checksums[place.path]) for place in places]


def _place_job(bench: Bench, shared: Any, place: Place, checksum: Mapping[str, int]) -> Job:
    # What is known already goes in by `partial`: dask would search each argument for more that is delayed.
    keys = [group_keys(bench, place, fold, checksum) for fold in bench.task.folds]
    statistics: list[Any] = []
    known = True
    for names, fold in zip(keys, bench.task.folds, strict=True):
        if all(bench.kept.has(MOMENTS, name) for name in names):
            statistics.append(dask.delayed(partial(read_moments, bench.kept, names))())
            continue
        known = False
        _check_stored(bench, place, fold)
        parts = [dask.delayed(partial(block_moments, place=place, block=block))(shared) for block in fold]
        statistics.append(dask.delayed(partial(kept_moments, bench.kept, names))(merged(parts, _merge)))
    solved = dask.delayed(partial(solve_place, keys=keys))(shared, folds=statistics)
    scored = [
        dask.delayed(partial(score_block, place=place, block=block, features=block_key(place, block, checksum)))(
            shared, solved=solved
        )
        for block in bench.task.test
    ]
    size = 0
    if place.path and not known:  # else held-out coordinates are kept, too
        samples = sum(len(block.ids) for block in (*bench.task.train, *bench.task.test))
        size = bench.features.info(place.path).layout.chunk_bytes * samples
    return Job(dask.delayed(collect)(shared, solved, scored), size)


def _check_stored(bench: Bench, place: Place, blocks: Sequence[Block]) -> None:
    dropped = bench.features.dropped(place.path) if place.path else set()
    gone = [sample_id for block in blocks for sample_id in block.ids if sample_id in dropped]
    if gone:
        raise InputError(
            f"activations of {len(gone)} training samples of {bench.features.root}, {gone[0]} among them, were dropped "
            "for their statistics, "
            "and those are of other targets or folds, or lost; evaluate with the targets and the cv of the extraction, "
            "or have what is lost made again by the same `extract`"
        )


def block_key(place: Place, block: Block, checksum: Mapping[str, int]) -> dict:
    """What the features of a block depend on."""
    return {"place": place.key(), "bytes": [checksum.get(sample_id, 0) for sample_id in block.ids]}


def group_keys(bench: Bench, place: Place, blocks: Sequence[Block], checksum: Mapping[str, int]) -> list[str]:
    """For each group of targets, what its statistics of some blocks depend on."""
    features = [block_key(place, block, checksum) for block in blocks]
    keys = []
    for group in bench.groups:
        labels = [bench.labels[name, block].key(place.grid) for name in group for block in blocks]
        keys.append(fingerprint({"features": features, "labels": labels}))
    return keys


def read_moments(kept: Kept, keys: Sequence[str]) -> list[Moments]:
    """The statistics that are kept for each group."""
    return [unpack_moments(kept.read(MOMENTS, key)) for key in keys]


def kept_moments(kept: Kept, keys: Sequence[str], groups: Sequence[Moments]) -> Sequence[Moments]:
    """The same, once they are kept."""
    for key, group in zip(keys, groups, strict=True):
        kept.write(MOMENTS, key, pack_moments(group))
    return groups


def _merge(parts: Sequence[Sequence[Moments]]) -> list[Moments]:
    return [merge_all(group) for group in zip(*parts, strict=True)]


# --- training ---


def block_moments(bench: Bench, place: Place, block: Block) -> list[Moments]:
    """Statistics of one block's features, for each group of targets."""
    X = place.read(bench.features, block.ids)
    try:
        return [moments(X, Targets.of(_cells(bench, group, block, place.grid))) for group in bench.groups]
    except InputError:
        _check_finite(bench, place, block, X)
        raise


def _check_finite(bench: Bench, place: Place, block: Block, X: np.ndarray) -> None:
    """Name the sample that holds NaN or infinity; both show in what was computed, which is quicker to look at."""
    finite = np.isfinite(X).all((1, 2, 3))
    if not finite.all():
        bad = block.ids[int(np.argmin(finite))]
        raise InputError(
            f"{place.name}, step {place.step}: sample {bad} of {bench.features.root} holds NaN or infinity; run "
            "`ldmscene verify` on that store"
        )


def _cells(bench: Bench, group: Sequence[str], block: Block, grid: Grid) -> dict:
    own, lent = {}, {}
    for name in group:
        own[name], lent[SHUFFLED + name] = bench.labels[name, block].cells(bench.kept, grid)
    return own | lent


def solve_place(bench: Bench, keys: Sequence[Sequence[str]], folds: Sequence[Sequence[Moments]]) -> Solved:
    """All probes of a place, from each fold's statistics by group, which the keys name."""
    return solve(bench.kept, bench.task, bench.columns, fingerprint({"folds": [list(names) for names in keys]}), folds)


# --- held-out samples ---


def score_block(bench: Bench, place: Place, block: Block, features: dict, solved: Solved) -> dict[str, Scores]:
    """Score every probe of a place on one block of held-out samples."""
    key = {"subspace": solved.key, "features": features}
    if bench.kept.has(COORDINATES, key):
        coordinates = bench.kept.read(COORDINATES, key)["coordinates"]
    else:
        X = place.read(bench.features, block.ids)
        with np.errstate(invalid="ignore"):
            coordinates = solved.subspace.project(X)
        if not np.isfinite(coordinates).all():
            _check_finite(bench, place, block, X)
        bench.kept.write(COORDINATES, key, {"coordinates": coordinates})
    truths = {t.name: bench.labels[t.name, block].truth(bench.kept, place.grid) for t in bench.task.targets}
    targets = {target.name: target for target in bench.task.targets}
    found = {}
    for name, probe in solved.probes.items():
        target = targets[name.removeprefix(SHUFFLED)]
        value = coordinates @ probe.inside + probe.offset
        found[name] = score(target, truths[target.name], value, value > 0)
    return found


def score(target: Target, truth: Truth, value: np.ndarray, mask: np.ndarray) -> Scores:
    """Every metric of a target's kind, for predictions (..., sample, y, x) and their thresholded form."""
    scores, degenerate = {}, {}
    shared: dict[tuple[Callable, bool], Any] = {}
    for name in target.metrics:
        metric = METRICS[name]
        masked = metric.needs == "mask"
        way = metric.reduce, masked
        if way not in shared:
            shared[way] = metric.reduce(truth, mask if masked else value)
        scores[name] = metric.value(shared[way])
        degenerate[name] = int(metric.undefined(shared[way]).sum())
    return Scores(scores, degenerate)


def collect(bench: Bench, solved: Solved, blocks: Sequence[Mapping[str, Scores]]) -> dict[str, Fit]:
    """The fits of a place, with the scores of all blocks in order."""

    def joined(name: str) -> dict[str, np.ndarray]:
        metrics = blocks[0][name].each
        return {metric: np.concatenate([block[name].each[metric] for block in blocks], -1) for metric in metrics}

    fits = {}
    for target in bench.task.targets:
        name, probe = target.name, solved.probes[target.name]
        degenerate = {m: sum(block[name].degenerate[m] for block in blocks) for m in target.metrics}
        fits[name] = Fit(
            probe.coef,
            probe.intercept,
            probe.alpha,
            probe.cv_score,
            joined(name),
            degenerate,
            joined(SHUFFLED + name),
        )
    return fits
