"""The Zarr v3 metadata that lets other readers open a store, and how it is written.

Documents are computed from those that hold, and published; see `history`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ldmscene.errors import CorruptError, StoreError
from ldmscene.store import arrays
from ldmscene.store.documents import Contents, Documents
from ldmscene.store.history import Published, Versions, publish, read
from ldmscene.store.layout import BRANCHES, LEDGER, ROOT, ZARR, ArraySpec, Key
from ldmscene.store.ledger import ledger_files
from ldmscene.store.locations import Location, location
from ldmscene.store.places import Place

LOOKED_AT = 20  # folders in which a store is looked for, for a message
LABELLED = ("labels", "predictions", "intermediate")  # arrays that a labeler gives
ROWS = 1024  # in a chunk of the coordinate `sample`, so that an extension adds a few


def root_document(attributes: dict[str, Any]) -> Documents:
    meta = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    return {ROOT: _json(meta)}


def read_store(
    root: str | Place | Location, *, there: bool = False, listed: Versions | None = None
) -> Published | None:
    """What a store holds by its metadata, or None where there is no store.

    `there` is for those who read: where something else lies, the message leads to a store instead of away. `listed` is
    a listing that was just made.

    Raises
    ------
    StoreError
        If something else lies there, or a newer ldmscene wrote it.
    CorruptError
        If a store has lost its metadata, or they aren't what a store can hold.
    """
    where = location(root)
    now = read(where, listed)
    if not now.number:
        check_free(where, there=there)
        return None
    return now


def check_free(where: Location, *, there: bool = False) -> None:
    """Refuse a location where something lies that isn't a store in the making; `there` as of `read_store`.

    Raises
    ------
    StoreError
        If something else lies there.
    CorruptError
        If a store has lost its metadata.
    """
    try:
        names = {name for listed in where.names() for name in listed}
    except NotADirectoryError:
        if where.root.exists():
            raise StoreError(f"{where.root} is a file, not an ldmscene store; name another location") from None
        raise StoreError(f"{where.root} can't be made: a part of the path is a file; name another location") from None
    if ZARR in names or (LEDGER in names and ledger_files(where)):
        raise CorruptError(
            f"{where.root} has lost its metadata, {LEDGER}/metadata-*.json, and without them nobody knows which sample "
            "a row of the arrays is; restore them from a copy, or use another store"
        )
    if names - {LEDGER}:
        todo = _nearby(where) if there else "and not empty; name another location"
        raise StoreError(f"{where.root} is not an ldmscene store{'; ' if there else ' '}{todo}")


def _nearby(where: Location) -> str:
    """Where a store is, for somebody who named what lies around it, or a part of it."""
    if where.root.name == ZARR:
        return f"name the folder that holds it, {where.root.parent}"
    inside = [folder for folder in where.names()[1][:LOOKED_AT] if ZARR in where.names(folder)[1]]
    if inside:
        return f"name one that lies in it: {', '.join(f'{where.root}/{folder}' for folder in inside)}"
    return f"name a folder that holds {ZARR}"


def array_documents(contents: Contents | None, specs: Sequence[ArraySpec], samples: int) -> Documents:
    """Metadata of these arrays with `samples` rows, and of others in a store that must grow along.

    Raises
    ------
    StoreError
        If an array is there with another shape, origin or encoding, or under a name that differs in case alone.
    """
    asked = {spec.path: spec for spec in specs}
    known = contents.arrays if contents else {}
    there = {path: spec for path, spec in known.items() if path not in asked or spec != _disowned(spec)}
    for spec in specs:
        why = arrays.check_same(there[spec.path], spec) if spec.path in there else None
        if why:
            raise StoreError(f"{spec.path} {why}")
    new = [spec for spec in specs if spec.path not in there]
    _check_case([*there, *(spec.path for spec in new)])
    found: Documents = {}
    for spec in new:
        for folder in spec.path.folders:
            found[f"{ZARR}/{folder}/zarr.json"] = _json({"attributes": {}, "zarr_format": 3, "node_type": "group"})
    for path, spec in (asked | there).items():  # all of them, since they share the axis
        now = arrays.with_choices(spec, asked[path]) if path in asked else spec
        found[f"{ZARR}/{path}/zarr.json"] = arrays.write(now, samples)
    return found


def is_owned(spec: ArraySpec) -> bool:
    """Whether an array is a labeler's, from which `disown` hasn't taken it."""
    return spec.path.kind in LABELLED and spec != _disowned(spec)


def disown(root: str | Place | Location, paths: Sequence[Key]) -> None:
    """Take away whose labels those are of which nothing is left, so that any others may be called so."""

    def disowned(now: Published) -> Documents:
        samples = len(now.contents.manifest)
        specs = [_disowned(now.contents.arrays[path]) for path in paths]
        return {f"{ZARR}/{spec.path}/zarr.json": arrays.write(spec, samples) for spec in specs}

    publish(location(root), disowned)


def _disowned(spec: ArraySpec) -> ArraySpec:
    """With nothing said of it but that it is free, and what an axis of classes can't be read without."""
    said = {name: spec.attributes[name] for name in ("kind", "classes") if "class" in spec.dims}
    return replace(spec, attributes={**said, "free": True})


def _check_case(paths: Sequence[str]) -> None:
    """Refuse two arrays that would share a folder on disks that don't tell capitals apart."""
    known: dict[str, str] = {}
    for path in paths:
        if known.setdefault(path.casefold(), path) != path:
            raise StoreError(f"{path} differs from {known[path.casefold()]} in case alone; name it differently")


def declare(root: str | Place | Location, specs: Sequence[ArraySpec]) -> None:
    """Make the arrays exist in a store, with a row for each sample; nothing is written to their chunks."""
    publish(location(root), lambda now: array_documents(now.contents, specs, len(now.contents.manifest)))


def coordinate_documents(steps: Sequence[float], branches: Sequence[str], samples: int) -> Documents:
    """Integer coordinates beside the arrays, so that other readers can label their axes."""
    codes = [BRANCHES.index(branch) for branch in branches]
    coordinates: list[tuple[str, str, np.ndarray, dict[str, Any]]] = [
        ("sample", "sample", np.arange(samples), {"long_name": "row of manifest.parquet"}),
        ("step", "step", np.arange(len(steps)), {"long_name": "index of the denoiser call"}),
        ("timestep", "step", np.array(steps, np.float64), {"long_name": "timestep given to the denoiser"}),
        ("branch", "branch", np.array(codes), {"flag_values": [0, 1], "flag_meanings": " ".join(BRANCHES)}),
    ]
    found: Documents = {}
    for name, dim, values, attributes in sorted(coordinates, key=lambda one: one[0]):
        length = ROWS if dim == "sample" else len(values)
        for number, begin in enumerate(range(0, len(values), length)):
            chunk = np.zeros(length, values.dtype.newbyteorder("<"))
            some = values[begin : begin + length]
            chunk[: len(some)] = some
            if chunk.any():  # Zarr leaves out what is zero altogether
                found[f"{ZARR}/{name}/c/{number}"] = chunk.tobytes()
        found[f"{ZARR}/{name}/zarr.json"] = _json(_coordinate(dim, values, length, attributes))
    return found  # values before what declares them


def _coordinate(dim: str, values: np.ndarray, chunk: int, attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        "shape": [len(values)],
        "data_type": values.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [chunk]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0.0 if values.dtype.kind == "f" else 0,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "attributes": attributes,
        "dimension_names": [dim],
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=2).encode()
