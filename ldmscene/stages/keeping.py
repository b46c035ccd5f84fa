"""Statistics instead of activations: a block of training samples is generated, labelled, reduced and dropped.

What `evaluate` would read of training samples are sums over them, so that the sums are enough. Held-out samples stay
as they are, since scores are of their predictions, pixel by pixel. At any moment a block's activations are either in
the store or in the statistics of every place, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import dask

from ldmscene.capture import Plan
from ldmscene.errors import InputError
from ldmscene.manifest import Manifest
from ldmscene.probes import assign_folds
from ldmscene.progress import bar
from ldmscene.stages import extraction, labeling
from ldmscene.stages.fitting import (
    MOMENTS,
    Bench,
    block_moments,
    compute,
    group_keys,
    keep_moments,
    prepare,
    read_moments,
)
from ldmscene.stages.places import Activations
from ldmscene.stages.task import Block, Task, check_splits, cut, targets_of, training_blocks
from ldmscene.store import ActivationStore
from ldmscene.store.dropping import drop, sweep
from ldmscene.store.files import write_file
from ldmscene.store.kept import STATISTICS, TERMS, Kept
from ldmscene.store.layout import activation_path
from ldmscene.store.places import Place


def extract_statistics(
    plan: Plan,
    manifest: Manifest,
    root: Place,
    labelers: Mapping[str, object],
    cv: int,
    *,
    progress: bool,
    **options: Any,
) -> ActivationStore:
    """Fill a store with held-out samples, and with the statistics of training samples; `options` are those of `fill`.

    Raises
    ------
    InputError
        If the store has statistics of other training samples: folds would not be the same.
    """
    check_splits(manifest, cv)
    found = {target: labeling.resolve(labeler) for target, labeler in labelers.items()}
    store = extraction.prepare(plan, manifest, root, options["previews"], options["compression"])
    _agree(root, {"targets": sorted(found), "cv": cv})

    def produce(sample_ids: Collection[str]) -> None:
        extraction.fill(plan, store.manifest.only(sample_ids), root, progress=False, **options)
        store.refresh()
        for target, labeler in found.items():
            wanted = labeling.Wanted(store, target, "image", None, frozenset(sample_ids))
            labeling.label(wanted, labeler, kind=None, threshold=None, device=None, batch_size=32, progress=False)

    frame = store.manifest.frame
    with bar("extracting", len(frame), enabled=progress) as advance:
        reduce_training(store, list(found), cv, produce, advance)
        for sample_ids in cut(frame["sample_id"][frame["split"] != "train"]):
            produce(sample_ids)
            advance(len(sample_ids))
    return store


def _agree(root: Place, terms: dict) -> None:
    """Note what the statistics are of, or refuse to go on with anything else."""
    path = root / TERMS
    if not path.exists():
        write_file(path, json.dumps(terms).encode())
    elif (before := json.loads(path.read_bytes())) != terms:
        raise InputError(f"{root} keeps statistics of {before}, which can't become those of {terms}; use another store")


def reduce_training(
    store: ActivationStore,
    targets: Sequence[str],
    cv: int,
    produce: Callable[[Sequence[str]], None],
    advance: Callable[[int], None],
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
    """
    sweep(store)
    frame = store.manifest.frame.assign(prompt=store.manifest.groups)
    train = frame[frame["split"] == "train"]
    fold = assign_folds(len(train), cv, train["prompt"].to_numpy())
    for k in range(int(fold.max()) + 1):
        blocks = training_blocks(train[fold == k])
        for n, block in enumerate(blocks, start=1):
            if not _dropped(store, block):
                produce(block.ids)
                store.refresh()
                absorb(store, targets, blocks[:n])
                drop(store, block.ids, [activation_path(module) for module in store.modules])
            advance(len(block.ids))


def _dropped(store: ActivationStore, block: Block) -> bool:
    return all(set(block.ids) <= store.dropped(activation_path(module)) for module in store.modules)


def absorb(store: ActivationStore, targets: Sequence[str], blocks: Sequence[Block]) -> None:
    """Add the last of a fold's blocks to the statistics of those before it, at every place."""
    task = Task(targets_of(store, targets), (tuple(blocks),), (), ())
    places = [Activations.of(store, module, step) for module in store.modules for step in store.steps]
    bench = prepare(store, Kept(store.root / STATISTICS), task, [place.grid for place in places], apart=True)
    shared = dask.delayed(bench)
    checksums = {place.path: store.checksums(place.path) for place in places}
    compute([dask.delayed(_absorb)(shared, place, blocks, checksums[place.path]) for place in places])


def _absorb(bench: Bench, place: Activations, blocks: Sequence[Block], checksum: Mapping[str, int]) -> None:
    keys, before = (group_keys(bench, place, some, checksum) for some in (blocks, blocks[:-1]))
    if all(bench.kept.has(MOMENTS, key) for key in keys):
        return
    moments = block_moments(bench, place, blocks[-1])
    if len(blocks) > 1:
        known = read_moments(bench.kept, before)
        moments = [old.merge(new) for old, new in zip(known, moments, strict=True)]
    keep_moments(bench.kept, keys, moments)
    for key in before:
        bench.kept.remove(MOMENTS, key)
