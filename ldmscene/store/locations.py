"""What a store needs of the disk or object store that it lies on: one protocol, and what gives it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from ldmscene.errors import InputError
from ldmscene.store.bucket import Bucket
from ldmscene.store.disk import Disk
from ldmscene.store.limits import MOST
from ldmscene.store.objects import ObjectPath
from ldmscene.store.places import Place, place

T = TypeVar("T")
R = TypeVar("R")
Buffer = Any  # what can be written into: bytearray, memoryview, numpy array


class Opened(Protocol):
    """A file or object that is open for reading."""

    @property
    def size(self) -> int: ...

    def tail(self, length: int) -> bytes:
        """The last bytes; fewer where there are fewer."""

    def fill(self, wanted: Sequence[tuple[int, Sequence[Buffer]]]) -> Any:
        """Fill the buffers of each (offset, buffers), one behind the other; yields the bytes read for each in turn."""


@runtime_checkable
class Location(Protocol):
    """A folder, or a prefix in an object store, and what lies below it by key: a path with slashes.

    Only regular files below the root are ever read or written, and no link below it is followed. What is written is
    durable when the call returns, and whole or absent at every moment.
    """

    @property
    def root(self) -> Place: ...

    def read(self, key: str, most: int = MOST) -> bytes:
        """All bytes; FileNotFoundError where there is nothing, CorruptError of more than `most` or of no file."""

    def each(self, keys: Sequence[str], soon: Sequence[tuple[int, int]], work: Callable[[int, Opened], None]) -> None:
        """Call `work` with each file's number and the file, as many at once as is good; `soon` tells which ranges."""

    def write(self, key: str, data: bytes) -> None:
        """WriteError where that fails."""

    def create(self, key: str, data: bytes) -> bool:
        """Write unless there is something; returns whether the key holds these bytes now.

        Of several processes that create different bytes at once, exactly one is told so.
        """

    def check_creates(self, folder: str) -> None:
        """WriteError where `create` doesn't keep its word in a folder; asked once, before a store is made."""

    def side_by_side(self, work: Callable[[T], R], items: Collection[T]) -> list[R]:
        """What `work` makes of each item, in order; as many at once as is good."""

    def exists(self, key: str) -> bool:
        """Whether there is a file or object of this key."""

    def names(self, folder: str = "") -> tuple[list[str], list[str]]:
        """Files directly in a folder and what else is there, each in order; none where there is no folder.

        On an object store these others are prefixes alone, on a disk also links and devices.
        """

    def versions(self, folder: str) -> dict[str, str | None]:
        """Files directly in a folder, each with a text that is another where its bytes are; None where nobody knows."""

    def delete(self, *keys: str) -> None:
        """Nothing happens where there is nothing."""

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of the files in a folder and those below it, by key."""

    def free(self) -> int | None:
        """Bytes that can still be written; None where nobody knows."""

    def sweep(self, folder: str = "") -> int:
        """Delete what killed writers left half-written, and nobody else's; returns how many files that were."""


def location(where: str | Place | Location) -> Location:
    """A location by its address: a folder's path, `file://…`, `s3://bucket/prefix` or a `Place`; itself by itself.

    Raises
    ------
    InputError
        If the URL is of another kind, or `where` is something else.
    """
    if isinstance(where, Location):
        return where
    found = place(where)
    if isinstance(found, Path):
        return Disk(found.absolute())
    if isinstance(found, ObjectPath):
        return Bucket(found)
    raise InputError(f"a store's location is a folder, a URL or a Location; got {where!r}")


@dataclass(frozen=True)
class File:
    """One key of a location."""

    location: Location
    key: str

    def __str__(self) -> str:
        return f"{self.location.root}/{self.key}"

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]

    def exists(self) -> bool:
        return self.location.exists(self.key)

    def read(self, most: int = MOST) -> bytes:
        return self.location.read(self.key, most)

    def write(self, data: bytes) -> None:
        self.location.write(self.key, data)


def files_with(location: Location, folder: str, suffix: str) -> list[str]:
    """Keys of the files directly in a folder whose names end so, in order."""
    return [f"{folder}/{name}" for name in location.names(folder)[0] if name.endswith(suffix)]
