"""What a linear reading misses: the same fits on random functions of features beside the features themselves.

Only of the module that speaks for each target, since these are many columns. Their scale comes from the statistics that
linear fits are from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ldmscene.errors import InputError
from ldmscene.evaluation.bench import Bench
from ldmscene.evaluation.features import ModuleOutput, Widened
from ldmscene.evaluation.fitting import fit_jobs
from ldmscene.evaluation.gains import sums
from ldmscene.evaluation.nesting import features_alone
from ldmscene.evaluation.running import compute
from ldmscene.evaluation.states import checksums_of, fold_keys, read_states
from ldmscene.gains import chosen_module
from ldmscene.probes import FourierFeatures, merge_all
from ldmscene.store import ActivationStore
from ldmscene.store.layout import activation_path


def check_stored(store: ActivationStore, modules: Iterable[str]) -> None:
    """Refuse a store without training activations of some modules: its statistics are of these, not of functions.

    Raises
    ------
    InputError
    """
    if any(store.dropped(activation_path(module)) for module in modules):
        raise InputError(
            f"nonlinear: it reads activations of training samples, and {store.root} has statistics instead; leave it "
            "out, or extract with keep='activations'"
        )


def nonlinear_gains(bench: Bench, grid: xr.Dataset, client: Any = None, title: str = "") -> xr.Dataset:
    """`nonlinear_explained` and `nonlinear_left` of a grid, (target, step, sample), from its effects by module."""
    targets, steps = grid["target"].values.tolist(), grid["step"].values.tolist()
    group_of = {target.name: g for g, some in enumerate(bench.grouped) for target in some}
    chosen = [(group_of[target], chosen_module(grid, target)) for target in targets]
    places = list(dict.fromkeys((*one, step) for one in chosen for step in steps))
    fits = dict(zip(places, _fits(bench, places, client, title), strict=True))
    by_target = zip(targets, chosen, strict=True)
    explained, left = sums([[fits[*one, step][target] for step in steps] for target, one in by_target])
    dims = ("target", "step", "sample")
    return xr.Dataset(
        {"nonlinear_explained": (dims, explained.astype(np.float32)), "nonlinear_left": (dims, left.astype(np.float32))}
    )


def _fits(bench: Bench, places: Sequence[tuple[int, str, int]], client: Any, title: str) -> list[Any]:
    """By the number of a group, a module and a step."""
    outputs = [ModuleOutput.of(bench.store, module, step) for _, module, step in places]
    checksums = checksums_of(bench.source, outputs)
    widened = [
        _widened(bench, group, output, checksums[output.path])
        for (group, *_), output in zip(places, outputs, strict=True)
    ]
    return compute(fit_jobs(bench, widened), client, title)


def _widened(bench: Bench, group: int, output: ModuleOutput, checksum: Mapping[str, int]) -> Widened:
    """With functions of the scale that the group's labelled pixels have, so that no other target counts."""
    keys = fold_keys(bench, output, checksum)
    folds = [read_states(bench, [some[group]])[0] for some in keys]
    return Widened(output, FourierFeatures.of(features_alone(merge_all(folds), output.size, bench.latents)))
