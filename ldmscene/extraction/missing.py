"""What a store lacks of a manifest, cut into batches and parts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ldmscene.extraction.part import WHOLE, Part
from ldmscene.manifest import Manifest
from ldmscene.store import ActivationStore, ArraySpec
from ldmscene.store.layout import PREVIEWS
from ldmscene.store.metadata import read_store
from ldmscene.store.places import Place


@dataclass(frozen=True)
class Batch:
    """Samples to be generated together, and what is missing of each; of some, nothing may be.

    A batch that was cut short is generated whole again: convolutions round a little differently in a batch of
    another size, and a store that was interrupted must equal one that wasn't, byte for byte.
    """

    rows: tuple[int, ...]
    missing: tuple[frozenset[str], ...]  # paths of arrays, for each row

    @property
    def wanted(self) -> frozenset[str]:
        """What is missing of at least one."""
        return frozenset().union(*self.missing)


@dataclass(frozen=True)
class Missing:
    """What is left to do for a part of a manifest, in its order.

    Attributes
    ----------
    manifest : Manifest
        All samples of the store, those asked for among them.
    specs : list of ArraySpec
    lacks : numpy.ndarray
        bool (row of the manifest, spec).
    cuts : list of numpy.ndarray
        Rows of each batch that has something to do.
    """

    manifest: Manifest
    specs: Sequence[ArraySpec]
    lacks: np.ndarray
    cuts: Sequence[np.ndarray]

    def batches(self) -> Iterator[Batch]:
        paths = np.array([spec.path for spec in self.specs])
        for rows in self.cuts:
            yield Batch(tuple(rows.tolist()), tuple(frozenset(paths[self.lacks[row]].tolist()) for row in rows))

    @property
    def samples(self) -> int:
        """How many are generated."""
        return sum(map(len, self.cuts))

    @property
    def files(self) -> int:
        return int(self._each.sum())

    @property
    def bytes(self) -> int:
        """On disk, before compression."""
        return int(self._each @ np.array([spec.layout.shard_bytes for spec in self.specs]))

    def without(self, paths: Collection[str]) -> Missing:
        """The same batches, in which some arrays count as stored."""
        return replace(self, lacks=self.lacks & ~np.array([spec.path in paths for spec in self.specs]))

    def lacking(self, path: str) -> int:
        """How many samples lack an array."""
        return sum(int(count) for spec, count in zip(self.specs, self._each, strict=True) if spec.path == path)

    @property
    def sample_ids(self) -> list[str]:
        """Of those that lack something."""
        ids = self.manifest.table["sample_id"]
        return [ids[int(row)].as_py() for rows in self.cuts for row in rows if self.lacks[row].any()]

    @property
    def _each(self) -> np.ndarray:
        """How many samples lack each array."""
        return sum((self.lacks[rows].sum(0) for rows in self.cuts), np.zeros(len(self.specs), int))


def find_missing(
    store: ActivationStore | None,
    manifest: Manifest,
    specs: Sequence[ArraySpec],
    previews: bool | str,
    size: int,
    part: Part = WHOLE,
) -> Missing:
    """What a store, or None where there is none yet, lacks of a part of a manifest, in batches of a size."""
    whole = store.manifest.extended(manifest) if store else manifest
    asked = whole.among(manifest)
    lacks = np.tile(asked[:, None], len(specs))
    for column, spec in enumerate(specs):
        if store:
            finished = store.finished_rows(spec.path)
            lacks[: len(finished), column] &= ~finished
        if spec.path in PREVIEWS.values() and previews is not True:
            lacks[:, column] &= whole.table["split"].to_numpy(zero_copy_only=False) == previews
    segments = sorted({*(store.attributes["segments"] if store else ()), len(whole)})
    cuts = _cut(np.flatnonzero(asked), [0, *segments], size)
    # Complete batches are counted too, so that parts stay the same while the store fills.
    return Missing(whole, specs, lacks, [rows for rows in cuts[part.index :: part.of] if lacks[rows].any()])


def _cut(rows: np.ndarray, segments: Sequence[int], size: int) -> list[np.ndarray]:
    """Batches never cross the end of a segment."""
    within = [rows[(rows >= begin) & (rows < end)] for begin, end in pairwise(segments)]
    return [some[start : start + size] for some in within for start in range(0, len(some), size)]


def existing(root: Place) -> ActivationStore | None:
    """The store that lies there, if there is one."""
    return ActivationStore(root) if read_store(root) else None
