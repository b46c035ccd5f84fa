"""Predicted maps of fits that a grid doesn't hold, since they aren't linear: solved again from cached states."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ldmscene.evaluation.assembly import set_up
from ldmscene.evaluation.bench import Bench
from ldmscene.evaluation.features import Features
from ldmscene.evaluation.fitting import solve
from ldmscene.evaluation.kinds import KINDS
from ldmscene.evaluation.provenance import fitting_of
from ldmscene.evaluation.ridge import RIDGE, ridge_of
from ldmscene.evaluation.scope import Scope
from ldmscene.evaluation.scoring import project
from ldmscene.evaluation.states import (
    are_cached,
    features_key,
    merge_states,
    read_states,
    reduce_block,
    state_keys,
)
from ldmscene.evaluation.targets import responses
from ldmscene.evaluation.task import load_task
from ldmscene.store import ActivationStore


def bench_of(store: ActivationStore, grid: xr.Dataset) -> Bench:
    """What a grid of a store was computed with."""
    made = fitting_of(grid)
    targets = list(dict.fromkeys(grid["labels"].values.tolist()))
    scope = Scope(targets, grid["module"].values.tolist(), grid["step"].values.tolist())
    kind = KINDS[made.probe["probe"]]
    kind = ridge_of(made.probe) if kind is RIDGE else kind
    task = load_task(store, scope, made.cv, made.alphas, held_out=made.held_out)
    return set_up(store, kind, task, scope)


def predictions(bench: Bench, features: Features) -> dict[str, np.ndarray]:
    """Maps (test sample, y, x) of every target, as some features predict them; log odds of binary targets."""
    checksum = bench.source.checksums(features.path) if features.path else {}
    keys = [state_keys(bench, features, fold, checksum) for fold in bench.task.folds]
    states = [
        read_states(bench, names)
        if are_cached(bench, names)
        else merge_states([reduce_block(bench, features, block) for block in fold], bench.kind)
        for names, fold in zip(keys, bench.task.folds, strict=True)
    ]
    fits = solve(bench, features, keys, states)
    blocks = [
        project(bench, features, block, features_key(features, block, checksum), fits) for block in bench.task.test
    ]
    own = responses(bench.task.targets)[: len(bench.task.targets)]
    return {one.target: np.concatenate([fits.predict(one, block) for block in blocks]) for one in own}
