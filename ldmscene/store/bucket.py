"""A store's objects in an S3-compatible object store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ldmscene.errors import UnreachableError, WriteError
from ldmscene.store.objects import ObjectPath

REQUESTS = 16  # to an object store at once, each of which waits for the network


@dataclass(frozen=True)
class Bucket:
    """What lies below a prefix; see `Location`. A request writes an object whole or not at all, and durably."""

    root: ObjectPath

    def read(self, key: str, most: int = 2**28) -> bytes:
        return (self.root / key).read_bytes(most)

    def each(self, keys: Sequence[str], soon: Sequence[tuple[int, int]], work: Callable[[int, _Object], None]) -> None:
        """Several at once."""
        if keys:
            with ThreadPoolExecutor(min(REQUESTS, len(keys))) as pool:
                list(pool.map(lambda number: work(number, _Object(self.root / keys[number])), range(len(keys))))

    def write(self, key: str, data: bytes) -> None:
        with _writing(self.root / key):
            (self.root / key).write_bytes(data)

    def create(self, key: str, data: bytes) -> bool:
        """The object store must know conditional puts (`If-None-Match`)."""
        try:
            with _writing(self.root / key):
                (self.root / key).create(data)
        except FileExistsError:
            return self.read(key) == data  # a request that was sent twice finds its own bytes
        return True

    def exists(self, key: str) -> bool:
        return (self.root / key).is_file()

    def names(self, folder: str = "") -> tuple[list[str], list[str]]:
        return (self.root / folder).names()

    def delete(self, key: str) -> None:
        with _writing(self.root / key):
            (self.root / key).unlink(missing_ok=True)

    def free(self) -> int | None:
        return None

    def sweep(self, folder: str = "") -> int:
        return 0


class _Object:
    """See `Opened`."""

    def __init__(self, path: ObjectPath) -> None:
        self._path = path
        self.size = 0  # known once its tail was read

    def tail(self, length: int) -> bytes:
        data, self.size = self._path.read_tail(length)
        return data

    def fill(self, wanted: Sequence[tuple[int, Sequence[Any]]]) -> Iterator[int]:
        """All ranges at once, since each waits for the network."""
        lengths = [sum(memoryview(buffer).nbytes for buffer in buffers) for _, buffers in wanted]
        parts = self._path.read_ranges([offset for offset, _ in wanted], lengths) if wanted else []
        for part, (_, buffers) in zip(parts, wanted, strict=True):
            begin = 0
            for buffer in buffers:
                into = memoryview(buffer).cast("B")
                found = part[begin : begin + into.nbytes]
                into[: len(found)] = found
                begin += into.nbytes
            yield len(part)


@contextmanager
def _writing(path: ObjectPath) -> Iterator[None]:
    try:
        yield
    except UnreachableError as error:
        raise WriteError(
            f"can't write {path}: {error.strerror}. Finished samples are safe; mend that and run the same command again"
        ) from error
