"""Statistics instead of activations: a block of training samples is reduced, and its activations are dropped.

What `evaluate` would read of training samples are sums over them, so that the sums are enough. Held-out samples stay
as they are, since scores are of their predictions, pixel by pixel. At any moment a block's activations are either in
the store or in the statistics of every module and step, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from dask.delayed import delayed

from ldmscene.evaluation.bench import Bench, reduce_labels, ungrouped
from ldmscene.evaluation.features import ModuleOutput
from ldmscene.evaluation.ridge import RIDGE
from ldmscene.evaluation.running import Job, compute
from ldmscene.evaluation.samples import SampleBlock, training_folds
from ldmscene.evaluation.states import (
    STATES,
    are_cached,
    merge_states,
    read_states,
    reduce_block,
    state_keys,
    write_states,
)
from ldmscene.evaluation.targets import targets_of
from ldmscene.evaluation.task import Task
from ldmscene.store import ActivationStore
from ldmscene.store.cache import STATISTICS, Cache
from ldmscene.store.check import Fault
from ldmscene.store.dropping import drop, forget, sweep
from ldmscene.store.layout import activation_path, label_path


def reduce_training(
    store: ActivationStore,
    targets: Sequence[str],
    cv: int,
    produce: Callable[[Sequence[str]], None],
    advance: Callable[[int], None],
    *,
    progress: bool = False,
) -> None:
    """Bring all training samples of a store into statistics.

    Parameters
    ----------
    targets
        All that will be evaluated; targets can't be added later.
    produce
        Fills the store with the activations and labels of some samples (sample_ids).
    advance
        Told of each number of samples that is done.
    progress
        Show a bar for each block that is brought in.
    """
    sweep(store)
    for blocks in training_folds(store.manifest, cv):
        for loss in _losses(store, targets, blocks):
            for block in loss.blocks:  # as before, since networks round otherwise in batches of another size
                produce(block.ids)  # labels alone may have been lost: statistics are known by them
            store.refresh()
        for loss in _losses(store, targets, blocks):
            forget(store, loss.sample_ids, activation_path(loss.module))
        for n, block in enumerate(blocks, start=1):
            left = [m for m in store.modules if not set(block.ids) <= store.dropped(activation_path(m))]
            if left:
                produce(block.ids)
                store.refresh()
                absorb(store, targets, blocks[:n], left, title="absorbing" if progress else "")
                drop(store, block.ids, map(activation_path, left))
            advance(len(block.ids))


def absorb(
    store: ActivationStore,
    targets: Sequence[str],
    blocks: Sequence[SampleBlock],
    modules: Sequence[str],
    title: str = "",
) -> None:
    """Add the last of a fold's blocks to the statistics of those before it, at every step of some modules."""
    outputs = [ModuleOutput.of(store, module, step) for module in modules for step in store.steps]
    reduce_labels(_bench(store, targets, blocks[-1:]), [output.size for output in outputs])
    shared = delayed(_bench(store, targets, blocks), traverse=False)
    checksums = {output.path: store.checksums(output.path) for output in outputs}
    jobs = [
        Job(delayed(partial(_absorb, features=output, blocks=blocks, checksum=checksums[output.path]))(shared))
        for output in outputs
    ]
    compute(jobs, title=title)


def _bench(store: ActivationStore, targets: Sequence[str], blocks: Sequence[SampleBlock]) -> Bench:
    todo = Task(targets_of(store, targets, ()), (tuple(blocks),), (), ())
    return ungrouped(store, Cache(store.location), RIDGE, todo)


def _absorb(bench: Bench, features: ModuleOutput, blocks: Sequence[SampleBlock], checksum: Mapping[str, int]) -> None:
    keys, before = (state_keys(bench, features, some, checksum) for some in (blocks, blocks[:-1]))
    if are_cached(bench, keys):
        return
    states = reduce_block(bench, features, blocks[-1])
    if len(blocks) > 1:
        states = merge_states([read_states(bench, before), states], bench.kind)
    write_states(bench, states, keys)
    for key in before:
        bench.cache.remove(STATES, key)


# --- what was lost ---


@dataclass(frozen=True)
class _Loss:
    module: str
    blocks: tuple[SampleBlock, ...]

    @property
    def sample_ids(self) -> list[str]:
        return [sample_id for block in self.blocks for sample_id in block.ids]


def find_lost(store: ActivationStore) -> list[Fault]:
    """What a store dropped and has no statistics of; the same `extract` makes it again."""
    terms = store.terms
    if terms is None:
        return []
    return [
        Fault("", f"{STATISTICS}/{STATES}", f"lacks {loss.module} of {len(loss.sample_ids)} samples that were dropped")
        for blocks in training_folds(store.manifest, terms["cv"])
        for loss in _losses(store, terms["targets"], blocks)
    ]


def _losses(store: ActivationStore, targets: Sequence[str], blocks: Sequence[SampleBlock]) -> list[_Loss]:
    """Modules whose statistics of a fold are gone, with the samples that were dropped for them."""
    labelled = [set(block.ids) <= _labelled(store, targets) for block in blocks]
    found = []
    for module in store.modules:
        dropped = store.dropped(activation_path(module))
        done = sum(set(block.ids) <= dropped for block in blocks)
        # A run that was stopped may have counted the next block in, and not dropped it yet.
        prefixes = [blocks[:n] for n in (done, done + 1) if n <= len(blocks) and all(labelled[:n])]
        if done and not _has_all(store, targets, module, prefixes):
            found.append(_Loss(module, tuple(blocks[:done])))
    return found


def _labelled(store: ActivationStore, targets: Sequence[str]) -> set[str]:
    return set.intersection(*(store.complete(label_path(target)) for target in targets))


def _has_all(
    store: ActivationStore, targets: Sequence[str], module: str, prefixes: Sequence[Sequence[SampleBlock]]
) -> bool:
    """Whether the statistics of one of a fold's beginnings are there, for every step of a module."""
    checksum = store.checksums(activation_path(module))
    benches = [(_bench(store, targets, some), some) for some in prefixes]
    outputs = [ModuleOutput.of(store, module, step) for step in store.steps]
    return all(
        any(are_cached(bench, state_keys(bench, output, some, checksum)) for bench, some in benches)
        for output in outputs
    )
