"""Inner chunks of shards, read at their offsets, checksums verified."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ldmscene.errors import CorruptError
from ldmscene.store.locations import Location, Opened
from ldmscene.store.shards import CHECKSUM, ShardLayout, crc32c, mismatch

Positions = Sequence[tuple[int, ...]]


def read_shards(
    location: Location, shards: Sequence[tuple[str, str]], layout: ShardLayout, positions: Positions, out: np.ndarray
) -> None:
    """Read the same chunks of several shards.

    Parameters
    ----------
    location
        Where the store lies.
    shards
        The key of each, and how messages name it.
    positions
        Of the chunks, as indices along each axis.
    out : array of uint8 [shard, chunk, byte]
        Filled with the chunks as they are in memory.

    Raises
    ------
    CorruptError
        If a shard is missing or its bytes don't match their checksums.
    """
    keys = [key for key, _ in shards]

    def read(number: int, file: Opened) -> None:
        _read(file, shards[number][1], layout, positions, out[number])

    try:
        location.each(keys, _ranges_of_ours(layout, positions), read)
    except FileNotFoundError as error:
        where = dict(shards).get(str(error.filename), f"a shard of {keys[0].rpartition('/')[0]}")
        raise CorruptError(
            f"{where} is missing though the ledger lists it; run `ldmscene repair`, then extract again"
        ) from error


def _ranges_of_ours(layout: ShardLayout, positions: Positions) -> list[tuple[int, int]]:
    """Where our own writer puts these chunks and the index; only a guess for shards that others wrote."""
    if layout.compressed or not positions:
        return []
    stride = layout.chunk_bytes + CHECKSUM
    runs: list[tuple[int, int]] = []
    for number in np.ravel_multi_index(np.transpose(positions), layout.counts).tolist():
        first, length = runs.pop() if runs and sum(runs[-1]) == number * stride else (number * stride, 0)
        runs.append((first, length + stride))
    return [*runs, (layout.shard_bytes - layout.index_bytes, layout.index_bytes)]


def _read(file: Opened, where: str, layout: ShardLayout, positions: Positions, out: np.ndarray) -> None:
    tail = file.tail(layout.index_bytes)
    index = layout.decode_index(tail, file.size, where)
    read = _read_compressed if layout.compressed else _read_plain
    read(file, where, layout, positions, index, out)


def _read_plain(
    file: Opened, where: str, layout: ShardLayout, positions: Positions, index: np.ndarray, out: np.ndarray
) -> None:
    """Straight to where it is wanted."""
    checksums = [bytearray(CHECKSUM) for _ in positions]
    wanted = [(int(index[p][0]), (row.data, end)) for p, row, end in zip(positions, out, checksums, strict=True)]
    for count, position, row, checksum in zip(file.fill(wanted), positions, out, checksums, strict=True):
        if count != len(row) + CHECKSUM or crc32c(row) != int.from_bytes(checksum, "little"):
            raise mismatch(f"{where}, chunk {position}")


def _read_compressed(
    file: Opened, where: str, layout: ShardLayout, positions: Positions, index: np.ndarray, out: np.ndarray
) -> None:
    places = [(int(index[position][0]), np.empty(int(index[position][1]), np.uint8)) for position in positions]
    found = file.fill([(offset, (data,)) for offset, data in places])
    for count, position, row, (_, data) in zip(found, positions, out, places, strict=True):
        layout.decode(data[:count], row, f"{where}, chunk {position}")
