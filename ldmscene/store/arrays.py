"""Zarr v3's document of one array, written from an `ArraySpec` and parsed into one.

Only what ldmscene writes is understood: one shard for each sample, inner chunks with a crc32c, uncompressed or through
blosc (Zarr v3 core specification; sharding codec 1.0).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ldmscene.store import parse
from ldmscene.store.layout import ArraySpec, Key
from ldmscene.store.parse import member, record, wrong

DTYPES = ("uint8", "float16", "float32", "float64")
MOST_BYTES = 2**34  # of one sample of an array; the largest known take 2.5 GB
MOST_CHUNK = 2**31 - 17  # what blosc can hold
MOST_CHUNKS = 2**18
TOLD = 2  # differences that a message names
CHOICES = ("metric",)  # attributes that say how numbers are used, rather than where they come from: they may change
_AXIS = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")
_LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
_CRC = {"name": "crc32c"}
# Axes behind `sample`, where other code relies on them; of more than one way, each.
_DIMS: dict[str, tuple[tuple[str, ...], ...]] = {
    "image": (("Y", "X", "rgb"),),
    "previews": (("step", "Y", "X", "rgb"),),
    "labels": (("Y", "X"),),
    "predictions": (("class",),),
    "intermediate": (("step", "Y", "X"), ("step", "class")),
}
_PICTURES = ("image", "previews")
_KINDS = ("continuous", "binary", "classes", "classification")  # of labels


def write(spec: ArraySpec, samples: int) -> bytes:
    """The document of an array with a row for each sample."""
    dtype = np.dtype(spec.dtype)
    plain = _LITTLE if dtype.itemsize > 1 else {"name": "bytes"}
    blosc = {"typesize": dtype.itemsize, "cname": "lz4", "clevel": 5, "shuffle": "bitshuffle", "blocksize": 0}
    inside = [plain, {"name": "blosc", "configuration": blosc}, _CRC] if spec.compressed else [plain, _CRC]
    sharding = {
        "chunk_shape": [1, *spec.layout.chunk],
        "codecs": inside,
        "index_codecs": [_LITTLE, _CRC],
        "index_location": "end",
    }
    document = {
        "shape": [samples, *spec.shape],
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, *spec.shape]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},  # one folder: one fsync each
        "fill_value": "NaN" if dtype.kind == "f" else 0,
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "attributes": spec.attributes,
        "dimension_names": ["sample", *spec.dims],
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }
    return json.dumps(document, indent=2).encode()


def read(path: Key, data: bytes, where: str) -> tuple[int, ArraySpec]:
    """How many samples an array has rows for, and what it is for each of them.

    Raises
    ------
    CorruptError
        If the document isn't one of ours, or the array is larger than any can be.
    """
    found = parse.document(data, where)
    parse.one_of(member(found, "node_type", where), f"{where}, node_type", ("array",))
    samples, *lengths = parse.items(member(found, "shape", where), f"{where}, shape", _length) or (0,)
    dims = parse.items(member(found, "dimension_names", where), f"{where}, dimension_names", _axis)
    if len(parse.distinct(dims, where)) != len(lengths) + 1 or dims[0] != "sample":
        raise wrong(f"{where}, dimension_names", "sample, then a name for each axis", ", ".join(dims))
    dtype = parse.one_of(member(found, "data_type", where), f"{where}, data_type", DTYPES)
    chunk, compressed = _encoding(found, (1, *lengths), dtype, where)
    cut = next((i for i, (c, n) in enumerate(zip(chunk[1:], lengths, strict=True)) if c != 1), len(lengths))
    attributes = record(found.get("attributes", {}), f"{where}, attributes")
    spec = ArraySpec(path, dims[1:], tuple(lengths), dtype, cut, attributes, compressed)
    if chunk[1:] != spec.layout.chunk:
        raise wrong(f"{where}, chunks", "1 along leading axes and whole along the others", str(chunk))
    _check_size(spec, where)
    _check_meaning(spec, where)
    return samples, spec


def _length(value: object, where: str) -> int:
    return parse.whole(value, where, 1)


def _axis(value: object, where: str) -> str:
    return parse.text(value, where, _AXIS)


def _encoding(found: dict[str, Any], shard: tuple[int, ...], dtype: str, where: str) -> tuple[tuple[int, ...], bool]:
    """The inner chunk of an array, and whether it is compressed."""
    grid = _named(member(found, "chunk_grid", where), "regular", f"{where}, chunk_grid")
    if parse.items(member(grid, "chunk_shape", where), f"{where}, chunk_grid", _length) != shard:
        raise wrong(f"{where}, chunk_grid", f"a shard of one sample, {shard}", "another")
    names = _named(member(found, "chunk_key_encoding", where), "default", f"{where}, chunk_key_encoding")
    parse.one_of(names.get("separator", "/"), f"{where}, separator", (".",))
    codecs = parse.items(member(found, "codecs", where), f"{where}, codecs", record)
    if len(codecs) != 1:
        raise wrong(f"{where}, codecs", "sharding alone", f"{len(codecs)} codecs")
    sharding = _named(codecs[0], "sharding_indexed", f"{where}, codecs")
    parse.one_of(sharding.get("index_location", "end"), f"{where}, index_location", ("end",))
    index = parse.items(member(sharding, "index_codecs", where), f"{where}, index_codecs", record)
    inside = parse.items(member(sharding, "codecs", where), f"{where}, codecs", record)
    compressed = len(inside) == 3
    wanted = ["bytes", "blosc", "crc32c"] if compressed else ["bytes", "crc32c"]
    if [one.get("name") for one in inside] != wanted or [one.get("name") for one in index] != ["bytes", "crc32c"]:
        raise wrong(f"{where}, codecs", "bytes, perhaps blosc, and crc32c", "others")
    for one in (inside[0], index[0]):
        parse.one_of(_configuration(one, where).get("endian", "little"), f"{where}, endian", ("little",))
    return parse.items(member(sharding, "chunk_shape", where), f"{where}, chunk_shape", _length), compressed


def _named(value: object, name: str, where: str) -> dict[str, Any]:
    """The configuration of what must be called so."""
    found = record(value, where)
    parse.one_of(member(found, "name", where), where, (name,))
    return _configuration(found, where)


def _configuration(value: Mapping[str, Any], where: str) -> dict[str, Any]:
    return record(value.get("configuration", {}), where)


def _check_size(spec: ArraySpec, where: str) -> None:
    """Refuse what no sample can be, before anybody reserves memory for it."""
    size = np.dtype(spec.dtype).itemsize
    if math.prod(spec.shape) * size > MOST_BYTES or math.prod(spec.layout.chunk) * size > MOST_CHUNK:
        raise wrong(f"{where}, shape", f"at most {MOST_BYTES} bytes a sample", str(spec.shape))
    if math.prod(spec.layout.counts) > MOST_CHUNKS:
        raise wrong(f"{where}, chunks", f"at most {MOST_CHUNKS} a sample", str(math.prod(spec.layout.counts)))


def _check_meaning(spec: ArraySpec, where: str) -> None:
    """Refuse axes and attributes on which other code would stumble."""
    kind = spec.path.kind
    if kind in _DIMS and spec.dims not in _DIMS[kind]:
        raise wrong(f"{where}, dimension_names", " or ".join(map(str, _DIMS[kind])), str(spec.dims))
    if kind == "activations":
        _check_activations(spec, where)
    if kind == "latents" and spec.dims[:1] != ("step",):
        raise wrong(f"{where}, dimension_names", "step first", str(spec.dims))
    if kind in _PICTURES and (spec.dtype != "uint8" or spec.shape[-1] != 3):
        raise wrong(where, "pictures of three bytes a pixel", f"{spec.dtype} {spec.shape}")
    if spec.path.target:
        _check_labels(spec, where)


def _check_activations(spec: ArraySpec, where: str) -> None:
    leading = tuple(axis for axis in ("step", "branch") if axis in spec.dims)
    if spec.dims[: len(leading)] != leading or len(spec.dims) == len(leading):
        raise wrong(f"{where}, dimension_names", "step and branch, where it has these, …, channel", str(spec.dims))
    if "step" not in leading:
        parse.whole(member(spec.attributes, "step", where), f"{where}, step", 0)


def _check_labels(spec: ArraySpec, where: str) -> None:
    said = spec.attributes
    kind = parse.one_of(said.get("kind", "continuous"), f"{where}, kind", _KINDS)
    if "metric" in said:
        parse.text(said["metric"], f"{where}, metric")
    if said.get("threshold") is not None:
        parse.number(said["threshold"], f"{where}, threshold")
    if (kind == "classification") != (spec.dims[-1] == "class"):
        raise wrong(f"{where}, kind", "classification where the last axis is `class`", kind)
    if kind == "classification":
        names = parse.items(member(said, "classes", where), f"{where}, classes", parse.text)
        if len(names) != spec.shape[-1]:
            raise wrong(f"{where}, classes", f"{spec.shape[-1]} names", f"{len(names)}")


def same_origin(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether attributes say the same of where an array's numbers come from."""
    mine, theirs = ({n: v for n, v in one.items() if n not in CHOICES} for one in (first, second))
    return mine == theirs


def _differing(there: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys((*there, *now)):
        if name not in CHOICES and there.get(name) != now.get(name):
            yield f"{name} {there.get(name)!r} there, {now.get(name)!r} now"


def with_choices(there: ArraySpec, asked: ArraySpec) -> ArraySpec:
    """An array that is there, its numbers to be used as it is asked now."""
    chosen = {name: value for name, value in asked.attributes.items() if name in CHOICES}
    return replace(there, attributes=there.attributes | chosen)


def check_same(there: ArraySpec, spec: ArraySpec) -> str | None:
    """Why an array that is there can't take what is to be written; None where it can."""
    if ("step" in there.dims) != ("step" in spec.dims):
        ours, theirs = ("every step" if "step" in one.dims else "its last step alone" for one in (there, spec))
        return f"holds {ours}, not {theirs}; ask for previews of all samples where they are stored, and only there"
    if (there.shape, there.dtype) != (spec.shape, spec.dtype):
        return f"holds {there.dtype} {there.shape}, not {spec.dtype} {spec.shape}"
    if spec.attributes and not same_origin(there.attributes, spec.attributes):
        differs = [*_differing(there.attributes, spec.attributes)]
        more = f" and {len(differs) - TOLD} more" if len(differs) > TOLD else ""
        return f"was made otherwise: {', '.join(differs[:TOLD])}{more}; name the target differently or use a new store"
    if there.layout != spec.layout:
        return "is encoded in another way than it would be now; use a new store"
    return None
