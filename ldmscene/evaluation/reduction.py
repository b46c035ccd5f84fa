"""Labels, reduced once to what fits and scores need of them, block by block, and cached in the store."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ldmscene.cells import Cells, MapSize
from ldmscene.errors import InputError
from ldmscene.evaluation.samples import SampleBlock
from ldmscene.evaluation.targets import Target
from ldmscene.metrics import Truth
from ldmscene.store import ActivationStore
from ldmscene.store.cache import Cache
from ldmscene.store.layout import label_path

LABELS = "labels"
# Of what is cached for a block; to be counted up with every change of it.
VERSION = 1


@dataclass(frozen=True)
class LabelBlock:
    """One target's labels of one block of samples."""

    target: Target
    block: SampleBlock
    source: list[int]
    """crc32 of each label that is read"""

    @classmethod
    def of(cls, target: Target, block: SampleBlock, checksum: Mapping[str, int]) -> LabelBlock:
        """`checksum` has that of each sample's label."""
        return cls(target, block, [checksum[sample_id] for sample_id in (*block.ids, *block.lenders)])

    def key(self, size: MapSize) -> dict[str, Any]:
        """What its reduction to maps of a size depends on."""
        return {
            "labels": self.key_of_labels(),
            "size": list(size),
            "lent": bool(self.block.lenders),
            "version": VERSION,
        }

    def key_of_labels(self) -> dict[str, Any]:
        """What the labels depend on, as they are predicted."""
        return {"bytes": self.source, "of": self.target.key()}

    def read(self, store: ActivationStore, sample_ids: Sequence[str]) -> np.ndarray:
        """Labels (sample, Y, X) as they are predicted."""
        return self.target.values(store.info(label_path(self.target.labels)).read(store.rows(sample_ids), {}))

    def reduce(self, store: ActivationStore, cache: Cache, sizes: Sequence[MapSize]) -> str:
        """Reduce to each size what isn't cached yet; returns a hash of which pixels have a label."""
        missing = [size for size in sizes if not cache.has(LABELS, self.key(size))]
        if missing:
            maps = self.read(store, self.block.ids)
            known = np.frombuffer(hashlib.sha256(np.packbits(~np.isnan(maps)).tobytes()).digest(), np.uint8)
            finest = math.lcm(*(y for y, _ in missing)), math.lcm(*(x for _, x in missing))
            whole = self._for_fits(maps, finest) if self.block.lenders else self._for_scores(maps, finest)
            for size in missing:
                cache.write(LABELS, self.key(size), {**whole(size), "known": known})
        return cache.read(LABELS, self.key(sizes[0]), often=True)["known"].tobytes().hex()

    def _for_fits(self, maps: np.ndarray, finest: MapSize) -> Callable[[MapSize], dict[str, np.ndarray]]:
        cells = Cells.of(maps, finest)
        # A block's samples lend each other their labels.
        lenders = [self.block.ids.index(sample_id) for sample_id in self.block.lenders]

        def of(size: MapSize) -> dict[str, np.ndarray]:
            own = cells.coarsen(size)
            return {**_of_cells(own), "lent": _lent(own)[lenders]}

        return of

    def _for_scores(self, maps: np.ndarray, finest: MapSize) -> Callable[[MapSize], dict[str, np.ndarray]]:
        blank = np.isnan(maps).all((1, 2))
        if blank.any():
            raise InputError(
                f"held-out sample {self.block.ids[int(blank.argmax())]} has no labelled pixel for "
                f"{self.target.labels!r}, so that nothing can be scored; leave it out with targets=…"
            )
        whole = Truth.of(maps, finest)
        return lambda size: _of_truth(whole.coarsen(size))

    def cells(self, cache: Cache, size: MapSize) -> tuple[Cells, Cells]:
        """Training labels on maps of a size, and those that stand in for them in the control."""
        arrays = cache.read(LABELS, self.key(size), often=True)
        own = _to_cells(arrays)
        return own, Cells(own.weight, own.weight * arrays["lent"], np.zeros_like(own.weight), own.scale)

    def truth(self, cache: Cache, size: MapSize) -> Truth:
        """Held-out labels on maps of a size."""
        arrays = cache.read(LABELS, self.key(size), often=True)
        return Truth(
            _to_cells(arrays), arrays["mean"], arrays["label_scatter"], arrays["ranks"], arrays["rank_scatter"]
        )


def _of_cells(cells: Cells) -> dict[str, np.ndarray]:
    return {
        "weight": cells.weight,
        "total": cells.total,
        "scatter": cells.scatter,
        "scale": np.array(cells.scale),
    }


def _of_truth(truth: Truth) -> dict[str, np.ndarray]:
    assert truth.ranks is not None
    assert truth.rank_scatter is not None
    return {
        **_of_cells(truth.cells),
        "mean": truth.mean,
        "label_scatter": truth.scatter,
        "ranks": truth.ranks,
        "rank_scatter": truth.rank_scatter,
    }


def _to_cells(arrays: Mapping[str, np.ndarray]) -> Cells:
    scale = arrays["scale"]
    return Cells(arrays["weight"], arrays["total"], arrays["scatter"], (int(scale[0]), int(scale[1])))


def _lent(cells: Cells) -> np.ndarray:
    """Mean label of each cell; the image's own mean where a cell has no label, 0 where the image has none."""
    whole = cells.total.sum((1, 2)) / np.maximum(cells.weight.sum((1, 2)), 1)
    return np.where(cells.weight > 0, cells.mean, whole[:, None, None])
