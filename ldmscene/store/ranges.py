"""Inner chunks of shards, read at their offsets, checksums verified."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ldmscene.errors import CorruptError
from ldmscene.store.objects import ObjectPath
from ldmscene.store.places import Place
from ldmscene.store.shards import CHECKSUM, ShardLayout, crc32c, mismatch

AHEAD = 8  # files that the disk is told of before they are read
REQUESTS = 16  # to an object store at once, each of which waits for the network
Positions = Sequence[tuple[int, ...]]


def read_shards(
    shards: Sequence[tuple[Place, str]], layout: ShardLayout, positions: Positions, out: np.ndarray
) -> None:
    """Read the same chunks of several shards.

    Parameters
    ----------
    shards
        Where each lies, and how messages name it.
    positions
        Of the chunks, as indices along each axis.
    out : array of uint8 [shard, chunk, byte]
        Filled with the chunks as they are in memory.

    Raises
    ------
    CorruptError
        If a shard is missing or its bytes don't match their checksums.
    """
    if shards and isinstance(shards[0][0], ObjectPath):
        with ThreadPoolExecutor(min(REQUESTS, len(shards))) as pool:
            paths, names = zip(*shards, strict=True)
            list(
                pool.map(
                    lambda path, where, rows: _read_object(path, where, layout, positions, rows), paths, names, out
                )
            )
        return
    announced = _ranges_of_ours(layout, positions)
    for (handle, where), rows in zip(_opened(shards, announced), out, strict=True):
        try:
            _read_file(handle, where, layout, positions, rows)
        finally:
            os.close(handle)


def _opened(shards: Sequence[tuple[Place, str]], wanted: Sequence[tuple[int, int]]) -> Iterator[tuple[int, str]]:
    """Handles of files, in order; the next ones are open already, and the disk knows what will be wanted of them."""
    waiting: deque[tuple[int, str]] = deque()
    try:
        for path, where in shards:
            waiting.append((_open(path, where), where))
            for offset, length in wanted:
                os.posix_fadvise(waiting[-1][0], offset, length, os.POSIX_FADV_WILLNEED)
            if len(waiting) > AHEAD:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        for handle, _ in waiting:
            os.close(handle)


def _open(path: Place, where: str) -> int:
    assert isinstance(path, Path)
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError as error:
        raise missing(where) from error


def _ranges_of_ours(layout: ShardLayout, positions: Positions) -> list[tuple[int, int]]:
    """Where our own writer puts these chunks and the index; only a guess for shards that others wrote."""
    if layout.compressed or not positions or not hasattr(os, "posix_fadvise"):
        return []
    stride = layout.chunk_bytes + CHECKSUM
    numbers = np.ravel_multi_index(np.transpose(positions), layout.counts)
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    chunks = [(int(run[0]) * stride, len(run) * stride) for run in runs]
    return [*chunks, (layout.shard_bytes - layout.index_bytes, layout.index_bytes)]


def _read_file(handle: int, where: str, layout: ShardLayout, positions: Positions, out: np.ndarray) -> None:
    size = os.fstat(handle).st_size
    index = layout.decode_index(os.pread(handle, layout.index_bytes, max(size - layout.index_bytes, 0)), where)
    for position, row in zip(positions, out, strict=True):
        offset, length = _place(index, position)
        if layout.compressed:
            data = np.frombuffer(os.pread(handle, length, offset), np.uint8)
            layout.decode(data, row, f"{where}, chunk {position}")
        elif not _read_plain(handle, offset, length, row):
            raise mismatch(f"{where}, chunk {position}")


def _read_plain(handle: int, offset: int, length: int, row: np.ndarray) -> bool:
    """Straight to where it is wanted, without a copy; whether the checksum holds."""
    checksum = bytearray(CHECKSUM)
    read = os.preadv(handle, [row.data, checksum], offset)
    return read == length == len(row) + CHECKSUM and crc32c(row) == int.from_bytes(checksum, "little")


def _read_object(path: ObjectPath, where: str, layout: ShardLayout, positions: Positions, out: np.ndarray) -> None:
    try:
        index = layout.decode_index(path.read_tail(layout.index_bytes), where)
        parts = path.read_ranges(*zip(*(_place(index, p) for p in positions), strict=True)) if positions else []
    except FileNotFoundError as error:
        raise missing(where) from error
    for position, part, row in zip(positions, parts, out, strict=True):
        layout.decode(np.frombuffer(part, np.uint8), row, f"{where}, chunk {position}")


def _place(index: np.ndarray, position: tuple[int, ...]) -> tuple[int, int]:
    offset, length = index[position]
    return int(offset), int(length)


def missing(where: str) -> CorruptError:
    """The error for a shard that the ledger lists and that isn't there."""
    return CorruptError(f"{where} is missing though the ledger lists it; run `ldmscene repair`, then extract again")
