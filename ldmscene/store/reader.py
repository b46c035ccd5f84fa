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
from dask.base import tokenize
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

    def dask(self, samples: Sequence[int], select: Mapping[str, Sequence[int]], version: object = None) -> da.Array:
        """The same as a dask array, in blocks of several samples at one step.

        `version` changes whenever the bytes of these samples do: blocks of the same name may be taken for each other.
        """
        single = [{**select, "step": [step]} for step in select["step"]] if "step" in select else [dict(select)]
        shape = self.selected_shape(single[0])
        size = max(1, BLOCK_BYTES // (prod(shape) * self.layout.dtype.itemsize))
        groups = [list(samples[i : i + size]) for i in range(0, len(samples), size)]
        read = dask.delayed(self.read)

        def block(group: list[int], one: Mapping[str, Sequence[int]]) -> da.Array:
            name = f"read-{tokenize(self, group, one, version)}"
            return da.from_delayed(read(group, one, dask_key_name=name), (len(group), *shape), self.layout.dtype)

        axis = 1 + self.dims.index("step") if "step" in select else 0
        return da.concatenate([da.concatenate([block(g, one) for one in single], axis) for g in groups])


def _dims(array: zarr.Array) -> tuple[str, ...]:
    assert isinstance(array.metadata, ArrayV3Metadata)
    assert array.metadata.dimension_names is not None
    return tuple(str(name) for name in array.metadata.dimension_names[1:])
