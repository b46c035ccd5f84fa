"""States of training samples: reduced block by block, merged fold by fold, and cached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ldmscene.errors import InputError
from ldmscene.evaluation.bench import Bench
from ldmscene.evaluation.features import Features
from ldmscene.evaluation.kind import State
from ldmscene.evaluation.samples import SampleBlock
from ldmscene.store import ActivationStore
from ldmscene.store.fingerprints import fingerprint

STATES = "moments"


def checksums_of(store: ActivationStore, features: Iterable[Features]) -> dict[str | None, dict[str, int]]:
    """Of every sample, by the path of the array that features are read from; each array is asked for once."""
    return {path: store.checksums(path) if path else {} for path in {one.path for one in features}}


def features_key(features: Features, block: SampleBlock, checksum: Mapping[str, int]) -> dict[str, Any]:
    """What the features of a block depend on; `checksum` has those of the array that they are read from."""
    return {"features": features.key(), "bytes": [checksum.get(sample_id, 0) for sample_id in block.ids]}


def state_keys(
    bench: Bench, features: Features, blocks: Sequence[SampleBlock], checksum: Mapping[str, int]
) -> list[str]:
    """For each group of targets, what its state of some blocks depends on."""
    read = [features_key(features, block, checksum) for block in blocks]
    keys = []
    for targets in bench.grouped:
        labels = [bench.labels[target.name, block].key(features.size) for target in targets for block in blocks]
        beside = {"latents": bench.store.fingerprint} if bench.latents else {}
        keys.append(fingerprint({"kind": bench.kind.key(), "features": read, "labels": labels, **beside}))
    return keys


def are_cached(bench: Bench, keys: Sequence[str]) -> bool:
    return all(bench.own.has(STATES, key) for key in keys)


def read_states(bench: Bench, keys: Sequence[str]) -> list[State]:
    """The cached state of each group."""
    return [bench.kind.unpack(bench.own.read(STATES, key)) for key in keys]


def write_states(bench: Bench, states: Sequence[State], keys: Sequence[str]) -> Sequence[State]:
    """Put the state of each group into the cache, and hand them on."""
    for key, state in zip(keys, states, strict=True):
        bench.own.write(STATES, key, bench.kind.pack(state))
    return states


def reduce_block(bench: Bench, features: Features, block: SampleBlock) -> list[State]:
    """States of one block, for each group of targets."""
    X = bench.read(features, block.ids)
    labels = [bench.training_labels(targets, block, features.size) for targets in bench.grouped]
    together = getattr(bench.kind, "reduce_all", None)  # of kinds that move features first
    try:
        return together(X, labels) if together else [bench.kind.reduce(X, one) for one in labels]
    except InputError:
        check_finite(bench, features, block, X)
        raise


def fold_keys(bench: Bench, features: Features, checksum: Mapping[str, int]) -> list[list[str]]:
    """Of what the states of each fold's samples depend on, [fold][group]."""
    return [state_keys(bench, features, blocks, checksum) for blocks in bench.task.folds]


def fold_states(bench: Bench, features: Features, keys: Sequence[Sequence[str]]) -> list[Sequence[State]]:
    """States of each fold's samples, [fold][group], from the cache or into it under `fold_keys`.

    Raises
    ------
    InputError
        If they aren't cached, and activations were dropped.
    """
    return [_states(bench, features, blocks, some) for blocks, some in zip(bench.task.folds, keys, strict=True)]


def _states(bench: Bench, features: Features, blocks: Sequence[SampleBlock], keys: Sequence[str]) -> Sequence[State]:
    if are_cached(bench, keys):
        return read_states(bench, keys)
    check_stored(bench, features, blocks)
    parts = [reduce_block(bench, features, block) for block in blocks]
    return write_states(bench, merge_states(parts, bench.kind), keys)


def merge_states(parts: Sequence[Sequence[State]], kind: Any) -> list[State]:
    """Of several blocks, [block][group], to one state for each group."""
    return [kind.merge(states) for states in zip(*parts, strict=True)]


def check_finite(bench: Bench, features: Features, block: SampleBlock, X: np.ndarray) -> None:
    """Name the sample that holds NaN or infinity; both show in what was computed, which is quicker to look at."""
    finite = np.isfinite(X).all((1, 2, 3))
    if not finite.all():
        bad = block.ids[int(np.argmin(finite))]
        raise InputError(
            f"{features.name}, step {features.step}: sample {bad} of {bench.source.root} holds NaN or infinity; run "
            "`ldmscene verify` on that store"
        )


def check_stored(bench: Bench, features: Features, blocks: Sequence[SampleBlock]) -> None:
    """Refuse to read training samples whose activations were dropped."""
    dropped = bench.source.dropped(features.path) if features.path else set()
    gone = [sample_id for block in blocks for sample_id in block.ids if sample_id in dropped]
    if not gone:
        return
    if bench.kind.rereads:
        raise InputError(
            f"probe: {bench.kind.name} reads training samples several times, and activations of {len(gone)} of "
            f"{bench.source.root}, {gone[0]} among them, were dropped for their statistics; evaluate with probe='ridge'"
        )
    raise InputError(
        f"activations of {len(gone)} training samples of {bench.source.root}, {gone[0]} among them, were dropped "
        f"for their statistics, and those are of other targets or folds, or lost; {_advice(bench.source.terms)}"
    )


def _advice(terms: Mapping[str, Any] | None) -> str:
    """What to do where statistics aren't those that are asked for; a control's are of whatever its store had."""
    if terms and terms.get("control"):
        return (
            f"evaluate with cv={terms['cv']} and targets that the store had when the control was made, or run the same "
            "`extract(control=…)` again, which makes what is lost or new"
        )
    of_it = f" ({', '.join(terms['targets'])}; cv={terms['cv']})" if terms else ""
    return (
        f"evaluate with the targets and the cv of the extraction{of_it}, or have what is lost made again by the same "
        "`extract`"
    )
