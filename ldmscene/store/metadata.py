"""The Zarr v3 metadata that lets other readers open a store, and how it is written.

Documents are computed from those that hold, and published; see `history`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.buffer import Buffer, cpu, default_buffer_prototype
from zarr.core.metadata import ArrayV3Metadata
from zarr.storage import MemoryStore

from ldmscene.errors import CorruptError, StoreError
from ldmscene.manifest import Manifest
from ldmscene.store.history import Documents, Published, publish, read
from ldmscene.store.layout import BRANCHES, FORMAT, LEDGER, MANIFEST, ZARR, ArraySpec
from ldmscene.store.places import Place, files_in

ROOT = f"{ZARR}/zarr.json"
CHOICES = ("metric",)  # attributes that say how numbers are used, rather than where they come from: they may change


def root_document(attributes: dict) -> Documents:
    meta = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    return {ROOT: json.dumps(meta, indent=2).encode()}


def manifest_document(manifest: Manifest) -> Documents:
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(manifest.table, sink)
    return {MANIFEST: sink.getvalue().to_pybytes()}


def manifest_of(documents: Documents) -> Manifest:
    return Manifest(pyarrow.parquet.read_table(pa.BufferReader(documents[MANIFEST])))


def sample_ids_of(documents: Documents) -> list[str]:
    """By row of the manifest, which are those of every array."""
    source = pa.BufferReader(documents[MANIFEST])
    return pyarrow.parquet.read_table(source, columns=["sample_id"])["sample_id"].to_pylist()


def attributes_of(documents: Documents) -> dict:
    """The root group's attributes."""
    return json.loads(documents[ROOT])["attributes"]


def read_store(root: Place) -> Published | None:
    """What a store holds by its metadata, or None where there is no store.

    Raises
    ------
    StoreError
        If something else lies there, or a newer ldmscene wrote it.
    CorruptError
        If a store has lost its metadata.
    """
    now = read(root)
    if not now.number:
        _check_free(root)
        return None
    attributes = attributes_of(now.documents)
    if attributes["format"] > FORMAT:
        raise StoreError(
            f"{root} has store format {attributes['format']}, this ldmscene reads up to {FORMAT}; it was written by "
            f"ldmscene {attributes.get('ldmscene')}, which reads it"
        )
    return now


def _check_free(root: Place) -> None:
    """Refuse a place where something lies that isn't a store in the making."""
    try:
        names = {path.name for path in root.iterdir()}
    except FileNotFoundError:
        return
    except NotADirectoryError:
        if not root.exists():
            raise StoreError(f"{root} can't be made: a part of the path is a file; name another place") from None
        names = {root.name}
    if ZARR in names or files_in(root / LEDGER, ".parquet"):
        raise CorruptError(
            f"{root} has lost its metadata, {LEDGER}/metadata-*.json, and without them nobody knows which sample a row "
            "of the arrays is; restore them from a copy, or use another store"
        )
    if names - {LEDGER}:
        raise StoreError(f"{root} is not an ldmscene store and not empty; name another place")


def array_documents(documents: Documents, specs: Sequence[ArraySpec], samples: int) -> Documents:
    """Metadata of these arrays with `samples` rows, and of others among the documents that must grow along.

    Raises
    ------
    StoreError
        If an array is there with another shape, origin or encoding.
    """
    there = arrays(documents)
    for spec in specs:
        if spec.path in there:
            _check_same(there[spec.path], spec)
    new = [spec for spec in specs if spec.path not in there]
    found = _written(lambda group: [_create(group, spec, samples) for spec in new])
    chosen = {spec.path: _choices(spec.attributes) for spec in specs}
    for path, array in there.items():  # all of them, since they share the axis
        rows = max(samples, array.shape[0])
        changed = _metadata(array).update_shape((rows, *array.shape[1:]))
        if path in chosen:
            changed = changed.update_attributes(dict(array.attrs) | chosen[path])
        found[f"{ZARR}/{path}/zarr.json"] = _encoded(changed)
    return found


def same_origin(first: Mapping, second: Mapping) -> bool:
    """Whether attributes say the same of where an array's numbers come from."""
    mine, theirs = ({n: v for n, v in one.items() if n not in CHOICES} for one in (first, second))
    return mine == theirs


def _choices(attributes: Mapping) -> dict:
    return {name: value for name, value in attributes.items() if name in CHOICES}


def declare(root: Place, specs: Sequence[ArraySpec]) -> None:
    """Make the arrays exist in a store, with a row for each sample; nothing is written to their chunks."""
    publish(root, lambda now: array_documents(now.documents, specs, len(sample_ids_of(now.documents))))


def _written(build: Callable[[zarr.Group], object]) -> Documents:
    """What zarr-python writes to make a hierarchy; the root's own document is left out."""
    buffers: dict[str, Buffer] = {}
    build(zarr.create_group(MemoryStore(buffers), zarr_format=3))
    return {f"{ZARR}/{key}": data.to_bytes() for key, data in buffers.items() if key != "zarr.json"}


def _create(group: zarr.Group, spec: ArraySpec, samples: int) -> zarr.Array:
    parent, _, name = spec.path.rpartition("/")
    holder = group.require_group(parent) if parent else group
    layout = spec.layout
    blosc = BloscCodec(typesize=layout.dtype.itemsize, cname="lz4", clevel=5, shuffle="bitshuffle")  # as in `shards`
    return holder.create_array(
        name,
        shape=(samples, *spec.shape),
        chunks=(1, *layout.chunk),
        shards=(1, *spec.shape),
        dtype=spec.dtype,
        fill_value=np.nan if np.dtype(spec.dtype).kind == "f" else 0,
        compressors=[blosc, Crc32cCodec()] if spec.compressed else [Crc32cCodec()],
        filters=[],
        chunk_key_encoding={"name": "default", "separator": "."},  # one folder for all shards: one fsync each
        dimension_names=("sample", *spec.dims),
        attributes=spec.attributes,
    )


def _check_same(array: zarr.Array, spec: ArraySpec) -> None:
    if array.shape[1:] != spec.shape or array.dtype != np.dtype(spec.dtype):
        raise StoreError(f"{spec.path} holds {array.dtype} {array.shape[1:]}, not {spec.dtype} {spec.shape}")
    if spec.attributes and not same_origin(dict(array.attrs), spec.attributes):
        raise StoreError(
            f"{spec.path} was made by {dict(array.attrs)}, not {spec.attributes}; "
            "name the target differently or use a new store"
        )
    ours = _metadata(_create(zarr.create_group(MemoryStore(), zarr_format=3), spec, 1))
    theirs = _metadata(array)
    if (ours.codecs, ours.chunk_key_encoding) != (theirs.codecs, theirs.chunk_key_encoding):
        raise StoreError(f"{spec.path} is encoded in another way than it would be now; use a new store")


def coordinate_documents(steps: Sequence[float], branches: Sequence[str], samples: int) -> Documents:
    """Integer coordinates beside the arrays, so that other readers can label their axes."""
    codes = [BRANCHES.index(branch) for branch in branches]
    coordinates: list[tuple[str, str, np.ndarray, dict[str, Any]]] = [
        ("sample", "sample", np.arange(samples), {"long_name": "row of manifest.parquet"}),
        ("step", "step", np.arange(len(steps)), {"long_name": "index of the denoiser call"}),
        ("timestep", "step", np.array(steps, np.float64), {"long_name": "timestep given to the denoiser"}),
        ("branch", "branch", np.array(codes), {"flag_values": [0, 1], "flag_meanings": " ".join(BRANCHES)}),
    ]

    def build(group: zarr.Group) -> None:
        for name, dim, values, attributes in coordinates:
            group.create_array(name, data=values, dimension_names=(dim,), attributes=attributes, compressors=None)

    return dict(sorted(_written(build).items()))  # values before what declares them


def coordinate(documents: Documents, name: str) -> np.ndarray:
    """The values of one coordinate."""
    return np.asarray(zarr.open_array(_hierarchy(documents), path=name, mode="r", zarr_format=3)[:])


def arrays(documents: Documents) -> dict[str, zarr.Array]:
    """Every sharded array of the hierarchy, by path."""
    if ROOT not in documents:
        return {}
    members = dict(zarr.open_group(_hierarchy(documents), mode="r", zarr_format=3).members(max_depth=None))
    return {path: node for path, node in members.items() if isinstance(node, zarr.Array) and node.shards}


def _hierarchy(documents: Documents) -> MemoryStore:
    found = {path.removeprefix(f"{ZARR}/"): data for path, data in documents.items() if path.startswith(f"{ZARR}/")}
    return MemoryStore({key: cpu.Buffer.from_bytes(data) for key, data in found.items()}, read_only=True)


def _metadata(array: zarr.Array) -> ArrayV3Metadata:
    assert isinstance(array.metadata, ArrayV3Metadata)
    return array.metadata


def _encoded(metadata: ArrayV3Metadata) -> bytes:
    return metadata.to_buffer_dict(default_buffer_prototype())["zarr.json"].to_bytes()
