"""Fits to many sets of features, in one pass over each.

For each: states of blocks ─► of folds ─► fits ─► projections of held-out samples ─► scores. States and projections are
cached in the store, so that other strengths read no training features again, and held-out ones where they need more
directions alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from dask.delayed import delayed

from ldmscene.evaluation.bench import Bench
from ldmscene.evaluation.features import Features
from ldmscene.evaluation.held_out import scored
from ldmscene.evaluation.kind import Fits, State, Training, TrainingBlock
from ldmscene.evaluation.running import Job
from ldmscene.evaluation.samples import SampleBlock
from ldmscene.evaluation.scoring import collect
from ldmscene.evaluation.states import (
    are_cached,
    check_stored,
    checksums_of,
    features_key,
    fold_keys,
    merge_states,
    read_states,
    reduce_block,
    write_states,
)
from ldmscene.probes import Targets, merged
from ldmscene.store.fingerprints import fingerprint


def fit_jobs(bench: Bench, features: Sequence[Features]) -> list[Job]:
    """Fit and score every target on each set of features; one pass reads a sample at most once.

    Each job gives a `Fit` by target.
    """
    shared = delayed(bench, traverse=False)
    checksums = checksums_of(bench.source, features)
    return [_fit_job(bench, shared, one, checksums[one.path]) for one in features]


def _fit_job(bench: Bench, shared: Any, features: Features, checksum: Mapping[str, int]) -> Job:
    # What is known already goes in by `partial`: dask would search each argument for more that is delayed.
    keys = fold_keys(bench, features, checksum)
    states: list[Any] = []
    known = not bench.kind.rereads
    for names, fold in zip(keys, bench.task.folds, strict=True):
        if are_cached(bench, names):
            states.append(delayed(partial(read_states, keys=names))(shared))
            continue
        known = False
        check_stored(bench, features, fold)
        parts = [delayed(partial(reduce_block, features=features, block=block))(shared) for block in fold]
        whole = merged(parts, partial(merge_states, kind=bench.kind))
        states.append(delayed(partial(write_states, keys=names))(shared, states=whole))
    if bench.kind.rereads:
        check_stored(bench, features, bench.task.train)
    fits = delayed(partial(solve, features=features, keys=keys))(shared, folds=states)
    scores = [
        delayed(partial(scored, features=features, block=block, key=key, states=keys))(shared, fits=fits)
        for block in bench.task.test
        for key in [features_key(features, block, checksum)]
    ]
    size = 0
    if features.path and not known:  # else held-out projections are cached, too
        samples = sum(len(block.ids) for block in (*bench.task.train, *bench.task.test))
        size = bench.source.info(features.path).layout.chunk_bytes * samples
    return Job(delayed(collect)(shared, fits, scores), size)


def solve(bench: Bench, features: Features, keys: Sequence[Sequence[str]], folds: Sequence[Sequence[State]]) -> Fits:
    """All fits to some features, from each fold's states by group, which the keys name."""
    blocks = [
        TrainingBlock(
            fold=number,
            features=partial(features.read, bench.source, block.ids),
            labels=partial(_labels, bench, features, block),
        )
        for number, fold in enumerate(bench.task.folds)
        for block in fold
    ]
    key = fingerprint({"folds": [list(names) for names in keys]})
    name = f"{features.name}, step {features.step}"
    known = bench.known.get(features.size)
    return bench.kind.solve(
        Training(name, bench.groups, folds, bench.task.alphas, blocks, bench.own, key, features.size, known)
    )


def _labels(bench: Bench, features: Features, block: SampleBlock, group: int) -> Targets:
    return bench.training_labels(bench.grouped[group], block, features.size)
