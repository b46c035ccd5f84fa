"""Fitted probes on disk: safetensors with their provenance, never a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ldmscene.errors import InputError

Array = np.ndarray

FORMAT = "ldmscene-probe-1"


def write_probe(path: str | PathLike[str], tensors: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
    """Write tensors and JSON-able metadata to one file."""
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    save_file(arrays, Path(path), metadata={"format": FORMAT, "probe": json.dumps(meta, sort_keys=True)})


def read_probe(path: str | PathLike[str]) -> tuple[dict[str, Array], dict[str, Any]]:
    """Tensors and metadata of a file from `write_probe`; InputError if it is something else."""
    if not Path(path).is_file():
        raise InputError(f"path: no file at {path}")
    try:
        with safe_open(Path(path), framework="numpy") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"path: {path} is no safetensors file ({error})") from error
    if header.get("format") != FORMAT:
        raise InputError(f"path: expected a probe ({FORMAT}), got format {header.get('format')!r} in {path}")
    return tensors, json.loads(header["probe"])


def jsonable(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that JSON can hold; explicit splits or splitters are left out."""
    kept = {}
    for name, value in params.items():
        plain = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
        try:
            kept[name] = json.loads(json.dumps(plain))
        except (TypeError, ValueError):
            continue
    return kept
