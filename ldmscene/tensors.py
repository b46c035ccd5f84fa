"""Arrays in a file of a named format: safetensors with JSON in their header, never a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ldmscene.array_types import Array
from ldmscene.errors import InputError


@dataclass(frozen=True)
class Format:
    """Of files that hold one kind of thing."""

    key: str
    """what they hold, in a word: the header's entry for the metadata"""
    version: int = 1

    @property
    def name(self) -> str:
        return f"ldmscene-{self.key}-{self.version}"

    def write(self, path: str | PathLike[str], tensors: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
        """Write tensors and JSON-able metadata to one file."""
        arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
        save_file(arrays, Path(path), metadata={"format": self.name, self.key: json.dumps(meta, sort_keys=True)})

    def read(self, path: str | PathLike[str]) -> tuple[dict[str, Array], dict[str, Any]]:
        """Tensors and metadata of a file from `write`; InputError if it is something else."""
        if not Path(path).is_file():
            raise InputError(f"path: no file at {path}")
        try:
            with safe_open(Path(path), framework="numpy") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise InputError(f"path: {path} is no safetensors file ({error})") from error
        if header.get("format") != self.name:
            found = header.get("format")
            raise InputError(f"path: expected format {self.name} (a saved {self.key}), got {found!r} in {path}")
        return tensors, json.loads(header[self.key])
