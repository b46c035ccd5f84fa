"""What was computed from a store, under the name of what it was computed from.

A key holds all that the arrays depend on, be it the version of what computes them; nothing here counts versions.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from google_crc32c import extend as crc32c
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ldmscene.errors import CorruptError, LdmsceneError, WriteError
from ldmscene.store import grids
from ldmscene.store.disk import Disk
from ldmscene.store.fingerprints import fingerprint
from ldmscene.store.inventory import Inventory
from ldmscene.store.layout import PROBES
from ldmscene.store.locations import File, Location, files_with, location
from ldmscene.store.places import Place
from ldmscene.store.recent import Recent

STATISTICS, README = "statistics", "README"
_CHECKSUM = "crc32c"
MOST = 2**32  # bytes of a file; the largest known takes 0.2 GB
OFTEN = 2**24  # bytes in memory of what is read again and again: the labels of small stores
_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Cache:
    """Arrays in files whose names are hashes of all that the arrays depend on: such a file is right, or absent.

    Which there are is looked up once for each kind; what others add later is computed once more.
    """

    location: Location
    elsewhere: Location | None = None
    """one that is read, too, and never written"""
    _listed: dict[tuple[str, str], set[str]] = field(default_factory=dict, compare=False, repr=False)
    _often: Recent = field(default_factory=lambda: Recent(OFTEN), compare=False, repr=False)

    @classmethod
    def beside(cls, root: str | Place | Location) -> Cache:
        """In a store's own folder, or in a temporary one where the store can't be written to."""
        own = location(root)
        try:
            for made in (STATISTICS, PROBES):
                own.sweep(made)
            own.write(
                f"{STATISTICS}/{README}",
                b"Computed from this store, and computed again where it is missing, unless its samples were dropped.\n",
            )
        except WriteError as error:
            warnings.warn(f"new statistics aren't cached, so that they are computed again: {error}", stacklevel=4)
            temporary = Path(tempfile.mkdtemp(prefix="ldmscene-"))
            atexit.register(shutil.rmtree, temporary, ignore_errors=True)
            return cls(Disk(temporary), elsewhere=own)
        return cls(own)

    def has(self, kind: str, key: object) -> bool:
        """Whether there is a file of this key, as far as is known."""
        return self._where(kind, _name(kind, key)) is not None

    def write(self, kind: str, key: object, arrays: Mapping[str, np.ndarray]) -> None:
        tensors = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        name = _name(kind, key)
        self.location.write(name, save(tensors, {_CHECKSUM: str(_checksum(tensors))}))
        self._names(self.location, kind).add(name)

    def remove(self, kind: str, key: object) -> None:
        name = _name(kind, key)
        self.location.delete(name)
        self._names(self.location, kind).discard(name)

    def read(self, kind: str, key: object, *, often: bool = False) -> dict[str, np.ndarray]:
        """What `write` got under this key; what is read `often` stays in memory, while there is room.

        Raises
        ------
        CorruptError
            If there is nothing, or the bytes aren't those that were written.
        """
        name = _name(kind, key)
        known: dict[str, np.ndarray] | None = self._often.get(name) if often else None
        if known is not None:
            return known
        file = File(self._where(kind, name) or self.location, name)
        try:
            tensors = _decode(file.read(MOST))
        except FileNotFoundError as error:
            raise CorruptError(f"{file} is gone; run the same command again") from error
        if tensors is None:
            raise CorruptError(
                f"{file} was damaged after it was written; delete it and run the same command again, behind the same "
                "`extract` where it stands in for dropped activations"
            )
        if often:
            self._often.put(name, tensors, sum(array.nbytes for array in tensors.values()))
        return tensors

    def _where(self, kind: str, name: str) -> Location | None:
        """Where there is a file of this name; None where there is none."""
        places = (self.location, self.elsewhere)
        return next((one for one in places if one is not None and name in self._names(one, kind)), None)

    def _names(self, where: Location, kind: str) -> set[str]:
        place = str(where.root), kind
        if place not in self._listed:
            self._listed[place] = set(files_with(where, f"{STATISTICS}/{kind}", _SUFFIX))
        return self._listed[place]


@contextmanager
def doubting(*stores: Inventory) -> Iterator[None]:
    """Blame stores' statistics where work on arrays fails that found some there.

    A file says what it was computed from, and not that it was: somebody may have put other arrays under its name.

    Raises
    ------
    CorruptError
        Instead of what arrays of other names, shapes or values may cause; the lack of memory is no such thing. Not
        where no store had statistics before.
    """
    found = [store for store in stores if store.location.names(STATISTICS)[1]]
    try:
        yield
    except (LookupError, ValueError, TypeError, ArithmeticError) as error:
        if isinstance(error, LdmsceneError) or not found:
            raise
        raise CorruptError(
            f"the statistics in {' or in '.join(f'{store.root}/{STATISTICS}' for store in found)} can't be used "
            f"({type(error).__name__}: {str(error)[:80]}); delete that folder and run the same command again"
            f"{_lost(found)}"
        ) from error


def _lost(stores: Sequence[Inventory]) -> str:
    """What goes with the statistics of stores that hold them instead of activations."""
    if not (alone := [str(store.root) for store in stores if store.terms is not None]):
        return ""
    return (
        f"; for {' and '.join(alone)} run the same `extract` in between: its statistics stand in for activations that "
        "were dropped, and those samples are generated once more"
    )


def _name(kind: str, key: object) -> str:
    return f"{STATISTICS}/{kind}/{fingerprint({'key': key})}{_SUFFIX}"


def damaged(where: Location) -> list[str]:
    """Keys of a store's statistics and grids whose bytes aren't those that were written."""
    kinds = where.names(STATISTICS)[1]
    keys = [key for kind in kinds for key in files_with(where, f"{STATISTICS}/{kind}", _SUFFIX)]
    return [key for key in (*keys, *files_with(where, PROBES, ".nc")) if not _sound(where, key)]


def _sound(where: Location, key: str) -> bool:
    try:
        data = where.read(key, MOST)
        if key.endswith(".nc"):
            grids.read(data, key)
    except FileNotFoundError:  # replaced by something newer just now
        return True
    except CorruptError:
        return False
    return key.endswith(".nc") or _decode(data) is not None


def _decode(data: bytes) -> dict[str, np.ndarray] | None:
    """The arrays of a file; None if it was damaged."""
    try:
        tensors = load(data)
        size = int.from_bytes(data[:8], "little")
        sound = json.loads(data[8 : 8 + size])["__metadata__"][_CHECKSUM] == str(_checksum(tensors))
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError):
        return None
    return tensors if sound else None


def _checksum(tensors: Mapping[str, np.ndarray]) -> int:
    whole = 0
    for name, array in sorted(tensors.items()):
        whole = crc32c(whole, f"{name} {array.dtype.str} {array.shape}".encode())
        whole = crc32c(whole, array.tobytes())
    return whole
