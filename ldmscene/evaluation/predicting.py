"""From a grid back to what it was computed with, and the predicted maps of fits that it doesn't hold.

Fits that aren't linear are solved again from cached states.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from ldmscene.axes import told_beyond
from ldmscene.evaluation.assembly import set_up
from ldmscene.evaluation.bench import Bench
from ldmscene.evaluation.beyond import Beyond
from ldmscene.evaluation.features import Features
from ldmscene.evaluation.fitting import solve
from ldmscene.evaluation.kind import Kind
from ldmscene.evaluation.provenance import fitting_of
from ldmscene.evaluation.ridge import for_store
from ldmscene.evaluation.scope import Scope
from ldmscene.evaluation.scoring import project
from ldmscene.evaluation.states import features_key, fold_keys, fold_states
from ldmscene.evaluation.targets import responses
from ldmscene.evaluation.task import load_task
from ldmscene.store import ActivationStore


def bench_of(store: ActivationStore, grid: xr.Dataset, kind: Kind) -> Bench:
    """What a grid of a store was computed with, for states of a kind: the grid's own, or the ridge's.

    Targets stand in the grid's order, with those that were known, so that states are found that `evaluate` cached.
    """
    made = fitting_of(grid)
    scope = Scope.of(store, list(dict.fromkeys(grid["labels"].values.tolist())), grid["module"].values.tolist(), None)
    supplied = Beyond.of(told_beyond(grid), store.targets).targets
    task = load_task(store, scope, made.cv, made.alphas, supplied, made.held_out)
    return set_up(store, for_store(kind, store), task, scope)


def predictions(bench: Bench, features: Features) -> dict[str, np.ndarray]:
    """Maps (test sample, y, x) of every target, as some features predict them; log odds of binary targets."""
    checksum = bench.source.checksums(features.path) if features.path else {}
    keys = fold_keys(bench, features, checksum)
    fits = solve(bench, features, keys, fold_states(bench, features, keys))
    blocks = [
        project(bench, features, block, features_key(features, block, checksum), fits) for block in bench.task.test
    ]
    own = responses(bench.task.targets)[: len(bench.task.targets)]
    return {one.target: np.concatenate([fits.predict(one, block) for block in blocks]) for one in own}
