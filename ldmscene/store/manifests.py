"""The manifest as documents: `manifest.parquet`, and a part beside it for each later extension.

A part is called by the number of its first row, `manifest/000001000.parquet`. Parts are merged into `manifest.parquet`
now and then (see `history`), so that many extensions cost no more than their rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import pyarrow as pa
import pyarrow.parquet

from ldmscene.errors import CorruptError, ManifestError
from ldmscene.manifest import OPTIONAL, SCHEMA, Manifest
from ldmscene.store import tables
from ldmscene.store.layout import MANIFEST, PART, PARTS
from ldmscene.store.parse import wrong

_SCHEMA = pa.schema([*SCHEMA, *(pa.field(name, pa.string()) for name in OPTIONAL)])

MOST_PARTS = 1024  # before they are merged; see `history`


def is_part(path: str) -> bool:
    """Whether a document of this path holds rows that `manifest.parquet` lacks."""
    return PART.fullmatch(path) is not None


def read(documents: Mapping[str, bytes]) -> Manifest:
    """All samples, in order.

    Raises
    ------
    CorruptError
        If a part doesn't follow on the rows before it, or the whole is no manifest.
    """
    paths = [MANIFEST, *sorted(filter(is_part, documents))]
    if len(paths) > 1 + MOST_PARTS:
        raise wrong(PARTS, f"at most {MOST_PARTS} parts of a manifest", len(paths) - 1)
    return _read(tuple(paths), tuple(documents[path] for path in paths))


@lru_cache(maxsize=2)
def _read(paths: tuple[str, ...], parts: tuple[bytes, ...]) -> Manifest:
    """Parsed once for each content, since a command looks at its store several times."""
    found: list[pa.Table] = []
    rows = 0
    for path, data in zip(paths, parts, strict=True):
        table = tables.read(data, _SCHEMA, path, optional=OPTIONAL)
        if first_row(path) != rows:
            raise wrong(path, f"a part that begins at row {rows}", path)
        if found and table.column_names != found[0].column_names:
            raise wrong(path, f"columns {', '.join(found[0].column_names)}", ", ".join(table.column_names))
        found.append(table)
        rows += len(table)
    try:
        return Manifest(pa.concat_tables(found).combine_chunks())
    except ManifestError as error:
        raise CorruptError(f"{MANIFEST}: {error}; the store is damaged or not one of ldmscene's") from error


def first_row(path: str) -> int:
    """The number of the first row in a document of samples."""
    part = PART.fullmatch(path)
    return int(part[1]) if part else 0


def write(manifest: Manifest, before: Manifest | None = None) -> dict[str, bytes]:
    """The document of the samples behind those of `before`; of all where those aren't as they were."""
    known = len(before) if before else 0
    if before is None or not manifest.table.slice(0, known).equals(before.table):
        return {MANIFEST: _encoded(manifest.table)}
    return {f"{PARTS}/{known:09d}.parquet": _encoded(manifest.table.slice(known))} if known < len(manifest) else {}


def _encoded(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def merged(documents: Mapping[str, bytes]) -> dict[str, bytes]:
    """A store's documents with the manifest and its later parts joined to one document."""
    if not any(map(is_part, documents)):
        return dict(documents)
    return {path: data for path, data in documents.items() if not is_part(path)} | write(read(documents))


def current(documents: Mapping[str, bytes]) -> dict[str, bytes]:
    """The documents without parts whose samples `manifest.parquet` holds, since it was written anew."""
    parts = [path for path in documents if is_part(path)]
    try:
        rows = pyarrow.parquet.read_metadata(pa.BufferReader(documents[MANIFEST])).num_rows if parts else 0
    except (pa.ArrowException, OSError, KeyError):
        return dict(documents)  # whoever reads it says what is wrong
    gone = {path for path in parts if first_row(path) < rows}
    return {path: data for path, data in documents.items() if path not in gone}
