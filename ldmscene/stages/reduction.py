"""Labels, reduced once to what fits and scores need of them, block by block, and kept in the store."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ldmscene.cells import Cells
from ldmscene.errors import InputError
from ldmscene.metrics import Truth, rank_labels
from ldmscene.stages.task import Block, Target
from ldmscene.store import ActivationStore
from ldmscene.store.kept import Kept
from ldmscene.store.layout import label_path

Grid = tuple[int, int]
KIND = "labels"


@dataclass(frozen=True)
class LabelBlock:
    """One target's labels of one block of samples."""

    target: Target
    block: Block
    source: list[int]
    """crc32 of each label that is read"""

    @classmethod
    def of(cls, target: Target, block: Block, checksum: Mapping[str, int]) -> LabelBlock:
        """`checksum` has that of each sample's label."""
        return cls(target, block, [checksum[sample_id] for sample_id in (*block.ids, *block.lenders)])

    def key(self, grid: Grid) -> dict:
        """What its reduction to a grid depends on."""
        return {"labels": self.source, "of": vars(self.target), "grid": list(grid), "lent": bool(self.block.lenders)}

    def read(self, store: ActivationStore, sample_ids: Sequence[str]) -> np.ndarray:
        """Labels (sample, Y, X) as they are predicted."""
        maps = self.target.values(store.info(label_path(self.target.name)).read(store.rows(sample_ids), {}))
        blank = np.isnan(maps).all((1, 2))
        if blank.any():
            raise InputError(
                f"sample {sample_ids[int(blank.argmax())]} has no labelled pixel for {self.target.name!r}; "
                "leave it out of the manifest"
            )
        return maps

    def reduce(self, store: ActivationStore, kept: Kept, grids: Sequence[Grid]) -> str:
        """Reduce to each grid what isn't kept yet; returns a hash of which pixels have a label."""
        missing = [grid for grid in grids if not kept.has(KIND, self.key(grid))]
        if missing:
            maps = self.read(store, self.block.ids)
            known = np.frombuffer(hashlib.sha256(np.packbits(~np.isnan(maps)).tobytes()).digest(), np.uint8)
            # Ranks are for scores, and lenders are for fits.
            ranks = False if self.block.lenders else rank_labels(maps)
            whole = Truth.of(maps, ranks=ranks)
            lent = Cells.of(self.read(store, self.block.lenders), maps.shape[1:]) if self.block.lenders else None
            for grid in missing:
                reduced = _of_truth(whole.coarsen(grid))
                if lent is not None:
                    reduced["lent"] = _lent(lent.coarsen(grid))
                kept.write(KIND, self.key(grid), {**reduced, "known": known})
        return kept.read(KIND, self.key(grids[0]))["known"].tobytes().hex()

    def cells(self, kept: Kept, grid: Grid) -> tuple[Cells, Cells]:
        """Training labels on a grid, and those that stand in for them in the control."""
        arrays = kept.read(KIND, self.key(grid))
        own = _to_cells(arrays)
        return own, Cells(own.weight, own.weight * arrays["lent"], np.zeros_like(own.weight), own.scale)

    def truth(self, kept: Kept, grid: Grid) -> Truth:
        """Held-out labels on a grid."""
        arrays = kept.read(KIND, self.key(grid))
        return Truth(
            _to_cells(arrays), arrays["mean"], arrays["label_scatter"], arrays["ranks"], arrays["rank_scatter"]
        )


def _of_truth(truth: Truth) -> dict[str, np.ndarray]:
    cells = truth.cells
    arrays = {
        "weight": cells.weight,
        "total": cells.total,
        "scatter": cells.scatter,
        "scale": np.array(cells.scale),
        "mean": truth.mean,
        "label_scatter": truth.scatter,
    }
    if truth.ranks is not None and truth.rank_scatter is not None:
        arrays |= {"ranks": truth.ranks, "rank_scatter": truth.rank_scatter}
    return arrays


def _to_cells(arrays: Mapping[str, np.ndarray]) -> Cells:
    scale = arrays["scale"]
    return Cells(arrays["weight"], arrays["total"], arrays["scatter"], (int(scale[0]), int(scale[1])))


def _lent(cells: Cells) -> np.ndarray:
    """Mean label of each cell; the image's own mean where a cell has no label."""
    whole = cells.total.sum((1, 2)) / cells.weight.sum((1, 2))
    return np.where(cells.weight > 0, cells.mean, whole[:, None, None])
