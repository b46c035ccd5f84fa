"""One array of a store, read sample by sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from numbers import Integral
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize

from ldmscene.errors import StoreError
from ldmscene.halves import widen
from ldmscene.store import forks  # noqa: F401, so that forked processes can read
from ldmscene.store.layout import ArraySpec, Key, shard_key
from ldmscene.store.locations import Location
from ldmscene.store.places import Place
from ldmscene.store.ranges import read_shards
from ldmscene.store.shards import ShardLayout

BLOCK_BYTES = 64 * 2**20  # a dask block: large enough that its overhead vanishes, small enough to stream


@dataclass(frozen=True)
class ShardArray:
    """One array of a store, one shard for each sample."""

    location: Location
    path: Key
    layout: ShardLayout
    dims: tuple[str, ...]  # without `sample`
    attributes: Mapping[str, Any]

    @classmethod
    def of(cls, location: Location, spec: ArraySpec) -> ShardArray:
        return cls(location, spec.path, spec.layout, spec.dims, dict(spec.attributes))

    @property
    def maps(self) -> dict[str, int]:
        """The axes of one output of a module, and their lengths: y, x and channel, or token and channel."""
        return {d: n for d, n in zip(self.dims, self.layout.shape, strict=True) if d not in ("step", "branch")}

    def key(self, index: int) -> str:
        """The key of one sample's shard (by row of the manifest)."""
        return shard_key(self.path, index, len(self.layout.shape))

    def file(self, index: int) -> Place:
        """Where the shard of one sample (row of the manifest) lies."""
        return self.location.root / self.key(index)

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
        StoreError
            If all of it doesn't fit into memory.
        """
        chosen = [list(select.get(dim, range(n))) for dim, n in zip(self.dims, self.layout.counts, strict=True)]
        positions = list(product(*chosen))
        shape = (len(samples), *self.selected_shape(select))
        try:
            out = np.empty(shape, self.layout.dtype) if out is None else out
        except MemoryError as error:
            raise StoreError(f"{self.path} of {len(samples)} samples doesn't fit into memory; read fewer") from error
        rows = out.reshape(-1).view(np.uint8).reshape(len(samples), len(positions), self.layout.chunk_bytes)
        shards = [(self.key(sample), f"{self.path}, row {sample} of {self.location.root}") for sample in samples]
        read_shards(self.location, shards, self.layout, positions, rows)
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
        """What `read` gives, as a dask array in blocks of several samples at one step; a slice reads what it holds.

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
        array: da.Array = da.from_array(chosen, (size, *block), name=name, asarray=False, meta=meta)
        return array


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
