"""Where things lie in a store, and the Zarr v3 metadata that lets other readers open it."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec

from ldmscene.errors import CorruptError, StoreError
from ldmscene.store.files import naming_the_cause, sync_folder, write_file
from ldmscene.store.shards import ShardLayout

FORMAT = 1
BRANCHES = ("uncond", "cond")
ZARR, MANIFEST, LEDGER, PROBES = "activations.zarr", "manifest.parquet", "ledger", "probes"
IMAGE, LATENTS = "image", "latents"
PREVIEWS = {"noisy": "previews/noisy", "predicted": "previews/predicted"}


def activation_path(module: str) -> str:
    return f"activations/{module}/activation"


def label_path(target: str) -> str:
    return f"labels/{target}"


def prediction_path(target: str) -> str:
    """Where a classifier's probabilities for the final pictures lie."""
    return f"predictions/{target}"


def intermediate_path(source: str, target: str) -> str:
    """Where a labeler's reading of the unfinished pictures lies; `source` is `noisy` or `predicted`."""
    return f"intermediate/{source}/{target}"


@dataclass(frozen=True)
class ArraySpec:
    """One array of the hierarchy, as seen by one sample.

    Attributes
    ----------
    path : str
        Inside `activations.zarr`.
    dims, shape : tuple
        Names and lengths of the axes behind `sample`.
    dtype : str
    cut : int
        How many leading axes are cut into chunks of length 1.
    attributes : dict
        What the numbers are: ids, ranges, units.
    """

    path: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    cut: int = 0
    attributes: dict = field(default_factory=dict)

    @property
    def layout(self) -> ShardLayout:
        chunk = (1,) * self.cut + self.shape[self.cut :]
        return ShardLayout(self.shape, chunk, np.dtype(self.dtype).newbyteorder("<"))


def create_root(root: Path, attributes: dict) -> None:
    """Write the root group of a new store."""
    with naming_the_cause(root):
        (root / ZARR).mkdir(parents=True, exist_ok=True)
        (root / LEDGER).mkdir(exist_ok=True)
        sync_folder(root)
    meta = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    write_file(root / ZARR / "zarr.json", json.dumps(meta, indent=2).encode())


def read_root(root: Path) -> dict | None:
    """The root group's attributes, or None where there is no store.

    Raises
    ------
    StoreError
        If something else lies there, or a newer ldmscene wrote it.
    """
    path = root / ZARR / "zarr.json"
    if not path.exists():
        if root.is_file() or (root.is_dir() and {p.name for p in root.iterdir()} - {ZARR, LEDGER}):
            raise StoreError(f"{root} is not an ldmscene store and not empty; name another place")
        return None
    try:
        attributes = json.loads(path.read_text())["attributes"]
        version = attributes["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"{path} is damaged ({error!r}); it must hold the store's attributes as JSON") from error
    if version > FORMAT:
        raise StoreError(
            f"{root} has store format {version}, this ldmscene reads up to {FORMAT}; it was written by ldmscene "
            f"{attributes.get('ldmscene')}, which reads it"
        )
    return attributes


def declare(root: Path, specs: list[ArraySpec], samples: int) -> None:
    """Make the arrays exist with `samples` rows, or grow them; nothing is written to their chunks."""
    group = zarr.open_group(root / ZARR, mode="r+", zarr_format=3)
    there = arrays(root)
    with naming_the_cause(root):
        for spec in specs:
            if spec.path in there:
                _check_same(there[spec.path], spec)
            else:
                _create(group, spec, samples)
        for path, array in there.items():  # all of them, since they share the axis
            if array.shape[0] < samples:
                _array(group, path).resize((samples, *array.shape[1:]))
        _make_durable(root / ZARR)


def _create(group: zarr.Group, spec: ArraySpec, samples: int) -> None:
    parent, _, name = spec.path.rpartition("/")
    holder = group.require_group(parent) if parent else group
    layout = spec.layout
    holder.create_array(
        name,
        shape=(samples, *spec.shape),
        chunks=(1, *layout.chunk),
        shards=(1, *spec.shape),
        dtype=spec.dtype,
        fill_value=np.nan if np.dtype(spec.dtype).kind == "f" else 0,
        compressors=[Crc32cCodec()],
        filters=[],
        dimension_names=("sample", *spec.dims),
        attributes=spec.attributes,
    )


def _make_durable(folder: Path) -> None:
    """Metadata that Zarr wrote must survive a power cut as well as the shards that it describes."""
    for path in folder.rglob("zarr.json"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        sync_folder(path.parent)


def _check_same(array: zarr.Array, spec: ArraySpec) -> None:
    if array.shape[1:] != spec.shape or array.dtype != np.dtype(spec.dtype):
        raise StoreError(f"{spec.path} holds {array.dtype} {array.shape[1:]}, not {spec.dtype} {spec.shape}")
    if spec.attributes and dict(array.attrs) != spec.attributes:
        raise StoreError(
            f"{spec.path} was made by {dict(array.attrs)}, not {spec.attributes}; "
            "name the target differently or use a new store"
        )


def write_coordinates(root: Path, steps: list[float], branches: tuple[str, ...], samples: int) -> None:
    """Integer coordinates beside the arrays, so that other readers can label their axes."""
    group = zarr.open_group(root / ZARR, mode="r+", zarr_format=3)
    codes = [BRANCHES.index(branch) for branch in branches]
    coordinates: list[tuple[str, str, np.ndarray, dict[str, Any]]] = [
        ("sample", "sample", np.arange(samples), {"long_name": "row of manifest.parquet"}),
        ("step", "step", np.arange(len(steps)), {"long_name": "index of the denoiser call"}),
        ("timestep", "step", np.array(steps, np.float64), {"long_name": "timestep given to the denoiser"}),
        ("branch", "branch", np.array(codes), {"flag_values": [0, 1], "flag_meanings": " ".join(BRANCHES)}),
    ]
    with naming_the_cause(root):
        for name, dim, values, attributes in coordinates:
            group.create_array(
                name, data=values, dimension_names=(dim,), attributes=attributes, compressors=None, overwrite=True
            )


def arrays(root: Path) -> dict[str, zarr.Array]:
    """Every sharded array of the hierarchy, by path."""
    group = zarr.open_group(root / ZARR, mode="r", zarr_format=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # files that aren't Zarr's, such as those being written
        members = dict(group.members(max_depth=None))
    return {path: node for path, node in members.items() if isinstance(node, zarr.Array) and node.shards}


def shard_file(root: Path, path: str, index: int, axes: int) -> Path:
    """The file of one sample's shard; `axes` counts those behind `sample`."""
    return root.joinpath(ZARR, path, "c", str(index), *["0"] * axes)


def _array(group: zarr.Group, path: str) -> zarr.Array:
    node = group[path]
    assert isinstance(node, zarr.Array)
    return node
