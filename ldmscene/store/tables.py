"""Parquet from anywhere, read in memory that follows from the file's own size."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from ldmscene.errors import CorruptError
from ldmscene.store.parse import wrong

SPREAD = 2**28  # bytes of text that a file may hold by repeating it; a long prompt with many seeds is repeated
DENSE = 8  # rows for each byte of a file: rows that differ in little are packed tightly
CODECS = ("UNCOMPRESSED", "SNAPPY")
MOST_PARTS = 2**14  # items of any list in a file's footer
RATIO = 64  # and beyond: bytes in memory for each byte of the file


def read(
    data: bytes, schema: pa.Schema, where: str, optional: tuple[str, ...] = (), *, encoded: bool = False
) -> pa.Table:
    """The columns of a schema, of exactly its types, without a missing value.

    A file names how many rows and characters it holds before any is read. Rows that share their text cost nothing in
    Parquet, so both are bounded: at most eight rows for each byte (ours take a few, since each has a checksum or an id
    of its own), and text in proportion. `encoded` leaves text as a dictionary, each text once.

    Raises
    ------
    CorruptError
        If it is something else.
    """
    try:
        there = _opened(data, [])
        names = _columns(there.schema_arrow, schema, optional, where)
        _check_codecs(there.metadata, where)
        texts = [name for name in names if schema.field(name).type == pa.string()]
        file = _opened(data, texts)
        if file.metadata.num_rows > DENSE * len(data):
            raise wrong(where, f"at most {DENSE * len(data)} rows in {len(data)} bytes", file.metadata.num_rows)
        table = file.read(columns=names, use_threads=False)
        spread = 0 if encoded else sum(_spread(table[name]) for name in texts)
        if spread > max(SPREAD, RATIO * len(data)):
            raise wrong(where, f"at most {SPREAD} characters in {len(data)} bytes", spread)
        wanted = _encoded(schema, texts) if encoded else schema
        wanted = pa.schema([wanted.field(name) for name in names], table.schema.metadata)
        table = table.select(names).cast(wanted)
        table.validate(full=True)
    except (pa.ArrowException, OSError, MemoryError, ValueError, KeyError) as error:
        raise CorruptError(f"{where} can't be read ({str(error)[:200]})") from error
    if any(table[name].null_count for name in names):
        raise wrong(where, "a value in every row and column", "none in some")
    return table


def _encoded(schema: pa.Schema, texts: list[str]) -> pa.Schema:
    kind = pa.dictionary(pa.int32(), pa.string())
    return pa.schema([pa.field(field.name, kind if field.name in texts else field.type) for field in schema])


def _opened(data: bytes, dictionaries: list[str]) -> pyarrow.parquet.ParquetFile:
    return pyarrow.parquet.ParquetFile(
        pa.BufferReader(data), read_dictionary=dictionaries, thrift_container_size_limit=MOST_PARTS
    )


def _check_codecs(found: pyarrow.parquet.FileMetaData, where: str) -> None:
    """Refuse codecs by which a page can hold far more than its bytes; snappy's is at most twenty times as much."""
    for group in range(found.num_row_groups):
        for column in range(found.num_columns):
            codec = found.row_group(group).column(column).compression
            if codec not in CODECS:
                raise wrong(where, f"columns in {' or '.join(CODECS)}", codec)


def _columns(found: pa.Schema, schema: pa.Schema, optional: tuple[str, ...], where: str) -> list[str]:
    """The columns that are read: those of the schema, each there once and of its type."""
    names = [name for name in schema.names if name in found.names or name not in optional]
    for name in names:
        if found.names.count(name) != 1:
            raise wrong(where, f"one column {name!r}", ", ".join(found.names))
        there, wanted = found.field(name).type, schema.field(name).type
        if pa.types.is_dictionary(there):
            there = there.value_type
        if there != wanted and not (wanted == pa.string() and there == pa.large_string()):
            raise wrong(f"{where}, {name}", str(wanted), str(there))
    return names


def _spread(column: pa.ChunkedArray) -> int:
    """Bytes that a column of text takes once each row has its own copy."""
    total = 0
    for chunk in column.chunks:
        if isinstance(chunk, pa.DictionaryArray):
            chunk = pc.take(pc.binary_length(chunk.dictionary), chunk.indices)
            total += pc.sum(pc.cast(chunk, pa.int64())).as_py() or 0
        else:
            total += chunk.nbytes
    return total
