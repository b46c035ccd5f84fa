"""One array of a store, read sample by sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from numbers import Integral

import dask.array as da
import numpy as np
import zarr
from dask.base import tokenize
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.metadata import ArrayV3Metadata

from ldmscene.errors import StoreError
from ldmscene.halves import widen
from ldmscene.store import forks  # noqa: F401, so that forked processes can read
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

    def read(
        self, samples: Sequence[int], select: Mapping[str, Sequence[int]], out: np.ndarray | None = None
    ) -> np.ndarray:
        """Samples (rows of the manifest) at chosen positions of the cut axes.

        Returns an array (sample, *axes), where a chosen axis has the length of its selection. `out` is
        contiguous memory for it.

        Raises
        ------
        CorruptError
            If a shard is missing, or its bytes aren't those that were written.
        """
        chosen = [list(select.get(dim, range(n))) for dim, n in zip(self.dims, self.layout.counts, strict=True)]
        positions = list(product(*chosen))
        out = np.empty((len(samples), *self.selected_shape(select)), self.layout.dtype) if out is None else out
        rows = out.reshape(-1).view(np.uint8).reshape(len(samples), len(positions), self.layout.chunk_bytes)
        folder, axes = self.root / ZARR / self.path, len(self.layout.shape)
        shards = [(folder / shard_name(sample, axes), f"{self.path}, row {sample}") for sample in samples]
        read_shards(shards, self.layout, positions, rows)
        return out

    def selected_shape(self, select: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
        return tuple(len(select[d]) if d in select else n for d, n in zip(self.dims, self.layout.shape, strict=True))

    def dask(
        self,
        samples: Sequence[int],
        select: Mapping[str, Sequence[int]],
        version: object = None,
        dtype: np.dtype | None = None,
    ) -> da.Array:
        """The same as a dask array, in blocks of several samples at one step; a slice reads what it holds.

        `version` changes whenever the bytes of these samples do: blocks of the same name may be taken for each other.
        A block is cast to `dtype`, where that is another than the stored one, once it is read.
        """
        chosen = Selection(
            self,
            tuple(samples),
            {dim: tuple(positions) for dim, positions in select.items()},
            self.layout.dtype if dtype is None else dtype,
        )
        block = [
            chunk if dim == "step" else n
            for dim, chunk, n in zip(self.dims, self.layout.chunk, chosen.shape[1:], strict=True)
        ]
        size = max(1, BLOCK_BYTES // (prod(block) * chosen.dtype.itemsize))
        name = f"read-{tokenize(chosen, version)}"
        meta = np.empty((0,) * chosen.ndim, chosen.dtype)
        # With fancy=False, dask would not hand slices down.
        return da.from_array(chosen, (size, *block), name=name, asarray=False, meta=meta)


@dataclass(frozen=True)
class Selection:
    """Some samples of an array at chosen positions, as an array of which nothing is read until it is sliced.

    dask hands down the slices that are computed, so that one picture out of a block costs one picture.
    """

    array: ShardArray
    samples: tuple[int, ...]
    select: Mapping[str, tuple[int, ...]]
    dtype: np.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.samples), *self.array.selected_shape(self.select))

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, key: tuple[int | slice, ...]) -> np.ndarray:
        """By an integer or a slice for each axis."""
        chosen = [np.arange(n)[one].reshape(-1).tolist() for n, one in zip(self.shape, key, strict=True)]
        samples = [self.samples[i] for i in chosen[0]]
        select: dict[str, list[int]] = {}
        inside: list[int | slice] = [0 if isinstance(key[0], Integral) else slice(None)]
        axes = zip(self.array.dims, self.array.layout.shape, self.array.layout.chunk, chosen[1:], key[1:], strict=True)
        for dim, length, chunk, positions, one in axes:
            if chunk == 1:  # a chunk for each position: only those that are asked for are read
                every = self.select.get(dim, range(length))
                select[dim] = [every[i] for i in positions]
                one = 0 if isinstance(one, Integral) else slice(None)
            inside.append(one)
        return widen(self.array.read(samples, select)[tuple(inside)], self.dtype)


def _dims(array: zarr.Array) -> tuple[str, ...]:
    assert isinstance(array.metadata, ArrayV3Metadata)
    assert array.metadata.dimension_names is not None
    return tuple(str(name) for name in array.metadata.dimension_names[1:])
