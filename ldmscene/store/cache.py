"""What was computed from a store, under the name of what it was computed from.

A key holds all that the arrays depend on, be it the version of what computes them; nothing here counts versions.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from google_crc32c import extend as crc32c
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ldmscene.errors import CorruptError, WriteError
from ldmscene.store.files import remove_leftovers, write_file
from ldmscene.store.layout import PROBES
from ldmscene.store.places import Place, files_in
from ldmscene.store.prepare import fingerprint
from ldmscene.store.seal import unseal

STATISTICS, README = "statistics", "README"
_CHECKSUM = "crc32c"


@dataclass(frozen=True)
class Cache:
    """Arrays in files whose names are hashes of all that the arrays depend on: such a file is right, or absent."""

    folder: Place
    elsewhere: Place | None = None
    """a folder that is read, too, and never written"""

    @classmethod
    def beside(cls, root: Place) -> Cache:
        """In a store's own folder, or in a temporary one where the store can't be written to."""
        folder: Place = root / STATISTICS
        for made in (folder, root / PROBES):
            remove_leftovers(made)
        try:
            write_file(
                folder / README,
                b"Computed from this store, and computed again where it is missing, unless its samples were dropped.\n",
            )
        except WriteError as error:
            warnings.warn(f"new statistics aren't kept, so that they are computed again: {error}", stacklevel=4)
            own = Path(tempfile.mkdtemp(prefix="ldmscene-"))
            atexit.register(shutil.rmtree, own, ignore_errors=True)
            return cls(own, elsewhere=folder)
        return cls(folder)

    def has(self, kind: str, key: object) -> bool:
        return self._found(kind, key).exists()

    def write(self, kind: str, key: object, arrays: Mapping[str, np.ndarray]) -> None:
        tensors = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        write_file(self._file(kind, key), save(tensors, {_CHECKSUM: str(_checksum(tensors))}))

    def remove(self, kind: str, key: object) -> None:
        self._file(kind, key).unlink(missing_ok=True)

    def read(self, kind: str, key: object) -> dict[str, np.ndarray]:
        """What `write` got under this key.

        Raises
        ------
        CorruptError
            If there is nothing, or the bytes aren't those that were written.
        """
        path = self._found(kind, key)
        try:
            tensors = _decode(path.read_bytes())
        except FileNotFoundError as error:
            raise CorruptError(f"{path} is gone; run the same command again") from error
        if tensors is None:
            raise CorruptError(f"{path} was damaged after it was written; delete it and run the same command again")
        return tensors

    def _file(self, kind: str, key: object) -> Place:
        return self.folder / _name(kind, key)

    def _found(self, kind: str, key: object) -> Place:
        own = self._file(kind, key)
        return own if self.elsewhere is None or own.exists() else self.elsewhere / _name(kind, key)


def _name(kind: str, key: object) -> str:
    return f"{kind}/{fingerprint({'key': key})}.safetensors"


def damaged(root: Place) -> list[str]:
    """Files of a store's statistics and grids whose bytes aren't those that were written, relative to the store."""
    kinds = [kind for kind in (root / STATISTICS).glob("*") if kind.name != README]
    files = [(f"{STATISTICS}/{kind.name}", path) for kind in kinds for path in files_in(kind, ".safetensors")]
    files += [(PROBES, path) for path in files_in(root / PROBES, ".nc")]
    return [f"{folder}/{path.name}" for folder, path in files if not _sound(path)]


def _sound(path: Place) -> bool:
    try:
        data = path.read_bytes()
    except FileNotFoundError:  # replaced by something newer just now
        return True
    return (unseal if path.name.endswith(".nc") else _decode)(data) is not None


def _decode(data: bytes) -> dict[str, np.ndarray] | None:
    """The arrays of a file; None if it was damaged."""
    try:
        tensors = load(data)
        size = int.from_bytes(data[:8], "little")
        sound = json.loads(data[8 : 8 + size])["__metadata__"][_CHECKSUM] == str(_checksum(tensors))
    except (SafetensorError, KeyError, ValueError):
        return None
    return tensors if sound else None


def _checksum(tensors: Mapping[str, np.ndarray]) -> int:
    whole = 0
    for name, array in sorted(tensors.items()):
        whole = crc32c(whole, f"{name} {array.dtype.str} {array.shape}".encode())
        whole = crc32c(whole, array.tobytes())
    return whole
