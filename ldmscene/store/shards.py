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

import google_crc32c
import numpy as np

from ldmscene.errors import CorruptError

CHECKSUM = 4  # bytes of a crc32c
_ENTRY = 16  # bytes of one (offset, length) pair


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
    """

    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: np.dtype

    @property
    def counts(self) -> tuple[int, ...]:
        """Inner chunks along each axis."""
        return tuple(s // c for s, c in zip(self.shape, self.chunk, strict=True))

    @property
    def chunk_bytes(self) -> int:
        return math.prod(self.chunk) * self.dtype.itemsize

    @property
    def shard_bytes(self) -> int:
        """Size of the whole shard on disk."""
        chunks = math.prod(self.counts)
        return chunks * (self.chunk_bytes + CHECKSUM + _ENTRY) + CHECKSUM

    @property
    def index_bytes(self) -> int:
        """Size of the index at the end of the shard."""
        return math.prod(self.counts) * _ENTRY + CHECKSUM

    def decode_index(self, data: bytes, where: str) -> np.ndarray:
        """Offset and length of every inner chunk, uint64 [*counts, 2].

        Chunks may lie in any order: zarr-python writes them along a Morton curve, this class row by row.

        Raises
        ------
        CorruptError
            If the index doesn't match its checksum. `where` names the shard in the message.
        """
        body = data[:-CHECKSUM]
        if len(data) != self.index_bytes or data[-CHECKSUM:] != _checksum(body):
            raise CorruptError(
                f"the index of {where} doesn't match its checksum; run `ldmscene repair`, then extract again"
            )
        return np.frombuffer(body, "<u8").reshape(*self.counts, 2)

    def encode(self, array: np.ndarray) -> bytes:
        """The shard's bytes for one sample's array of `shape`."""
        rows = np.ascontiguousarray(array, dtype=self.dtype).reshape(math.prod(self.counts), -1)
        stride = self.chunk_bytes + CHECKSUM
        parts: list[bytes] = []
        for row in rows:
            data = row.tobytes()
            parts += [data, _checksum(data)]
        index = np.array([(i * stride, stride) for i in range(len(rows))], dtype="<u8").tobytes()
        return b"".join([*parts, index, _checksum(index)])

    def decode(self, data: bytes, where: str) -> np.ndarray:
        """One inner chunk of shape `chunk` from its bytes and their checksum.

        Raises
        ------
        CorruptError
            If the bytes are too few or don't match their checksum. `where` names them in the message.
        """
        body = data[: self.chunk_bytes]
        if len(data) != self.chunk_bytes + CHECKSUM or data[self.chunk_bytes :] != _checksum(body):
            raise CorruptError(f"{where} doesn't match its checksum; run `ldmscene repair`, then extract again")
        return np.frombuffer(body, self.dtype).reshape(self.chunk)


def whole_checksum(shard: bytes) -> int:
    """The ledger's checksum of a shard: crc32, of another polynomial than the crc32c inside.

    The crc32c of bytes that end in their own crc32c is the same whatever they are, so that it would tell two shards
    apart no more than their lengths do.
    """
    return zlib.crc32(shard)


def _checksum(data: bytes) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(CHECKSUM, "little")
