"""Every document of a store, admitted once: its path, its form and its sizes; afterwards they are trusted.

What a stranger's store says comes in here and nowhere else. `schema.json` beside this file says the same for others.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, get_args

import numpy as np

from ldmscene.choices import Compression
from ldmscene.errors import StoreError
from ldmscene.manifest import Manifest
from ldmscene.store import arrays, manifests, parse
from ldmscene.store.layout import (
    BRANCHES,
    CANARY,
    CONTROLS,
    FORMAT,
    IMAGE,
    MANIFEST,
    READABLE,
    ROOT,
    TERMS,
    ZARR,
    ArraySpec,
    Key,
    is_document,
    is_key,
    is_target,
)  # fmt: skip
from ldmscene.store.parse import member, record, wrong

Documents = dict[str, bytes]  # by path in the store

MOST_STEPS = 10_000
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")
_CONTROL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:=+-]{0,99}")


class Attributes(TypedDict):
    """The root group's attributes, which `schema.json` describes."""

    format: int
    ldmscene: str
    fingerprint: str
    config: dict[str, Any]
    details: dict[str, dict[str, Any]]
    made_with: list[dict[str, str]]
    compression: str
    model: str
    modules: list[str]
    segments: list[int]


@dataclass(frozen=True)
class Contents:
    """What a store's documents say."""

    attributes: Attributes
    manifest: Manifest
    timesteps: tuple[float, ...]
    terms: dict[str, Any] | None
    canary: dict[str, Any] | None
    """what the model answered when the store was begun"""
    controls: tuple[str, ...]
    """of an edited store: the names of its controls"""
    arrays: Mapping[Key, ArraySpec]

    @property
    def sample_ids(self) -> list[str]:
        """By row of the manifest, which are those of every array."""
        ids: list[str] = self.manifest.table["sample_id"].to_pylist()
        return ids


def admit(documents: Documents) -> Contents:
    """Parse all documents of a store, and hold them against each other.

    Raises
    ------
    StoreError
        If a newer ldmscene wrote them.
    CorruptError
        If one is missing, or isn't what the schema says.
    """
    attributes = _attributes(documents)
    for path in documents:
        if not is_document(path):
            raise wrong("a publication", "paths of documents that a store has", path)
    _required(documents, MANIFEST)
    manifest = manifests.read(documents)
    contents = Contents(
        attributes,
        manifest,
        _timesteps(documents),
        _terms(documents[TERMS]) if TERMS in documents else None,
        _canary(documents[CANARY]) if CANARY in documents else None,
        _controls(documents.get(CONTROLS, b"[]")),
        dict(_array(documents, path, len(manifest)) for path in _array_paths(documents)),
    )
    _check_together(contents)
    return contents


def _required(documents: Documents, path: str) -> bytes:
    if path not in documents:
        raise wrong("the publications", f"a document {path}", "none")
    return documents[path]


def _attributes(documents: Documents) -> Attributes:
    root = parse.document(_required(documents, ROOT), ROOT)
    found = record(member(root, "attributes", ROOT), f"{ROOT}, attributes")
    number = parse.whole(member(found, "format", ROOT), f"{ROOT}, format", 1)
    if number > FORMAT:
        raise StoreError(
            f"the store has format {number}, this ldmscene reads up to {FORMAT}; it was written by "
            f"ldmscene {found.get('ldmscene')}, which reads it"
        )
    parse.one_of(number, f"{ROOT}, format", READABLE)
    shapes: dict[str, Callable[[object, str], object]] = {
        "ldmscene": parse.text,
        "fingerprint": lambda value, where: parse.text(value, where, _FINGERPRINT),
        "config": _config,
        "details": lambda value, where: [record(one, where) for one in record(value, where).values()],
        "made_with": lambda value, where: parse.items(value, where, _texts),
        "compression": lambda value, where: parse.one_of(value, where, get_args(Compression)),
        "model": parse.text,
        "modules": lambda value, where: parse.distinct(parse.items(value, where, _module), where),
        "segments": lambda value, where: parse.distinct(parse.items(value, where, _segment), where),
    }
    for name, check in shapes.items():
        check(member(found, name, ROOT), f"{ROOT}, {name}")
    return found  # type: ignore[return-value]


def _config(value: object, where: str) -> None:
    config = record(value, where)
    branches = parse.items(member(config, "branches", where), where, lambda one, at: parse.one_of(one, at, BRANCHES))
    if not parse.distinct(branches, where):
        raise wrong(where, "at least one branch", "none")
    if "pipeline" in config:
        parse.text(config["pipeline"], f"{where}, pipeline")


def _texts(value: object, where: str) -> None:
    for one in record(value, where).values():
        parse.text(one, where)


def _module(value: object, where: str) -> str:
    name = parse.text(value, where)
    if not is_key(f"activations/{name}/activation"):
        raise wrong(where, "a module's dotted name", name)
    return name


def _segment(value: object, where: str) -> int:
    return parse.whole(value, where, 1)


def of_this_format(documents: Documents) -> Documents:
    """Documents of any readable format, brought to the format that this version writes."""
    if ROOT not in documents:
        return documents
    root = parse.document(documents[ROOT], ROOT)
    attributes = record(member(root, "attributes", ROOT), f"{ROOT}, attributes")
    if attributes.get("format") not in READABLE or attributes["format"] == FORMAT:
        return documents
    newer = root | {"attributes": attributes | {"format": FORMAT}}
    return documents | {ROOT: json.dumps(newer, indent=2).encode()}


def _timesteps(documents: Documents) -> tuple[float, ...]:
    where = f"{ZARR}/timestep/zarr.json"
    found = parse.document(_required(documents, where), where)
    parse.one_of(found.get("data_type"), f"{where}, data_type", ("float64",))
    lengths = parse.items(
        member(found, "shape", where), f"{where}, shape", lambda v, at: parse.whole(v, at, 1, MOST_STEPS)
    )
    if len(lengths) != 1:
        raise wrong(f"{where}, shape", "one axis", str(lengths))
    data = documents.get(f"{ZARR}/timestep/c/0", bytes(8 * lengths[0]))  # Zarr leaves out what is zero altogether
    if len(data) != 8 * lengths[0]:
        raise wrong(f"{where}, shape", f"{len(data) // 8} steps, as there are timesteps", lengths[0])
    values = np.frombuffer(data, "<f8").tolist()
    if not all(map(math.isfinite, values)):
        raise wrong(where, "numbers", "NaN or infinity")
    return tuple(values)


def _terms(data: bytes) -> dict[str, Any]:
    found = parse.document(data, TERMS)
    parse.whole(member(found, "cv", TERMS), f"{TERMS}, cv", 2)
    targets = parse.items(member(found, "targets", TERMS), f"{TERMS}, targets", parse.text)
    for target in parse.distinct(targets, TERMS):
        if not is_target(target):
            raise wrong(f"{TERMS}, targets", "names of targets", target)
    return found


def _canary(data: bytes) -> dict[str, Any]:
    found = parse.document(data, CANARY)
    parse.text(member(found, "device", CANARY), f"{CANARY}, device")
    for name, sketch in record(member(found, "answers", CANARY), f"{CANARY}, answers").items():
        parse.items(sketch, f"{CANARY}, {name}", _number_or_none)
    return found


def _number_or_none(value: object, where: str) -> None:
    if value is not None:  # infinity and NaN, which JSON lacks
        parse.number(value, where)


def _controls(data: bytes) -> tuple[str, ...]:
    def named(value: object, where: str) -> str:
        return parse.text(value, where, _CONTROL)

    return parse.distinct(parse.items(parse.any_document(data, CONTROLS), CONTROLS, named), CONTROLS)


def _array_paths(documents: Documents) -> list[Key]:
    nodes = [path.removeprefix(f"{ZARR}/").removesuffix("/zarr.json") for path in documents]
    return [Key(node) for node, path in zip(nodes, documents, strict=True) if is_key(node) and path.endswith(".json")]


def _array(documents: Documents, path: Key, samples: int) -> tuple[Key, ArraySpec]:
    where = f"{ZARR}/{path}/zarr.json"
    rows, spec = arrays.read(path, documents[where], where)
    if rows != samples:
        raise wrong(f"{where}, shape", f"{samples} samples, as the manifest has", rows)
    return path, spec


def _check_together(contents: Contents) -> None:
    """Refuse arrays that don't fit each other."""
    known = {"step": len(contents.timesteps), "branch": len(contents.attributes["config"]["branches"])}
    if IMAGE in contents.arrays:
        known |= dict(zip(("Y", "X"), contents.arrays[IMAGE].shape, strict=False))
    for path, spec in contents.arrays.items():
        for dim, length in zip(spec.dims, spec.shape, strict=True):
            if known.get(dim, length) != length:
                raise wrong(f"{ZARR}/{path}/zarr.json, shape", f"{known[dim]} along {dim}", length)
        if path.kind == "activations" and "step" not in spec.dims and spec.attributes["step"] >= known["step"]:
            raise wrong(f"{ZARR}/{path}/zarr.json, step", f"a step below {known['step']}", spec.attributes["step"])
    segments = contents.attributes["segments"]
    if segments != sorted(segments) or segments[-1:] != [len(contents.manifest)]:
        raise wrong(f"{ROOT}, segments", f"ascending numbers up to {len(contents.manifest)}", str(segments[:20]))
