"""What somebody can do who sends a store: change what it says and seal it anew."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from ldmscene.store.layout import LEDGER, ROOT, ZARR
from ldmscene.store.ledger import SCHEMA
from ldmscene.store.metadata import read_store
from ldmscene.store.seal import seal
from ldmscene.store.shards import crc32c

ARRAY = f"{ZARR}/activations/up_blocks.3.attn/activation/zarr.json"
IMAGE = f"{ZARR}/image/zarr.json"


def publish(root: Path, documents: Mapping[str, Any], number: int | None = None) -> None:
    """Add a publication of these documents, whatever they are: bytes, or what JSON can hold."""
    number = number or len(list((root / LEDGER).glob("metadata-*.json"))) + 1
    texts = {path: data if isinstance(data, bytes) else json.dumps(data).encode() for path, data in documents.items()}
    publish_raw(root, json.dumps({path: base64.b64encode(data).decode() for path, data in texts.items()}), number)


def publish_raw(root: Path, text: str, number: int) -> None:
    for suffix in (".json", ".copy"):
        (root / LEDGER / f"metadata-{number:06d}{suffix}").write_bytes(seal(text.encode()))


def document(root: Path, path: str) -> dict[str, Any]:
    now = read_store(root)
    assert now is not None
    return json.loads(now.documents[path])


def change(root: Path, path: str, edit: Callable[[dict[str, Any]], object]) -> None:
    """Publish a document with something changed."""
    found = document(root, path)
    edit(found)
    publish(root, {path: found})


def change_attributes(root: Path, **values: object) -> None:
    change(root, ROOT, lambda root: root["attributes"].update(values))


def rows(root: Path) -> list[dict[str, Any]]:
    paths = sorted((root / LEDGER).glob("*.parquet"))
    return [row for path in paths for row in pyarrow.parquet.read_table(path).to_pylist()]


def relist(root: Path, edit: Callable[[dict[str, Any]], object], which: int = 0) -> dict[str, Any]:
    """Change one row of the ledger, and name the file as its checksum asks; returns the row."""
    found = rows(root)
    edit(found[which])
    for path in (root / LEDGER).glob("*.parquet"):
        path.unlink()
    write_ledger(root, pa.Table.from_pylist(found, schema=SCHEMA))
    return found[which]


def write_ledger(root: Path, table: pa.Table, **how: Any) -> None:
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink, **how)
    data = sink.getvalue().to_pybytes()
    (root / LEDGER / f"{uuid.uuid4().hex}-000000-{crc32c(data):08x}.parquet").write_bytes(data)


def tree_hash(folder: Path) -> str:
    """Of every name, kind, link and byte below a folder."""
    whole = hashlib.sha256()
    for here, folders, names in os.walk(folder):
        folders.sort()
        for path in (Path(here, name) for name in sorted([*folders, *names])):
            kind = "l" if path.is_symlink() else "d" if path.is_dir() else "f" if path.is_file() else "?"
            content = bytes(path.readlink()) if kind == "l" else path.read_bytes() if kind == "f" else b""
            whole.update(repr((str(path.relative_to(folder)), kind, content)).encode())
    return whole.hexdigest()
