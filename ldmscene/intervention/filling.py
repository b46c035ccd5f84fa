"""What an edited store holds beside a store's pictures: wanted maps, sizes of changes, and readings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ldmscene.edits import MEASURES, Edit, is_settled
from ldmscene.errors import InputError
from ldmscene.intervention.maps import Subjects
from ldmscene.intervention.running import Worker
from ldmscene.metrics import METRICS, Truth
from ldmscene.store import ActivationStore, ArraySpec
from ldmscene.store.layout import Key

SIZE, READING = Key("edit/size"), Key("edit/reading")


def wanted_path(target: str) -> Key:
    """Where the wanted maps of a target lie, under the name of its labels: "segments" for "segments=2"."""
    return Key(f"wanted/{target.partition('=')[0]}")


@dataclass(frozen=True)
class Editing:
    """An edit of some samples, as `ldmscene.extraction` fills a store with it."""

    subjects: Subjects

    @property
    def edit(self) -> Edit:
        return self.subjects.edit

    def going_on(self, there: ActivationStore) -> Editing:
        """The same, with its readings in the order in which a store that was begun has them."""
        stored = there.info(READING).attributes.get("positions", ()) if READING in there.paths else ()
        return Editing(replace(self.subjects, edit=in_order(self.edit, stored)))

    def check(self) -> None:
        """Refuse donors that aren't there."""
        if self.edit.borrows:
            self.subjects.check_donors()

    def check_wanted(self, there: ActivationStore) -> None:
        """Refuse maps that are others than those for which a store's samples were generated.

        Raises
        ------
        InputError
            With one of these samples.
        """
        if is_settled(self.edit.wanted):
            return
        path = wanted_path(self.subjects.target.name)
        stored = there.complete(path) if path in there.paths else frozenset[str]()
        for sample_id in (one for one in self.subjects.sample_ids if one in stored):
            (before,) = there.info(path).read(there.rows([sample_id]), {})
            if not np.array_equal(before, self.subjects.wanted(sample_id).astype(np.float32), equal_nan=True):
                raise InputError(
                    f"wanted: the map of sample {sample_id} is another one than that for which {there.root} was made; "
                    "a function may have changed, or the labels, or with 'swap' or an array the samples: use another "
                    "folder, or ask for what this one was made for"
                )

    @property
    def config(self) -> dict[str, Any]:
        """What it adds to a store's configuration, and so to its fingerprint."""
        header = {name: value for name, value in self.edit.header.items() if name != "origin"}
        labels = self.subjects.store.info(f"labels/{self.subjects.target.labels}").attributes
        return {"edit": {**header, "fingerprint": self.edit.fingerprint, "labels": dict(labels)}}

    @property
    def specs(self) -> list[ArraySpec]:
        """Arrays of each sample."""
        target = self.subjects.target
        shape = self.subjects.own(self.subjects.sample_ids[0]).shape
        edited = [f"{module} {step}" for module, step in self.edit.positions]
        read = [f"{module} {step}" for module, step in self.edit.readouts]
        return [
            ArraySpec(wanted_path(target.name), ("Y", "X"), shape, "float32", attributes={"kind": target.kind}),
            ArraySpec(
                SIZE, ("measure", "edited"), (len(MEASURES), len(edited)), "float32", attributes={"positions": edited}
            ),
            ArraySpec(
                READING, ("read",), (len(read),), "float32", attributes={"positions": read, "metric": target.primary}
            ),
        ]

    def worker(self, sample_ids: Sequence[str]) -> Worker:
        """The editor of a batch."""
        lend = partial(self.subjects.donor, sample_ids) if self.edit.borrows else None
        return Worker(self.edit, self.subjects.maps(sample_ids), lend)

    def arrays(self, worker: Worker) -> list[dict[str, np.ndarray]]:
        """What a batch's editor leaves of each sample, by path."""
        sizes = [_mean(worker.sizes, at, self.edit) for at in self.edit.positions]
        readings = [self._agreement(worker, *at) for at in self.edit.readouts]
        wanted = np.asarray(worker.maps.wanted, np.float32)
        return [
            {
                wanted_path(self.subjects.target.name): wanted[i],
                SIZE: np.stack([size[:, i] for size in sizes], 1),
                READING: np.array([reading[i] for reading in readings], np.float32),
            }
            for i in range(len(wanted))
        ]

    def _agreement(self, worker: Worker, module: str, step: int) -> np.ndarray:
        """Of the reading with the wanted map, [sample], by the target's own metric."""
        reading = np.mean([worker.readings[module, step, branch] for branch in self.edit.branches], 0)
        metric = METRICS[self.subjects.target.primary]
        known = ~np.isnan(worker.maps.wanted).all((1, 2))
        found = np.full(len(reading), np.nan)
        if known.any():
            truth = Truth.of(worker.maps.wanted[known], reading.shape[1:], ranks=metric.needs == "rank")
            found[known] = metric.score(truth, reading[known] > 0 if metric.needs == "mask" else reading[known])
        return found


def _mean(sizes: Mapping[tuple[str, int, str], np.ndarray], at: tuple[str, int], edit: Edit) -> np.ndarray:
    mean: np.ndarray = np.mean([sizes[(*at, branch)] for branch in edit.branches], 0)
    return mean


def in_order(edit: Edit, order: Sequence[str]) -> Edit:
    """An edit with its readouts in an order of "MODULE STEP", or in its own where that names others."""
    names = {f"{module} {step}": (module, step) for module, step in edit.readouts}
    if set(order) != set(names):
        return edit
    return replace(edit, readouts={names[one]: edit.readouts[names[one]] for one in order})
