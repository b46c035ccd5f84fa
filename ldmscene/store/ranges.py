"""Inner chunks of one shard, read at their offsets, checksums verified."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ldmscene.store.objects import ObjectPath
from ldmscene.store.places import Place
from ldmscene.store.shards import CHECKSUM, ShardLayout, crc32c, mismatch

Position = tuple[int, ...]


def read_chunks(path: Place, layout: ShardLayout, positions: Sequence[Position], out: np.ndarray, where: str) -> None:
    """Read the chunks at `positions` (indices along each axis) into the rows of `out`, bytes [chunk, byte].

    Raises
    ------
    CorruptError
        If the bytes don't match their checksums. `where` names the shard in the message.
    FileNotFoundError
        If there is no shard.
    """
    read = _read_object if isinstance(path, ObjectPath) else _read_file
    read(path, layout, positions, out, where)  # type: ignore[arg-type]


def _read_file(path: Path, layout: ShardLayout, positions: Sequence[Position], out: np.ndarray, where: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(handle).st_size
        index = layout.decode_index(os.pread(handle, layout.index_bytes, max(size - layout.index_bytes, 0)), where)
        for position, row in zip(positions, out, strict=True):
            offset, length = _place(index, position)
            if layout.compressed:
                data = np.frombuffer(os.pread(handle, length, offset), np.uint8)
                layout.decode(data, row, f"{where}, chunk {position}")
            elif not _read_plain(handle, offset, length, row):
                raise mismatch(f"{where}, chunk {position}")
    finally:
        os.close(handle)


def _read_plain(handle: int, offset: int, length: int, row: np.ndarray) -> bool:
    """Straight to where it is wanted, without a copy; whether the checksum holds."""
    checksum = bytearray(CHECKSUM)
    read = os.preadv(handle, [row.data, checksum], offset)
    return read == length == len(row) + CHECKSUM and crc32c(row) == int.from_bytes(checksum, "little")


def _read_object(
    path: ObjectPath, layout: ShardLayout, positions: Sequence[Position], out: np.ndarray, where: str
) -> None:
    index = layout.decode_index(path.read_tail(layout.index_bytes), where)
    places = [_place(index, position) for position in positions]
    parts = path.read_ranges(*zip(*places, strict=True)) if places else []
    for position, part, row in zip(positions, parts, out, strict=True):
        layout.decode(np.frombuffer(part, np.uint8), row, f"{where}, chunk {position}")


def _place(index: np.ndarray, position: Position) -> tuple[int, int]:
    offset, length = index[position]
    return int(offset), int(length)
