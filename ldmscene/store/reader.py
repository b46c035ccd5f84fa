"""Reading chunks at the offsets in the shard's index, checksums verified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product, takewhile
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import zarr
from zarr.core.metadata import ArrayV3Metadata

from ldmscene.errors import CorruptError
from ldmscene.store.files import RangeReader
from ldmscene.store.layout import shard_file
from ldmscene.store.shards import ShardLayout

BLOCK_BYTES = 64 * 2**20  # a dask block: large enough that its overhead vanishes, small enough to stream


@dataclass(frozen=True)
class ShardArray:
    """One array of a store, one shard for each sample."""

    root: Path
    path: str
    layout: ShardLayout
    dims: tuple[str, ...]  # without `sample`
    attributes: Mapping[str, object]

    @classmethod
    def of(cls, root: Path, path: str, array: zarr.Array) -> ShardArray:
        layout = ShardLayout(array.shape[1:], array.chunks[1:], array.dtype.newbyteorder("<"))
        return cls(root, path, layout, _dims(array), dict(array.attrs))

    def file(self, index: int) -> Path:
        return shard_file(self.root, self.path, index, len(self.layout.shape))

    def read(self, samples: Sequence[int], select: Mapping[str, Sequence[int]]) -> np.ndarray:
        """Samples (rows of the manifest) at chosen positions of the cut axes.

        Returns an array (sample, *axes), where a chosen axis has the length of its selection.
        """
        chosen = [list(select.get(dim, range(n))) for dim, n in zip(self.dims, self.layout.counts, strict=True)]
        out = np.empty((len(samples), *self.selected_shape(select)), self.layout.dtype)
        lead = self._cut_axes()
        for i, sample in enumerate(samples):
            with self._open(sample) as file:
                where = f"{self.path}, row {sample}"
                index = self.layout.decode_index(
                    file.read(file.size - self.layout.index_bytes, self.layout.index_bytes), where
                )
                for place in product(*(range(len(c)) for c in chosen)):
                    position = tuple(c[k] for c, k in zip(chosen, place, strict=True))
                    offset, length = map(int, index[position])
                    chunk = self.layout.decode(file.read(offset, length), f"{where}, chunk {position}")
                    out[(i, *place[:lead])] = chunk.reshape(out.shape[1 + lead :])
        return out

    def selected_shape(self, select: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
        return tuple(len(select[d]) if d in select else n for d, n in zip(self.dims, self.layout.shape, strict=True))

    def dask(self, samples: Sequence[int], select: Mapping[str, Sequence[int]]) -> da.Array:
        """The same as a dask array, in blocks of whole samples."""
        shape = self.selected_shape(select)
        each = int(np.prod(shape)) * self.layout.dtype.itemsize
        step = max(1, BLOCK_BYTES // each)
        read = dask.delayed(self.read, pure=True)
        groups = [list(samples[i : i + step]) for i in range(0, len(samples), step)]
        blocks = [da.from_delayed(read(g, select), (len(g), *shape), self.layout.dtype) for g in groups]
        return da.concatenate(blocks) if blocks else da.empty((0, *shape), self.layout.dtype)

    def _cut_axes(self) -> int:
        return len(list(takewhile(lambda size: size == 1, self.layout.chunk)))

    def _open(self, sample: int) -> RangeReader:
        try:
            return RangeReader(self.file(sample))
        except FileNotFoundError as error:
            raise CorruptError(
                f"{self.path}, row {sample} is missing though the ledger lists it; "
                "run `ldmscene repair`, then extract again"
            ) from error


def _dims(array: zarr.Array) -> tuple[str, ...]:
    assert isinstance(array.metadata, ArrayV3Metadata)
    assert array.metadata.dimension_names is not None
    return tuple(str(name) for name in array.metadata.dimension_names[1:])
