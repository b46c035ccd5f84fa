"""What every block of every set of features is worked on with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from dask.delayed import delayed

from ldmscene.array_types import Array
from ldmscene.cells import MapSize
from ldmscene.evaluation.features import Features, latents_at
from ldmscene.evaluation.kind import Group, Kind, Known
from ldmscene.evaluation.reduction import LabelBlock
from ldmscene.evaluation.running import Job, compute
from ldmscene.evaluation.samples import SampleBlock
from ldmscene.evaluation.targets import Target, responses
from ldmscene.evaluation.task import Task
from ldmscene.metrics import Truth
from ldmscene.probes import Targets
from ldmscene.store import ActivationStore
from ldmscene.store.cache import Cache
from ldmscene.store.layout import label_path


@dataclass(frozen=True)
class Bench:
    """A task, the kind of probe, and where features, labels and what is cached come from."""

    store: ActivationStore
    source: ActivationStore
    """of features: the same store, or that of a control"""
    cache: Cache
    """of what is computed from labels"""
    own: Cache
    """of what is computed from features, in their own store"""
    kind: Kind
    task: Task
    labels: Mapping[tuple[str, SampleBlock], LabelBlock]
    grouped: tuple[tuple[Target, ...], ...]
    """targets with the same labelled pixels, which share their states"""
    known: Mapping[MapSize, tuple[Known, ...]] = field(default_factory=dict)
    """what nested fits of each group use on maps of a size; empty: there are none"""

    def on(self, control: ActivationStore) -> Bench:
        """A bench for another store's features, against this one's labels, folds and targets."""
        return replace(self, source=control, own=Cache.beside(control.root))

    @property
    def groups(self) -> list[Group]:
        """What is fitted from each state."""
        return [responses(targets) for targets in self.grouped]

    def training_labels(self, targets: Sequence[Target], block: SampleBlock, size: MapSize) -> Targets:
        """A group's labels of a block on maps of a size: those of all its responses."""
        pairs = [self.labels[target.name, block].cells(self.cache, size) for target in targets]
        cells = [*(own for own, _ in pairs), *(lent for _, lent in pairs)]
        return Targets.of({r.name: one for r, one in zip(responses(targets), cells, strict=True)})

    def supplied(self, size: MapSize) -> tuple[str, ...]:
        """Names of the targets that are known."""
        return tuple(response.target for known in self.known.get(size, ())[:1] for response in known.supplied)

    @property
    def latents(self) -> int:
        """How many channels of x_t are known."""
        return next((known[0].latents for known in self.known.values()), 0)

    def read(self, features: Features, sample_ids: Sequence[str]) -> Array:
        """Features (sample, y, x, channel) as states are made of them: behind the latents, where these are known."""
        X = features.read(self.source, sample_ids)
        if not self.latents:
            return X
        return np.concatenate([latents_at(self.store, features.step, features.size, sample_ids), X], -1)

    def known_latents(self, step: int, size: MapSize, sample_ids: Sequence[str]) -> Array:
        """[channel, sample, y, x] x_t where it is known, else of no channel."""
        if not self.latents:
            return np.zeros((0, len(sample_ids), *size))
        return np.moveaxis(latents_at(self.store, step, size, sample_ids).astype(np.float64), -1, 0)

    def truths(self, block: SampleBlock, size: MapSize, names: Iterable[str]) -> dict[str, Truth]:
        """Held-out labels of a block on maps of a size, by target."""
        return {name: self.labels[name, block].truth(self.cache, size) for name in names}


def ungrouped(store: ActivationStore, cache: Cache, kind: Kind, task: Task) -> Bench:
    """A bench on which each target is a group of its own, with labels that aren't reduced yet."""
    checksums = {name: store.checksums(label_path(name)) for name in {target.labels for target in task.targets}}
    labels = {
        (target.name, block): LabelBlock.of(target, block, checksums[target.labels])
        for target in task.targets
        for block in (*task.train, *task.test)
    }
    return Bench(store, store, cache, cache, kind, task, labels, tuple((target,) for target in task.targets))


def reduce_labels(bench: Bench, sizes: Iterable[MapSize], client: Any = None, title: str = "") -> Bench:
    """Reduce all labels to maps of these sizes, and group the targets that have the same labelled pixels."""
    wanted, shared = sorted(set(sizes)), delayed(bench.store, traverse=False)
    jobs = [
        Job(delayed(partial(LabelBlock.reduce, block, cache=bench.cache, sizes=wanted))(shared))
        for block in bench.labels.values()
    ]
    known = dict(zip(bench.labels, compute(jobs, client, title), strict=True))
    patterns: dict[tuple[str, ...], list[Target]] = {}
    for target in bench.task.targets:
        patterns.setdefault(tuple(known[target.name, block] for block in bench.task.train), []).append(target)
    return replace(bench, grouped=tuple(tuple(targets) for targets in patterns.values()))
