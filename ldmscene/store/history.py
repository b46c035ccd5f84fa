"""The metadata of a store: a numbered list of publications, each of which is created once and never changed.

A publication holds the documents that it adds or replaces (Zarr's metadata, coordinates, the manifest), and the newest
of each holds. Of two processes that prepare a store at once only one can create the next number; the other looks again
and builds on it. So no row of the manifest is ever given to two samples, without a lock and whatever the clocks say.

Publications 64, 128 … 1024, 2048, 3072 … hold all documents, so that those before are needed no more, and are deleted.
They are marked, since none of format 2 is one of these.

Every publication lies in the ledger's folder twice, with its checksum. Documents also lie where other readers expect
them, such as `manifest.parquet`; ldmscene itself never reads those, and writes them anew where they differ. The second
copy comes last: where it is missing, documents may be, too.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ldmscene.errors import CorruptError, StoreError
from ldmscene.store import manifests, parse
from ldmscene.store.documents import Contents, Documents, admit, of_this_format
from ldmscene.store.layout import LEDGER, MANIFEST, PARTS
from ldmscene.store.ledger import READERS
from ldmscene.store.limits import MOST
from ldmscene.store.locations import Location, location
from ldmscene.store.parse import wrong
from ldmscene.store.places import Place
from ldmscene.store.recent import Recent
from ldmscene.store.seal import seal, unseal

FIRST_WHOLE = 64  # number of the first publication that holds all documents
APART = 1024  # publications between two of these, at most
WHOLE = "*"  # a member that marks these
Versions = Mapping[str, str | None]  # of the files in the ledger's folder, as a location lists them
_NAME = re.compile(r"metadata-([0-9]{6})\.(json|copy)")
_LOOKS = 3  # at a listing, which may miss what is created or deleted meanwhile
_RECENT = Recent(2**26)  # bytes of publications, by where they lie and the version that a listing has of them


@dataclass(frozen=True)
class Published:
    """All documents as they were after some publication, and what they say; `number` is 0 where there was none."""

    number: int = 0
    documents: Documents = field(default_factory=dict)
    said: Contents | None = None
    paths: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """of each publication that was read, the documents that it holds"""

    @property
    def contents(self) -> Contents:
        assert self.said is not None, "there is no store"
        return self.said


class _LostError(CorruptError):
    """No copy of a publication is whole."""


def newest(where: Location) -> int:
    """How many publications there were.

    Raises
    ------
    CorruptError
        If one before the last is gone.
    """
    return last_of(listing(where))


def listing(where: Location) -> Versions:
    """The ledger's folder, in which no publication that is needed is missing.

    All its files are written once, so that another state of a store has another listing.
    """
    for _ in range(_LOOKS):
        listed = where.versions(LEDGER)
        numbers = _numbers(listed)
        last = max(numbers, default=0)
        begin = next((n for n in _beginnings(last) if n in numbers), next(_beginnings(last)))
        gone = next((n for n in range(begin, last) if n not in numbers), None)
        if gone is None:
            return listed
    assert gone is not None
    raise _lost(where, gone)


def last_of(names: Iterable[str]) -> int:
    """The number of the last publication in a listing of the ledger's folder."""
    return max(_numbers(names), default=0)


def _numbers(names: Iterable[str]) -> dict[int, set[str]]:
    """The publications in a listing, each with the endings of its files."""
    found: dict[int, set[str]] = {}
    for name in names:
        if match := _NAME.fullmatch(name):
            found.setdefault(int(match[1]), set()).add(match[2])
    return found


def _is_whole(number: int) -> bool:
    return number % APART == 0 if number > APART else number >= FIRST_WHOLE and number & (number - 1) == 0


def _before(whole: int) -> int:
    """The whole publication before one, where there is any."""
    return whole - APART if whole > APART else whole // 2


def _beginnings(last: int) -> Iterator[int]:
    """From where on publications up to the last may say all, latest first."""
    whole = last - last % APART if last >= APART else 1 << (last.bit_length() - 1) if last else 0
    while whole >= FIRST_WHOLE:
        yield whole
        whole = _before(whole)
    yield 1


def read(where: Location, listed: Versions | None = None) -> Published:
    """What holds now, by a listing that was just made, where there is one.

    Raises
    ------
    CorruptError
        If both copies of a publication are damaged or gone, or it says what no store can hold.
    StoreError
        If a newer ldmscene wrote it.
    """
    for _ in range(_LOOKS):
        found = listing(where) if listed is None else listed
        try:
            return _read(where, found)
        except _LostError:
            if newest(where) == last_of(found):  # else it was deleted, since it isn't needed any more
                raise
            listed = None
    return _read(where, listing(where))


def _read(where: Location, listed: Versions) -> Published:
    documents: Documents = {}
    paths: dict[int, tuple[str, ...]] = {}
    number = last_of(listed)
    for n, found in _publications(where, number, listed):
        documents = documents | found
        paths[n] = tuple(found)
    documents = manifests.current(documents)
    return Published(number, documents, _admitted(where, documents) if number else None, paths)


def _publications(where: Location, number: int, listed: Versions) -> Iterator[tuple[int, Documents]]:
    """Those that say all, in order."""
    for begin in _beginnings(number) if number else ():
        first = _decode(_sound(where, begin, listed), _keys(begin)[0])
        if begin > 1 and first.pop(WHOLE, None) is None:
            continue
        yield begin, first
        for start in range(begin + 1, number + 1, READERS):  # a few at once: the first that is wrong ends it
            some = range(start, min(start + READERS, number + 1))
            for n, data in zip(some, where.side_by_side(lambda n: _sound(where, n, listed), some), strict=True):
                yield n, _decode(data, _keys(n)[0])
        return


def _admitted(where: Location, documents: Documents) -> Contents:
    try:
        return admit(documents)
    except StoreError as error:
        raise type(error)(f"{where.root}: {error}") from error


def publish(
    root: str | Place | Location, change: Callable[[Published], Mapping[str, bytes]], *, thorough: bool = False
) -> Published:
    """Add what `change` says of the documents that hold; nothing is added where all are so already.

    `change` is called until all that it says holds, since others may have been faster. Returns what holds then. Where
    nothing is to be added, `thorough` has every copy and document compared with what was published.
    """
    where = location(root)
    where.sweep()
    while True:
        before = read(where)
        new = {path: data for path, data in change(before).items() if before.documents.get(path) != data}
        if not new:
            return complete(where) if thorough else _finish(where, before)
        documents = manifests.current(of_this_format(before.documents | new))
        _admitted(where, documents)  # what nobody would read is never published
        number = before.number + 1
        if number == 1:
            where.check_creates(LEDGER)
        said = (
            {WHOLE: b""} | manifests.merged(documents) if _is_whole(number) else _changed(before.documents, documents)
        )
        if where.create(_keys(number)[0], _encode(said)):
            return _finish(where, read(where))


def _changed(before: Documents, now: Documents) -> Documents:
    return {path: data for path, data in now.items() if before.get(path) != data}


def _finish(where: Location, now: Published) -> Published:
    """Write the documents of publications that lack their second copy, and then that."""
    mine: set[str] = set()
    while True:
        versions = where.versions(LEDGER)
        listed = _numbers(versions)
        late = [n for n in now.paths if "copy" not in listed.get(n, ())]
        mine |= {path for n in late for path in now.paths[n]}
        if not mine and last_of(versions) == now.number:
            return now
        wanted = [(path, now.documents[path]) for path in sorted(mine) if path in now.documents]
        for some in (wanted, [(_keys(n)[1], _sound(where, n, versions)) for n in late]):
            where.side_by_side(lambda one: where.write(*one), some)
        if MANIFEST in mine and now.number > 1:
            where.delete(*_stray_parts(where, now))
        if any(map(_is_whole, late)):
            _clear(where, now, listed)
        if newest(where) == now.number:  # else an older document may have been written over a newer one
            return now
        now = read(where)


def _clear(where: Location, now: Published, listed: Iterable[int]) -> None:
    """Delete what a publication of all documents makes superfluous; readers may be at the one before."""
    begin = max(n for n in now.paths if _is_whole(n))
    where.delete(*(key for n in sorted(listed) if n < _before(begin) for key in _keys(n)))


def _stray_parts(where: Location, now: Published) -> list[str]:
    """Parts of the manifest that were merged into it; one that begins beyond its rows is a later publication's."""
    rows = len(now.contents.manifest)
    paths = (f"{PARTS}/{name}" for name in where.names(PARTS)[0])
    parts = [path for path in paths if manifests.is_part(path) and path not in now.documents]
    return [path for path in parts if manifests.first_row(path) < rows]


def complete(where: Location) -> Published:
    """Write copies and documents wherever they aren't as published."""
    while True:
        now = read(where)
        where.side_by_side(lambda one: where.write(one[0], one[1]), _differing(where, now))
        where.delete(*_stray_parts(where, now))
        if newest(where) == now.number:  # else an older document may have been written over a newer one
            return now


def differing(where: Location, now: Published) -> dict[tuple[str, bytes], str]:
    """Copies and documents that aren't as published: path in the store and what should be there, and why."""
    found = {
        (key, data): "is missing" if there is None else "doesn't match its checksum"
        for key, data, there in _differing(where, now)
    }
    return found | {(path, b""): "holds samples that the manifest holds already" for path in _stray_parts(where, now)}


def _differing(where: Location, now: Published) -> list[tuple[str, bytes, bytes | None]]:
    """Where something else lies than should: key, what should, and what does."""
    copies = where.side_by_side(lambda number: _copies(where, number), now.paths)
    found = where.side_by_side(lambda one: (*one, _there(where, one[0], len(one[1]))), now.documents.items())
    return [one for some in (*copies, found) for one in some if one[1] != one[2]]


def _copies(where: Location, number: int) -> list[tuple[str, bytes, bytes | None]]:
    """Both copies of a publication: key, what should lie there, and what does."""
    found = [_there(where, key) for key in _keys(number)]
    whole = next((data for data in found if data is not None and unseal(data) is not None), None)
    if whole is None:
        raise _lost(where, number)
    return [(key, whole, data) for key, data in zip(_keys(number), found, strict=True)]


def _sound(where: Location, number: int, listed: Versions) -> bytes:
    """The bytes of a publication, from whichever copy is whole; `listed` tells which of them were read before."""
    for key in _keys(number):
        version = listed.get(key.rpartition("/")[2])
        known = str(where.root), key, version
        data = (_RECENT.get(known) if version else None) or _there(where, key)
        if data is not None and unseal(data) is not None:
            if version:
                _RECENT.put(known, data, len(data))
            return data
    raise _lost(where, number)


def _lost(where: Location, number: int) -> _LostError:
    first, second = _keys(number)
    return _LostError(
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
