"""Arrays of samples that were just generated, in memory: they are summed, and never stored."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ldmscene.array_types import Array
from ldmscene.evaluation.features import ModuleOutput
from ldmscene.evaluation.states import checksums_of
from ldmscene.store import ActivationStore
from ldmscene.store.shards import crc32c


@dataclass(frozen=True)
class Held:
    """What an extraction hands over instead of storing it.

    Parameters
    ----------
    paths
        Of the arrays that are handed over.
    """

    paths: Collection[str]
    arrays: dict[tuple[str, str], Array] = field(default_factory=dict)
    """(path, sample_id) -> the array as it would be stored"""
    known: dict[str, dict[str, int]] = field(default_factory=dict)
    """path -> sample_id -> checksum"""

    def put(self, sample_id: str, path: str, array: Array) -> None:
        self.arrays[path, sample_id] = array
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self.known.setdefault(path, {})[sample_id] = crc32c(data)

    def checksums(self, store: ActivationStore, outputs: Iterable[ModuleOutput]) -> dict[str, dict[str, int]]:
        """As `checksums_of` a store, with those of arrays that are held instead."""
        stored = checksums_of(store, outputs)
        return {path: known | self.known.get(path, {}) for path, known in stored.items() if path is not None}


@dataclass(frozen=True)
class HeldOutput(ModuleOutput):
    """A module's output at a step, of samples in memory or in the store."""

    held: Held

    @classmethod
    def among(cls, output: ModuleOutput, held: Held) -> HeldOutput:
        """Of samples some of which may be held."""
        return cls(**vars(output), held=held)

    def read(self, store: ActivationStore, sample_ids: Sequence[str]) -> Array:
        array = store.info(self.path)
        found = np.empty((len(sample_ids), *array.maps.values()), array.layout.dtype)
        where = {"step": self.step, "branch": self.branch}
        at = tuple(where[dim] for dim in array.dims if dim in where)
        for one, sample_id in zip(found, sample_ids, strict=True):
            whole = self.held.arrays.get((self.path, sample_id))
            one[...] = super().read(store, [sample_id])[0] if whole is None else whole[at]
        return found
