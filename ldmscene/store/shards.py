"""One Zarr v3 shard, written and read as plain bytes.

A shard of the `sharding_indexed` codec is its inner chunks one after the other, each followed by its
crc32c, and an index of (offset, length) pairs with a crc32c of its own at the end (Zarr v3 core
specification, sharding codec 1.0). Any Zarr reader opens it; knowing the offsets makes a write one
sequential stream, and a read of one chunk one `pread`.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import google_crc32c
import numcodecs
import numpy as np

from ldmscene.errors import CorruptError

CHECKSUM = 4  # bytes of a crc32c
_ENTRY = 16  # bytes of one (offset, length) pair
_BLOSC = 16  # bytes of blosc's header: among others, lengths of the data at 4 and of the whole at 12
# Registered with Zarr v3 as `blosc`: bits of equal weight side by side, then lz4.
_COMPRESSOR = numcodecs.Blosc("lz4", clevel=5, shuffle=numcodecs.Blosc.BITSHUFFLE)


@dataclass(frozen=True)
class ShardLayout:
    """How one sample's array is cut into the inner chunks of its shard.

    Attributes
    ----------
    shape : tuple of int
        The sample's array, without the sample axis.
    chunk : tuple of int
        An inner chunk: 1 along the leading axes that are cut, the full length along the others.
    dtype : numpy.dtype
        Little-endian element type.
    compressed : bool
        Whether chunks go through blosc.
    """

    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: np.dtype
    compressed: bool = False

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Inner chunks along each axis."""
        return tuple(s // c for s, c in zip(self.shape, self.chunk, strict=True))

    @cached_property
    def chunk_bytes(self) -> int:
        """Size of an inner chunk in memory."""
        return math.prod(self.chunk) * self.dtype.itemsize

    @property
    def shard_bytes(self) -> int:
        """Size of the whole shard on disk; with compression, of one that can't be compressed at all."""
        chunks = math.prod(self.counts)
        return chunks * (self.chunk_bytes + CHECKSUM + _ENTRY) + CHECKSUM

    @property
    def most_bytes(self) -> int:
        """More than any shard has: blosc adds its header to what it can't compress."""
        return self.shard_bytes + math.prod(self.counts) * _BLOSC

    @cached_property
    def index_bytes(self) -> int:
        """Size of the index at the end of the shard."""
        return math.prod(self.counts) * _ENTRY + CHECKSUM

    def encode(self, array: np.ndarray) -> bytes:
        """The shard's bytes for one sample's array of `shape`."""
        rows = np.ascontiguousarray(array, dtype=self.dtype).reshape(math.prod(self.counts), -1)
        parts: list[Any] = []
        entries, offset = [], 0
        for row in rows:
            data = _COMPRESSOR.encode(row) if self.compressed else row.view(np.uint8)
            parts += [data, _checksum(data)]
            entries.append((offset, len(data) + CHECKSUM))
            offset += len(data) + CHECKSUM
        index = np.array(entries, dtype="<u8").tobytes()
        return b"".join([*parts, index, _checksum(index)])

    def decode_index(self, data: bytes, size: int, where: str) -> np.ndarray:
        """Offset and length of every inner chunk, uint64 [*counts, 2].

        Chunks may lie in any order: zarr-python writes them along a Morton curve, this class row by row.

        Parameters
        ----------
        data
            The last `index_bytes` of the shard.
        size
            Bytes of the whole shard.
        where
            Names the shard in messages.

        Raises
        ------
        CorruptError
            If the index doesn't match its checksum, or points to where chunks can't be.
        """
        body = data[:-CHECKSUM]
        if len(data) != self.index_bytes or data[-CHECKSUM:] != _checksum(body):
            raise mismatch(f"the index of {where}")
        index = np.frombuffer(body, "<u8").reshape(-1, 2)
        if not ((body == self._plain and size == self.shard_bytes) or self._apart(index, size - self.index_bytes)):
            raise mismatch(f"the index of {where}")
        return index.reshape(*self.counts, 2)

    @cached_property
    def _plain(self) -> bytes:
        """The index's entries where `encode` writes chunks that aren't compressed: row by row, of one length."""
        length = self.chunk_bytes + CHECKSUM
        return np.array([(number * length, length) for number in range(math.prod(self.counts))], "<u8").tobytes()

    def _apart(self, index: np.ndarray, end: int) -> bool:
        """Whether chunks lie side by side before an offset, none over another, each of a length that it can have."""
        offsets, lengths = index[np.argsort(index[:, 0])].T
        if (offsets > end).any() or (lengths > end).any():  # and so no sum of two is too large for 64 bits
            return False
        fitting = lengths > CHECKSUM if self.compressed else lengths == self.chunk_bytes + CHECKSUM
        return bool(fitting.all() and (offsets + lengths <= np.append(offsets[1:], np.uint64(end))).all())

    def check(self, data: bytes, where: str) -> None:
        """CorruptError unless a whole shard's chunks lie side by side, each as its checksum says."""
        index = self.decode_index(data[-self.index_bytes :], len(data), where).reshape(-1, 2)
        if int(index[:, 1].sum()) + self.index_bytes != len(data):
            raise mismatch(f"the index of {where}")
        view = np.frombuffer(data, np.uint8)
        for number, (offset, length) in enumerate(index.tolist()):
            self._body(view[offset : offset + length], f"{where}, chunk {number}")

    def decode(self, data: np.ndarray, out: np.ndarray, where: str) -> None:
        """One inner chunk into `out` (bytes of the chunk in memory) from its bytes on disk, checksum and all.

        Raises
        ------
        CorruptError
            If the bytes are too few or don't match their checksum. `where` names them in the message.
        """
        body = self._body(data, where)
        if not self.compressed:
            out[:] = body
            return
        try:
            numcodecs.blosc.decompress(body, out)
        except (RuntimeError, ValueError) as error:
            raise mismatch(where) from error

    def _body(self, data: np.ndarray, where: str) -> np.ndarray:
        """A chunk's bytes without their checksum, once that holds and they decode to a chunk's length."""
        body, checksum = data[:-CHECKSUM], data[-CHECKSUM:]
        if len(data) <= CHECKSUM or checksum.tobytes() != _checksum(body):
            raise mismatch(where)
        if self.compressed:
            if (
                len(body) < _BLOSC
                or body[4:8].view("<u4")[0] != self.chunk_bytes
                or body[12:16].view("<u4")[0] != len(body)
            ):
                raise mismatch(where)
        elif len(body) != self.chunk_bytes:
            raise mismatch(where)
        return body


def whole_checksum(data: bytes) -> int:
    """The ledger's checksum of a file: crc32, of another polynomial than the crc32c inside.

    The crc32c of bytes that end in their own crc32c is the same whatever they are, so that it would tell two shards
    apart no more than their lengths do.
    """
    return zlib.crc32(data)


def mismatch(what: str) -> CorruptError:
    """The error for bytes that aren't those that were written."""
    return CorruptError(f"{what} doesn't match its checksum; run `ldmscene repair`, then extract again")


def crc32c(data: bytes | np.ndarray) -> int:
    """Castagnoli's checksum, as Zarr's crc32c codec keeps it."""
    return int(google_crc32c.value(data))


def _checksum(data: bytes | np.ndarray) -> bytes:
    return crc32c(data).to_bytes(CHECKSUM, "little")
