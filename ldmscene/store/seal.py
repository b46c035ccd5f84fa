"""Bytes that carry their own checksum, at the end, where a reader of netCDF or of text doesn't look."""

from __future__ import annotations

from ldmscene.store.shards import crc32c


def seal(data: bytes) -> bytes:
    """The bytes, then a line with their crc32c."""
    return data + _line(data)


def unseal(sealed: bytes) -> bytes | None:
    """What was sealed; None where a byte isn't as it was."""
    length = len(_line(b""))
    data = sealed[:-length]
    return data if sealed[-length:] == _line(data) else None


def _line(data: bytes) -> bytes:
    return f"\n{crc32c(data):08x}\n".encode()
