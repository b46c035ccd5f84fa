"""Statistics instead of activations: a block of training samples is summed in memory, and never stored.

What `evaluate` would read of training samples are sums over them, so that the sums are enough. Held-out samples stay
as they are, since scores are of their predictions, pixel by pixel. A block waits until its labels are there, which its
samples lend each other. It counts as dropped once it is in the statistics of every module and step, and a run that was
stopped generates again what was waiting. What a store has of training samples is read there, and dropped, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import takewhile

from dask.delayed import delayed

from ldmscene.evaluation.bench import Bench, reduce_labels, ungrouped
from ldmscene.evaluation.features import outputs_of
from ldmscene.evaluation.holding import Held, HeldOutput
from ldmscene.evaluation.ridge import RIDGE, Ridge, for_store
from ldmscene.evaluation.running import Job, compute
from ldmscene.evaluation.samples import BLOCK, SampleBlock, training_folds
from ldmscene.evaluation.states import (
    STATES,
    are_cached,
    checksums_of,
    merge_states,
    read_states,
    reduce_block,
    state_keys,
    write_states,
)
from ldmscene.evaluation.targets import Target, targets_of
from ldmscene.evaluation.task import Task
from ldmscene.store import ActivationStore
from ldmscene.store.cache import STATISTICS, Cache
from ldmscene.store.check import Fault
from ldmscene.store.dropping import drop, forget, sweep
from ldmscene.store.layout import IMAGE, LATENTS, Key, activation_path, label_path

AT_ONCE = 2**30  # bytes of activations that wait in memory until they are brought in
Produce = Callable[[Sequence[str], Held | None], Collection[str]]


@dataclass(frozen=True)
class Reduction:
    """Whose activations become statistics, and of which labels.

    Parameters
    ----------
    store : ActivationStore
    targets : sequence of str
        All that will be evaluated. Where the labels are the store's own, none can be added later.
    labelled : ActivationStore, optional
        Whose labels they are: of a control, the store whose control it is. None: the same store.
    kind : Ridge
        What sums, and where.
    """

    store: ActivationStore
    targets: Sequence[str]
    labelled: ActivationStore | None = None
    kind: Ridge = RIDGE

    @property
    def labels(self) -> ActivationStore:
        return self.labelled or self.store

    @cached_property
    def cache(self) -> Cache:
        """Of what is computed from labels: made once, since it tries whether their store can be written to."""
        return Cache.beside(self.labels.location)

    def bench(self, blocks: Sequence[SampleBlock], cache: Cache | None = None) -> Bench:
        """Where no cache is handed in, for looking alone: nothing can be computed from labels there."""
        todo = Task(self._found, (tuple(blocks),), (), ())
        labelled = cache or Cache(self.labels.location)
        plain = ungrouped(self.labels, labelled, for_store(self.kind, self.store), todo)
        return replace(plain, source=self.store, own=Cache(self.store.location))

    @cached_property
    def _found(self) -> tuple[Target, ...]:
        """Classes are known of labels that are all there, as those of a control are."""
        frame = self.labels.manifest.frame
        train = frame["sample_id"][frame["split"] == "train"] if self.labelled else ()
        return targets_of(self.labels, self.targets, train)

    def paths(self, modules: Iterable[str]) -> list[Key]:
        """Arrays that statistics stand in for: of a control all that there are."""
        return [*map(activation_path, modules), *((IMAGE, LATENTS) if self.labelled else ())]


def reduce_training(
    todo: Reduction,
    cv: int,
    produce: Produce,
    advance: Callable[[int], None],
    *,
    progress: bool = False,
) -> list[str]:
    """Bring all training samples of a store into statistics, and return the sample_ids of those that can't be.

    Statistics take the blocks of a fold in their order, and each as a whole. Where a block has a sample that can't be
    summed, it waits with the fold's later ones; what else is to be made of their samples is made.

    Parameters
    ----------
    todo
    cv
        Folds over groups of prompts.
    produce
        Makes what is missing of some samples (sample_ids), labels included; arrays go to what is held, if any is,
        instead of the store. Returns those sample_ids of which that failed, since their values are infinite or NaN.
    advance
        Told of each number of samples that is generated, or was brought in before.
    progress
        Show a bar for the blocks that are brought in together.
    """
    sweep(todo.store)
    waiting: list[str] = []
    for blocks in training_folds(todo.store.manifest, cv):
        _forget_lost(todo, blocks, produce)
        _remove_beginnings(todo, blocks, todo.store.modules)
        waiting += _reduce_fold(todo, blocks, produce, advance, "absorbing" if progress else "")
    return waiting


def _reduce_fold(
    todo: Reduction,
    blocks: Sequence[SampleBlock],
    produce: Produce,
    advance: Callable[[int], None],
    title: str,
) -> list[str]:
    store, sound = todo.store, len(blocks)
    whole = set.intersection(*(store.finished(path) for path in (IMAGE, LATENTS)))
    for run in _runs(store, blocks):
        held = Held(todo.paths(run.left))
        for n in range(run.begin, run.end):
            short = not set(blocks[n].ids) <= whole  # as a block may be of which no activations are left to sum
            failed = produce(blocks[n].ids, held) if run.left or short else ()
            if run.left and failed:
                sound = min(sound, n)
            advance(len(blocks[n].ids))
        end = min(run.end, sound)
        if run.left and run.begin < end:
            store.refresh()
            absorb(todo, blocks[:end], run.begin, run.left, held, title)
            drop_left(store, _ids(blocks[run.begin : end]), todo.paths(run.left), held)
            _remove_beginnings(todo, blocks, run.left)
    return _ids(blocks[sound:])


@dataclass(frozen=True)
class _Run:
    """Blocks of a fold from `begin` up to `end`, which are brought in together: some modules of them are left."""

    begin: int
    end: int
    left: tuple[str, ...]


def _runs(store: ActivationStore, blocks: Sequence[SampleBlock]) -> list[_Run]:
    """A fold in pieces: as many blocks at once as may wait in memory, at least one."""
    found: list[_Run] = []
    waiting = 0
    for n, block in enumerate(blocks):
        left = tuple(m for m in store.modules if not set(block.ids) <= store.dropped(activation_path(m)))
        size = len(block.ids) * sum(store.info(activation_path(m)).layout.shard_bytes for m in left)
        if found and found[-1].left == left and waiting + size <= AT_ONCE:
            found[-1], waiting = replace(found[-1], end=n + 1), waiting + size
        else:
            found.append(_Run(n, n + 1, left))
            waiting = size
    return found


def most_held(samples: int, size: int) -> int:
    """Bytes that wait in memory at most, of so many samples of a size in bytes."""
    return min(samples * size, max(BLOCK * size, AT_ONCE))


def drop_left(store: ActivationStore, sample_ids: Sequence[str], paths: Iterable[Key], held: Held) -> None:
    """Drop those of some arrays that weren't dropped before."""
    drop(store, sample_ids, [path for path in paths if not set(sample_ids) <= store.dropped(path)], held.known)


def absorb(
    todo: Reduction,
    blocks: Sequence[SampleBlock],
    begin: int,
    modules: Sequence[str],
    held: Held,
    title: str = "",
) -> None:
    """Add a fold's blocks from `begin` on to the statistics of those before them, at every step of some modules."""
    store = todo.store
    outputs = outputs_of(store, modules, store.steps)
    reduce_labels(todo.bench(blocks[begin:], todo.cache), [output.size for output in outputs])
    shared = delayed(todo.bench(blocks, todo.cache), traverse=False)
    checksums = held.checksums(store, outputs)
    work = partial(_absorb, blocks=blocks, begin=begin)
    jobs = [
        Job(delayed(partial(work, features=HeldOutput.among(one, held), checksum=checksums[one.path]))(shared))
        for one in outputs
    ]
    compute(jobs, title=title)


def _absorb(
    bench: Bench, features: HeldOutput, blocks: Sequence[SampleBlock], begin: int, checksum: Mapping[str, int]
) -> None:
    keys, before = (state_keys(bench, features, some, checksum) for some in (blocks, blocks[:begin]))
    if are_cached(bench, keys):
        return
    parts = (reduce_block(bench, features, block) for block in blocks[begin:])
    states = read_states(bench, before) if begin else next(parts)
    for part in parts:  # one by one, as rounding has it that a stopped run is to repeat
        states = merge_states([states, part], bench.kind)
    write_states(bench, states, keys)


def _remove_beginnings(todo: Reduction, blocks: Sequence[SampleBlock], modules: Iterable[str]) -> None:
    """Delete what statistics of more blocks of a fold stand in for, as a run may have left it that was stopped."""
    store = todo.store
    done = {module: _begun(store.dropped(activation_path(module)), blocks) for module in modules}
    if (most := max(done.values(), default=0)) < 2:
        return
    bench = todo.bench(blocks[:most])
    outputs = outputs_of(store, done, store.steps)
    checksums = checksums_of(store, outputs)
    for one in outputs:
        for n in range(1, done[one.name]):
            for key in state_keys(bench, one, blocks[:n], checksums[one.path]):
                if bench.own.has(STATES, key):
                    bench.own.remove(STATES, key)


def _begun(dropped: set[str], blocks: Sequence[SampleBlock]) -> int:
    """How many of a fold's blocks, from the first on, hold dropped samples alone."""
    return sum(1 for _ in takewhile(lambda block: set(block.ids) <= dropped, blocks))


# --- what was lost ---


@dataclass(frozen=True)
class _Loss:
    module: str
    blocks: tuple[SampleBlock, ...]

    @property
    def sample_ids(self) -> list[str]:
        return _ids(self.blocks)


def find_lost(store: ActivationStore) -> list[Fault]:
    """What a store dropped and has no statistics of; the same `extract` makes it again.

    Nothing of a control: what its statistics are of are another store's labels, and `evaluate` says what it lacks.
    """
    terms = store.terms
    if terms is None or terms.get("control"):
        return []
    return [
        Fault("", f"{STATISTICS}/{STATES}", f"lacks {loss.module} of {len(loss.sample_ids)} samples that were dropped")
        for blocks in training_folds(store.manifest, terms["cv"])
        for loss in _losses(Reduction(store, terms["targets"]), blocks)
    ]


def _forget_lost(todo: Reduction, blocks: Sequence[SampleBlock], produce: Produce) -> None:
    """Have samples count as missing whose statistics are gone."""
    lost = {block: None for loss in _losses(todo, blocks) for block in loss.blocks}
    if not lost:
        return
    for block in lost:  # labels alone may have been lost: statistics are known by them
        produce(block.ids, None)
    todo.store.refresh()
    forget(todo.store, {activation_path(loss.module): loss.sample_ids for loss in _losses(todo, blocks)})


def _losses(todo: Reduction, blocks: Sequence[SampleBlock]) -> list[_Loss]:
    """Modules whose statistics of a fold are gone, with the samples that were dropped for them."""
    complete = _labelled(todo)
    labelled = [set(block.ids) <= complete for block in blocks]
    found = []
    for module in todo.store.modules:
        dropped = todo.store.dropped(activation_path(module))
        done = _begun(dropped, blocks)
        touched = tuple(block for block in blocks if not dropped.isdisjoint(block.ids))
        if len(touched) > done or (done and not (all(labelled[:done]) and _has_all(todo, module, blocks[:done]))):
            found.append(_Loss(module, touched))  # all: where rows of the ledger were lost, blocks are dropped in part
    return found


def _labelled(todo: Reduction) -> set[str]:
    return set.intersection(*(todo.labels.complete(label_path(target)) for target in todo.targets))


def _ids(blocks: Iterable[SampleBlock]) -> list[str]:
    return [sample_id for block in blocks for sample_id in block.ids]


def _has_all(todo: Reduction, module: str, blocks: Sequence[SampleBlock]) -> bool:
    """Whether the statistics of some blocks are there, for every step of a module."""
    store, bench = todo.store, todo.bench(blocks)
    checksum = store.checksums(activation_path(module))
    outputs = outputs_of(store, [module], store.steps)
    return all(are_cached(bench, state_keys(bench, output, blocks, checksum)) for output in outputs)
