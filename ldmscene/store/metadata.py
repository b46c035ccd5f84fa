"""The Zarr v3 metadata that lets other readers open a store, and how it is written.

What a store's metadata should be is computed first, as documents by their path in the store; then whatever differs is
written, whole and durably. So any number of processes may prepare the same store at once.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.core.metadata import ArrayV3Metadata
from zarr.storage import MemoryStore

from ldmscene.errors import CorruptError, StoreError
from ldmscene.store.files import remove_leftovers, write_file
from ldmscene.store.layout import BRANCHES, FORMAT, LEDGER, ZARR, ArraySpec
from ldmscene.store.ledger import METADATA, Entry, Ledger
from ldmscene.store.objects import asking
from ldmscene.store.places import Place, zarr_store
from ldmscene.store.shards import whole_checksum

Documents = dict[str, bytes]  # by path in the store


def publish(root: Place, documents: Mapping[str, bytes]) -> None:
    """Write those documents that aren't there yet as they should be, or that the ledger doesn't vouch for.

    Their checksums go into the ledger first: after a crash in between, the same call writes what is missing.
    """
    ledger = Ledger(root / LEDGER)
    rows = ledger.rows()
    rows = rows[rows["sample_id"] == METADATA]
    sums = dict(zip(rows["what"], rows["crc32"], strict=True))
    new = {key: d for key, d in documents.items() if sums.get(key) != whole_checksum(d) or _read(root / key) != d}
    if new:
        remove_leftovers(root)
        ledger.append(Entry(METADATA, key, whole_checksum(data), len(data), 0) for key, data in new.items())
    for key, data in new.items():
        write_file(root / key, data)


def _read(path: Place) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def root_document(attributes: dict) -> Documents:
    meta = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    return {f"{ZARR}/zarr.json": json.dumps(meta, indent=2).encode()}


def read_root(root: Place) -> dict | None:
    """The root group's attributes, or None where there is no store.

    Raises
    ------
    StoreError
        If something else lies there, or a newer ldmscene wrote it.
    """
    path = root / ZARR / "zarr.json"
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        if _taken(root):
            raise StoreError(f"{root} is not an ldmscene store and not empty; name another place") from None
        return None
    try:
        attributes = json.loads(text)["attributes"]
        version = attributes["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"{path} is damaged ({error!r}); it must hold the store's attributes as JSON") from error
    if version > FORMAT:
        raise StoreError(
            f"{root} has store format {version}, this ldmscene reads up to {FORMAT}; it was written by ldmscene "
            f"{attributes.get('ldmscene')}, which reads it"
        )
    return attributes


def _taken(root: Place) -> bool:
    """Whether something lies there that isn't a store in the making."""
    try:
        return bool({path.name for path in root.iterdir()} - {ZARR, LEDGER})
    except (FileNotFoundError, NotADirectoryError):
        return root.is_file()


def array_documents(root: Place, specs: Sequence[ArraySpec], samples: int) -> Documents:
    """Metadata of these arrays with `samples` rows, and of others in the store that must grow along.

    Raises
    ------
    StoreError
        If an array is there with another shape, origin or encoding.
    """
    there = arrays(root) if _read(root / ZARR / "zarr.json") is not None else {}
    for spec in specs:
        if spec.path in there:
            _check_same(there[spec.path], spec)
    new = [spec for spec in specs if spec.path not in there]
    found = _written(lambda group: [_create(group, spec, samples) for spec in new])
    for path, array in there.items():  # all of them, since they share the axis
        rows = max(samples, array.shape[0])
        found[f"{ZARR}/{path}/zarr.json"] = _encoded(_metadata(array).update_shape((rows, *array.shape[1:])))
    return found


def declare(root: Place, specs: Sequence[ArraySpec], samples: int) -> None:
    """Make the arrays exist with `samples` rows; nothing is written to their chunks."""
    publish(root, array_documents(root, specs, samples))


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
    if spec.attributes and dict(array.attrs) != spec.attributes:
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


def read_coordinate(root: Place, name: str) -> np.ndarray:
    """The values of one coordinate."""
    with asking(root):
        return np.asarray(zarr.open_array(zarr_store(root / ZARR), path=name, mode="r", zarr_format=3)[:])


def arrays(root: Place) -> dict[str, zarr.Array]:
    """Every sharded array of the hierarchy, by path."""
    with asking(root), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # files that aren't Zarr's, such as those being written
        group = zarr.open_group(zarr_store(root / ZARR), mode="r", zarr_format=3)
        members = dict(group.members(max_depth=None))
    return {path: node for path, node in members.items() if isinstance(node, zarr.Array) and node.shards}


def _metadata(array: zarr.Array) -> ArrayV3Metadata:
    assert isinstance(array.metadata, ArrayV3Metadata)
    return array.metadata


def _encoded(metadata: ArrayV3Metadata) -> bytes:
    return metadata.to_buffer_dict(default_buffer_prototype())["zarr.json"].to_bytes()
