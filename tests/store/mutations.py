"""Random lies: one store after another of which something was changed and sealed anew."""

from __future__ import annotations

import json
import os
import random
import shutil
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import xarray as xr
from safetensors.numpy import load, save

from ldmscene.store import grids
from ldmscene.store.cache import _checksum
from ldmscene.store.layout import LEDGER, MANIFEST, PROBES, ZARR
from ldmscene.store.ledger import SCHEMA
from ldmscene.store.metadata import read_store
from ldmscene.store.seal import seal
from ldmscene.store.shards import crc32c
from tests.store import forger

HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 2**31, 2**63, -(2**63), 2**64, 10**30, 0.5, -0.0, 1e308, float("nan"),
    float("inf"), "", "a", "..", "../..", "../../../other", "/etc/passwd", "{outside}/stolen",
    "\x1b[2J\x1b]0;owned\x07",
    "é\u202e", "\ud800", "x" * 10_000, "<script>alert(1)</script>", "cond", "uncond", "step", "sample", "NaN", "image",
    "labels/depth", "float16", "uint8", "string", "<i4", "zstd", "pickle", [], {}, [[]], [None], {"a": {}},
    ["cond"], [1, 2],
)  # fmt: skip


def mutate(root: Path, draw: random.Random) -> str:
    """Change something of the store; returns what, for the test's report."""
    kind = draw.choice(list(_KINDS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _KINDS[kind](root, draw)
    return kind


def _value(root: Path, draw: random.Random) -> Any:
    value = draw.choice(HOSTILE)
    return value.replace("{outside}", str(root.parents[1])) if isinstance(value, str) else value


def _mutated(node: Any, root: Path, draw: random.Random) -> Any:
    """A JSON value with one thing changed somewhere in it."""
    if draw.random() < 0.15 or not node or not isinstance(node, dict | list):
        return _number(node, draw) if isinstance(node, int) and draw.random() < 0.5 else _value(root, draw)
    key = draw.choice(list(node)) if isinstance(node, dict) else draw.randrange(len(node))
    copy = node.copy()
    how = draw.random()
    if how < 0.1:
        copy.pop(key)
    elif how < 0.2 and isinstance(copy, list):
        copy.insert(key, draw.choice([copy[key], _value(root, draw)]))
    elif how < 0.2:
        copy[str(_value(root, draw))] = copy.pop(key)
    else:
        copy[key] = _mutated(node[key], root, draw)
    return copy


def _number(node: int, draw: random.Random) -> int:
    return draw.choice([node + 1, node - 1, -node, node * 2, node << draw.randrange(60), 0])


def _document(root: Path, draw: random.Random) -> None:
    now = read_store(root)
    assert now is not None
    path = draw.choice([path for path in now.documents if path.endswith(".json")])
    found = json.loads(now.documents[path])
    for _ in range(draw.choice([1, 1, 1, 2, 5])):
        found = _mutated(found, root, draw)
    forger.publish(root, {path: found})


def _bytes(root: Path, draw: random.Random) -> None:
    now = read_store(root)
    assert now is not None
    path = draw.choice(list(now.documents))
    forger.publish(root, {path: _damaged(now.documents[path], draw)})


def _damaged(data: bytes, draw: random.Random) -> bytes:
    found = bytearray(data)
    for _ in range(draw.choice([1, 1, 3, 20])):
        at = draw.randrange(len(found) or 1)
        how = draw.random()
        if how < 0.6 and found:
            found[at % len(found)] = draw.randrange(256)
        elif how < 0.8:
            del found[at : at + draw.randrange(1, 64)]
        else:
            found[at:at] = draw.randbytes(draw.randrange(1, 64))
    return bytes(found)


def _path(root: Path, draw: random.Random) -> None:
    now = read_store(root)
    assert now is not None
    path, data = draw.choice(list(now.documents.items()))
    parts = path.split("/")
    parts[draw.randrange(len(parts))] = str(_value(root, draw)).encode("utf-8", "replace").decode()
    forger.publish(root, {draw.choice(["/".join(parts), str(_value(root, draw)), path + "/.."]): data})


def _publication(root: Path, draw: random.Random) -> None:
    name, number = draw.choice(["json", "copy"]), draw.choice([0, 1, 2, 2, 3, 7, 999_999])
    text = draw.choice(["", "null", "[]", "{}", "1", '{"a": 1}', "{" * 5000, '{"manifest.parquet": ""}', "\x00", "é"])
    (root / LEDGER / f"metadata-{number:06d}.{name}").write_bytes(seal(text.encode()))
    if draw.random() < 0.3:
        (root / LEDGER / "metadata-000001.json").unlink()


def _rows(root: Path, draw: random.Random) -> None:
    found = forger.rows(root)
    for path in (root / LEDGER).glob("*.parquet"):
        path.unlink()
    schema = {field.name: field.type for field in SCHEMA}
    columns = {name: [row[name] for row in found] for name in schema}
    name = draw.choice(list(schema))
    for _ in range(draw.choice([1, 1, 5])):
        other = draw.choice(columns[draw.choice(list(schema))])
        columns[name][draw.randrange(len(found))] = draw.choice([_value(root, draw), _value(root, draw), other])
    arrays = {name: _array(values, schema[name], draw) for name, values in columns.items()}
    if draw.random() < 0.1:
        arrays.pop(draw.choice(list(arrays)))
    table = pa.table(arrays)
    forger.write_ledger(root, table.take(draw.choices(range(table.num_rows), k=table.num_rows)))


def _array(values: list[Any], kind: pa.DataType, draw: random.Random) -> pa.Array:
    """As the type that a column has, where the values can be that, or as some other."""
    for wanted in (
        draw.sample([kind, kind, None, pa.float64(), pa.large_string()], 5) if draw.random() < 0.1 else [kind]
    ):
        try:
            return pa.array(values, wanted)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            continue
    texts = [str(value).encode("utf-8", "replace").decode() for value in values]
    fitting = [_fitting(value, kind) for value in values]
    return pa.array(texts) if kind == pa.string() else pa.array(fitting, kind)


def _fitting(value: Any, kind: pa.DataType) -> Any:
    try:
        return pa.array([value], kind)[0].as_py()
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return -5 if kind != pa.uint32() else 5


def _manifest(root: Path, draw: random.Random) -> None:
    now = read_store(root)
    assert now is not None
    table = now.contents.manifest.table
    name = draw.choice(table.column_names)
    values = table[name].to_pylist()
    values[draw.randrange(len(values))] = draw.choice([_value(root, draw), draw.choice(values)])
    column = _array(values, table.schema.field(name).type, draw)
    table = table.set_column(table.column_names.index(name), name, column)
    if draw.random() < 0.3:
        table = table.slice(0, draw.randrange(table.num_rows))
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)
    forger.publish(root, {MANIFEST: sink.getvalue().to_pybytes()})


def _shard(root: Path, draw: random.Random) -> None:
    """Another shard, of which the row knows."""
    path = draw.choice([path for path in sorted((root / ZARR).rglob("c.*")) if path.is_file()])
    data = bytearray(path.read_bytes())
    counts = draw.choice([1, 2])  # as shards of this store have
    body = bytearray(data[-16 * counts - 4 : -4])
    how = draw.random()
    if how < 0.6:
        body[8 * draw.randrange(2 * counts) :][:8] = b""
        at = 8 * draw.randrange(2 * counts)
        body = bytearray(data[-16 * counts - 4 : -4])
        body[at : at + 8] = draw.choice([0, 1, 2**63, 2**64 - 1, 2**32, len(data), draw.randrange(300)]).to_bytes(
            8, "little"
        )
        data[-16 * counts - 4 :] = body + crc32c(bytes(body)).to_bytes(4, "little")
    else:
        data = bytearray(_damaged(bytes(data), draw))
    path.write_bytes(data)
    found = forger.rows(root)
    what = str(path.parent.relative_to(root / ZARR))
    now = read_store(root)
    assert now is not None
    sample_id = now.contents.sample_ids[int(path.name.split(".")[1])]
    which = [i for i, row in enumerate(found) if (row["what"], row["sample_id"]) == (what, sample_id)]
    if which:
        forger.relist(root, lambda row: row.update(crc32=zlib.crc32(data), bytes=len(data)), which[0])


def _statistics(root: Path, draw: random.Random) -> None:
    paths = sorted((root / "statistics").rglob("*.safetensors"))
    for path in draw.sample(paths, min(len(paths), draw.choice([1, 3, len(paths)]))):
        if draw.random() < 0.1:
            path.write_bytes(_damaged(path.read_bytes(), draw))
            continue
        tensors = dict(load(path.read_bytes()))
        name = draw.choice(list(tensors))
        tensors[name] = _other(tensors[name], draw)
        if draw.random() < 0.3:
            tensors[str(draw.randrange(9))] = tensors.pop(name)
        path.write_bytes(save(tensors, {"crc32c": str(_checksum(tensors))}))


def _other(array: np.ndarray, draw: random.Random) -> np.ndarray:
    return draw.choice(
        [
            lambda: array[..., :0] if array.ndim else array,
            lambda: np.concatenate([array, array]) if array.ndim else np.zeros(3),
            lambda: array.astype(np.uint8, casting="unsafe"),
            lambda: np.full_like(array, 0),
            lambda: np.full(array.shape, np.nan),
            lambda: np.full(array.shape, -1e300),
            lambda: array[None],
            lambda: np.zeros(0),
        ]
    )()


def _grid(root: Path, draw: random.Random) -> None:
    for path in (root / PROBES).glob("*.nc"):
        grid = grids.read(path.read_bytes(), "")
        name = str(draw.choice(list(grid.variables)))
        how = draw.random()
        if how < 0.3:
            grid = grid.drop_vars(name)
        elif how < 0.5:
            dim = draw.choice(list(grid.dims))
            grid = grid.isel({dim: draw.choice([slice(0), [0, 0], [0]])})
        elif how < 0.7:
            grid.attrs["provenance"] = draw.choice(["", "[]", "{", '{"labels": 1}', "\x1b[2J"])
        else:
            grid = _retold(grid, name, draw)
        data = grids.write(grid)
        path.write_bytes(data if draw.random() < 0.8 else seal(_damaged(data[:-10], draw)))


def _retold(grid: xr.Dataset, name: str, draw: random.Random) -> xr.Dataset:
    array = grid[name]
    value = draw.choice(["\x1b[2J", "../x", "a", "<b>"]) if array.dtype.kind in "OU" else draw.choice([0, 5, 100])
    filled = np.full(array.shape, value, object if isinstance(value, str) else np.float64)
    return (
        grid.assign({name: (array.dims, filled)})
        if name in grid.data_vars
        else grid.assign_coords({name: (array.dims, filled)})
    )


def _file(root: Path, draw: random.Random) -> None:
    """Something else than a file, somewhere."""
    path = draw.choice(sorted(root.rglob("*")))
    if draw.random() < 0.2 and path.is_dir():
        path = path / draw.choice(["c.1.0.0.0", "x.parquet", ".partial-1", "grid-1.nc", "zarr.json", "README"])
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    how = draw.randrange(6)
    if how == 0:
        os.mkfifo(path)
    elif how == 1:
        path.symlink_to("/dev/zero")
    elif how == 2:
        path.symlink_to(
            root.parents[1] / draw.choice(["other", "diary", "new", "other/ledger", "other/activations.zarr"])
        )
    elif how == 3:
        path.mkdir()
    elif how == 4:
        path.touch()
        os.truncate(path, 2**40)
    else:
        path.write_bytes(b"")


_KINDS: dict[str, Callable[[Path, random.Random], None]] = {
    "document": _document,
    "document's numbers": _document,
    "bytes of a document": _bytes,
    "path of a document": _path,
    "publication": _publication,
    "rows": _rows,
    "manifest": _manifest,
    "shard": _shard,
    "statistics": _statistics,
    "grid": _grid,
    "file": _file,
}
