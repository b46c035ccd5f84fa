"""One array of a store, read sample by sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import dask
import dask.array as da
import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.metadata import ArrayV3Metadata

from ldmscene.errors import StoreError
from ldmscene.store.layout import ZARR, shard_name, shard_place
from ldmscene.store.places import Place
from ldmscene.store.ranges import read_shards
from ldmscene.store.shards import ShardLayout

BLOCK_BYTES = 64 * 2**20  # a dask block: large enough that its overhead vanishes, small enough to stream


@dataclass(frozen=True)
class ShardArray:
    """One array of a store, one shard for each sample."""

    root: Place
    path: str
    layout: ShardLayout
    dims: tuple[str, ...]  # without `sample`
    attributes: Mapping[str, object]

    @classmethod
    def of(cls, root: Place, path: str, array: zarr.Array) -> ShardArray:
        codecs = [type(codec) for codec in array.compressors]
        if codecs not in ([Crc32cCodec], [BloscCodec, Crc32cCodec]):
            raise StoreError(f"{path} in {root} is encoded in a way that ldmscene doesn't write: {array.compressors}")
        compressed = codecs[0] is BloscCodec
        layout = ShardLayout(array.shape[1:], array.chunks[1:], array.dtype.newbyteorder("<"), compressed)
        return cls(root, path, layout, _dims(array), dict(array.attrs))

    def file(self, index: int) -> Place:
        """Where the shard of one sample (row of the manifest) lies."""
        return shard_place(self.root, self.path, index, len(self.layout.shape))

    def read(self, samples: Sequence[int], select: Mapping[str, Sequence[int]]) -> np.ndarray:
        """Samples (rows of the manifest) at chosen positions of the cut axes.

        Returns an array (sample, *axes), where a chosen axis has the length of its selection.

        Raises
        ------
        CorruptError
            If a shard is missing, or its bytes aren't those that were written.
        """
        chosen = [list(select.get(dim, range(n))) for dim, n in zip(self.dims, self.layout.counts, strict=True)]
        positions = list(product(*chosen))
        out = np.empty((len(samples), *self.selected_shape(select)), self.layout.dtype)
        rows = out.reshape(len(samples), len(positions), -1).view(np.uint8)
        folder, axes = self.root / ZARR / self.path, len(self.layout.shape)
        shards = [(folder / shard_name(sample, axes), f"{self.path}, row {sample}") for sample in samples]
        read_shards(shards, self.layout, positions, rows)
        return out

    def selected_shape(self, select: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
        return tuple(len(select[d]) if d in select else n for d, n in zip(self.dims, self.layout.shape, strict=True))

    def dask(self, samples: Sequence[int], select: Mapping[str, Sequence[int]]) -> da.Array:
        """The same as a dask array, in blocks of whole samples."""
        shape = self.selected_shape(select)
        each = prod(shape) * self.layout.dtype.itemsize
        step = max(1, BLOCK_BYTES // each)
        read = dask.delayed(self.read, pure=True)
        groups = [list(samples[i : i + step]) for i in range(0, len(samples), step)]
        blocks = [da.from_delayed(read(g, select), (len(g), *shape), self.layout.dtype) for g in groups]
        return da.concatenate(blocks) if blocks else da.empty((0, *shape), self.layout.dtype)


def _dims(array: zarr.Array) -> tuple[str, ...]:
    assert isinstance(array.metadata, ArrayV3Metadata)
    assert array.metadata.dimension_names is not None
    return tuple(str(name) for name in array.metadata.dimension_names[1:])
