"""The metadata of a store: a numbered list of publications, each of which is created once and never changed.

A publication holds the documents that it adds or replaces (Zarr's metadata, coordinates, the manifest), and the newest
of each holds. Of two processes that prepare a store at once only one can create the next number; the other looks again
and builds on it. So no row of the manifest is ever given to two samples, without a lock and whatever the clocks say.

Every publication lies in the ledger's folder twice, with its checksum. Documents also lie where other readers expect
them, such as `manifest.parquet`; ldmscene itself never reads those, and writes them anew where they differ.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ldmscene.errors import CorruptError, StoreError
from ldmscene.store import parse
from ldmscene.store.documents import Contents, Documents, admit
from ldmscene.store.layout import LEDGER
from ldmscene.store.ledger import READERS
from ldmscene.store.locations import MOST, Location, location
from ldmscene.store.parse import wrong
from ldmscene.store.places import Place
from ldmscene.store.seal import seal, unseal

_NAME = re.compile(r"metadata-(\d{6})\.(?:json|copy)")
_LOOKS = 3  # at a listing, which may miss what is created meanwhile


@dataclass(frozen=True)
class Published:
    """All documents as they were after some publication, and what they say; `number` is 0 where there was none."""

    number: int = 0
    documents: Documents = field(default_factory=dict)
    said: Contents | None = None

    @property
    def contents(self) -> Contents:
        assert self.said is not None, "there is no store"
        return self.said


def newest(where: Location) -> int:
    """How many publications there are.

    Raises
    ------
    CorruptError
        If one before the last is gone.
    """
    for _ in range(_LOOKS):
        names = where.names(LEDGER)[0]
        numbers = {int(found[1]) for name in names if (found := _NAME.fullmatch(name))}
        if max(numbers, default=0) == len(numbers):
            return len(numbers)
    gone = next(n for n in range(1, len(numbers) + 2) if n not in numbers)
    raise _lost(where, gone)


def read(where: Location) -> Published:
    """What holds now.

    Raises
    ------
    CorruptError
        If both copies of a publication are damaged or gone, or it says what no store can hold.
    StoreError
        If a newer ldmscene wrote it.
    """
    number = newest(where)
    documents: Documents = {}
    with ThreadPoolExecutor(READERS) as pool:
        for begin in range(1, number + 1, READERS):  # a few at once: the first that is wrong ends it
            some = range(begin, min(begin + READERS, number + 1))
            for n, data in zip(some, pool.map(lambda n: _sound(where, n), some), strict=True):
                documents |= _decode(data, _keys(n)[0])
    return Published(number, documents, _admitted(where, documents) if number else None)


def _admitted(where: Location, documents: Documents) -> Contents:
    try:
        return admit(documents)
    except StoreError as error:
        raise type(error)(f"{where.root}: {error}") from error


def publish(root: str | Place | Location, change: Callable[[Published], Mapping[str, bytes]]) -> Published:
    """Add what `change` says of the documents that hold; nothing is added where all are so already.

    `change` is called until all that it says holds, since others may have been faster. Returns what holds then.
    """
    where = location(root)
    where.sweep()
    while True:
        before = read(where)
        new = {path: data for path, data in change(before).items() if before.documents.get(path) != data}
        if not new:
            return complete(where)
        _admitted(where, before.documents | new)  # what nobody would read is never published
        where.create(_keys(before.number + 1)[0], _encode(new))


def complete(where: Location) -> Published:
    """Write copies and documents wherever they aren't as published."""
    while True:
        now = read(where)
        for key, data, _ in _differing(where, now):
            where.write(key, data)
        if newest(where) == now.number:  # else an older document may have been written over a newer one
            return now


def differing(where: Location, now: Published) -> Iterator[tuple[str, str]]:
    """Copies and documents that aren't as published: path in the store, and why."""
    for key, _, found in _differing(where, now):
        yield key, "is missing" if found is None else "doesn't match its checksum"


def _differing(where: Location, now: Published) -> list[tuple[str, bytes, bytes | None]]:
    """Where something else lies than should: key, what should, and what does."""
    wanted = [(key, data) for n in range(1, now.number + 1) for data in [_sound(where, n)] for key in _keys(n)]
    wanted += list(now.documents.items())
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(lambda one: _there(where, one[0], len(one[1])), wanted)
        return [(key, data, there) for (key, data), there in zip(wanted, found, strict=True) if there != data]


def _sound(where: Location, number: int) -> bytes:
    """The bytes of a publication, from whichever copy is whole."""
    for key in _keys(number):
        data = _there(where, key)
        if data is not None and unseal(data) is not None:
            return data
    raise _lost(where, number)


def _lost(where: Location, number: int) -> CorruptError:
    first, second = _keys(number)
    return CorruptError(
        f"{where.root}/{first} and {second.rpartition('/')[2]} are both damaged or gone, and without them nobody "
        "knows what the store holds; restore one of them from a copy of the store"
    )


def _keys(number: int) -> tuple[str, str]:
    return f"{LEDGER}/metadata-{number:06d}.json", f"{LEDGER}/metadata-{number:06d}.copy"


def _encode(documents: Mapping[str, bytes]) -> bytes:
    return seal(json.dumps({path: base64.b64encode(data).decode() for path, data in documents.items()}).encode())


def _decode(sealed: bytes, key: str) -> Documents:
    data = unseal(sealed)
    assert data is not None
    found = parse.record(parse.tree(data, key), key)
    if not found:
        raise wrong(key, "documents", "none")
    try:
        return {path: base64.b64decode(parse.text(one, f"{key}, {path}"), validate=True) for path, one in found.items()}
    except ValueError as error:
        raise wrong(key, "documents in base64", str(error)) from error


def _there(where: Location, key: str, most: int = MOST) -> bytes | None:
    """The bytes of a file; None where there is none, or something that can't be it."""
    try:
        return where.read(key, most)
    except CorruptError:
        return b""
    except (FileNotFoundError, NotADirectoryError):
        return None
