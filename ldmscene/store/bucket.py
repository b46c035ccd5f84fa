"""A store's objects in an S3-compatible object store."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from ldmscene.errors import CorruptError, UnreachableError, WriteError
from ldmscene.store.limits import MOST
from ldmscene.store.objects import NO_CONDITIONS, ObjectPath

T = TypeVar("T")
R = TypeVar("R")

REQUESTS = 16  # to an object store at once, each of which waits for the network


@dataclass(frozen=True)
class Bucket:
    """What lies below a prefix; see `Location`. A request writes an object whole or not at all, and durably."""

    root: ObjectPath

    def read(self, key: str, most: int = MOST) -> bytes:
        return (self.root / key).read_bytes(most)

    def each(self, keys: Sequence[str], soon: Sequence[tuple[int, int]], work: Callable[[int, _Object], None]) -> None:
        """Several at once. What isn't as it should be is read once more, since an answer may have been cut short."""

        def read(number: int) -> None:
            path = self.root / keys[number]
            try:
                work(number, _Object(path, _fetched(path, soon)))
            except CorruptError:
                work(number, _Object(path))

        self.side_by_side(read, range(len(keys)))

    def side_by_side(self, work: Callable[[T], R], items: Collection[T]) -> list[R]:
        """Many at once, since each waits for the network."""
        if not items:
            return []
        with ThreadPoolExecutor(min(REQUESTS, len(items))) as pool:
            return list(pool.map(work, items))

    def write(self, key: str, data: bytes) -> None:
        with _writing(self.root / key):
            (self.root / key).write_bytes(data)

    def create(self, key: str, data: bytes) -> bool:
        """The object store must know conditional puts (`If-None-Match`)."""
        with _writing(self.root / key):
            return (self.root / key).create(data)

    def check_creates(self, folder: str) -> None:
        probe = f"{folder}/.probe-{uuid.uuid4().hex}"
        try:
            if not (self.create(probe, b"first") and not self.create(probe, b"second")):
                raise WriteError(f"can't make a store at {self.root}: {NO_CONDITIONS}")
        finally:
            self.delete(probe)

    def exists(self, key: str) -> bool:
        return (self.root / key).exists()

    def names(self, folder: str = "") -> tuple[list[str], list[str]]:
        return (self.root / folder).names()

    def versions(self, folder: str) -> dict[str, str | None]:
        """By the hash that an object store lists with each object."""
        return (self.root / folder).versions()

    def delete(self, *keys: str) -> None:
        with _writing(self.root):
            self.root.delete(keys)

    def sizes(self, folder: str) -> dict[str, int]:
        return {f"{folder}/{name}": size for name, size in (self.root / folder).sizes().items()}

    def free(self) -> int | None:
        return None

    def sweep(self, folder: str = "") -> int:
        return 0


class _Object:
    """See `Opened`."""

    def __init__(self, path: ObjectPath, fetched: Mapping[tuple[int, int], memoryview] | None = None) -> None:
        self._path = path
        self._fetched = dict(fetched or {})
        self.size = 0  # known once its tail was read

    def tail(self, length: int) -> bytes:
        last = max(self._fetched, default=None)
        if last is not None and last[1] == length:  # a guess: whoever asks checks what it gets
            self.size = sum(last)
            return bytes(self._fetched[last])
        data, self.size = self._path.read_tail(length)
        return data

    def fill(self, wanted: Sequence[tuple[int, Sequence[Any]]]) -> Iterator[int]:
        """All ranges at once, since each waits for the network."""
        lengths = [sum(memoryview(buffer).nbytes for buffer in buffers) for _, buffers in wanted]
        begins = [offset for offset, _ in wanted]
        maybe = [self._part(begin, length) for begin, length in zip(begins, lengths, strict=True)]
        here = [part for part in maybe if part is not None]
        parts = here if len(here) == len(maybe) else self._path.read_ranges(begins, lengths)
        for part, (_, buffers) in zip(parts, wanted, strict=True):
            begin = 0
            for buffer in buffers:
                into = memoryview(buffer).cast("B")
                found = part[begin : begin + into.nbytes]
                into[: len(found)] = found
                begin += into.nbytes
            yield len(part)

    def _part(self, begin: int, length: int) -> memoryview | None:
        """A range that was fetched before."""
        for (first, size), data in self._fetched.items():
            if first <= begin and begin + length <= first + size:
                return data[begin - first :][:length]
        return None


def _fetched(path: ObjectPath, soon: Sequence[tuple[int, int]]) -> dict[tuple[int, int], memoryview]:
    """Ranges that will be wanted, all in one request where they lie close; none where the object is shorter."""
    if not soon:
        return {}
    try:
        return dict(zip(soon, path.read_ranges(*zip(*soon, strict=True)), strict=True))
    except UnreachableError:
        return {}


@contextmanager
def _writing(path: ObjectPath) -> Iterator[None]:
    try:
        yield
    except UnreachableError as error:
        raise WriteError(
            f"can't write {path}: {error.strerror}. Nothing that is finished is lost; mend that and run the same "
            "command again"
        ) from error
