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

from ldmscene.errors import CorruptError
from ldmscene.store.files import create_file, remove_leftovers, write_file
from ldmscene.store.layout import LEDGER
from ldmscene.store.ledger import READERS
from ldmscene.store.places import Place, files_in
from ldmscene.store.seal import seal, unseal

Documents = dict[str, bytes]  # by path in the store
_NAME = re.compile(r"metadata-(\d{6})\.(?:json|copy)")


@dataclass(frozen=True)
class Published:
    """All documents as they were after some publication; `number` is 0 where there was none."""

    number: int = 0
    documents: Documents = field(default_factory=dict)


def newest(root: Place) -> int:
    """How many publications there are."""
    names = (path.name for suffix in (".json", ".copy") for path in files_in(root / LEDGER, suffix))
    return max((int(found[1]) for name in names if (found := _NAME.fullmatch(name))), default=0)


def read(root: Place) -> Published:
    """What holds now.

    Raises
    ------
    CorruptError
        If both copies of a publication are damaged or gone.
    """
    number = newest(root)
    documents: Documents = {}
    with ThreadPoolExecutor(READERS) as pool:
        for data in pool.map(lambda n: _sound(root, n), range(1, number + 1)):
            documents |= _decode(data)
    return Published(number, documents)


def publish(root: Place, change: Callable[[Published], Mapping[str, bytes]]) -> Published:
    """Add what `change` says of the documents that hold; nothing is added where all are so already.

    `change` is called until all that it says holds, since others may have been faster. Returns what holds then.
    """
    remove_leftovers(root)
    while True:
        before = read(root)
        new = {path: data for path, data in change(before).items() if before.documents.get(path) != data}
        if not new:
            return complete(root)
        create_file(_paths(root, before.number + 1)[0], _encode(new))


def complete(root: Place) -> Published:
    """Write copies and documents wherever they aren't as published."""
    while True:
        now = read(root)
        for path, data, _ in _differing(root, now):
            write_file(path, data)
        if newest(root) == now.number:  # else an older document may have been written over a newer one
            return now


def differing(root: Place, now: Published) -> Iterator[tuple[str, str]]:
    """Copies and documents that aren't as published: path in the store, and why."""
    for path, _, found in _differing(root, now):
        name = str(path).removeprefix(str(root)).lstrip("/")
        yield name, "is missing" if found is None else "doesn't match its checksum"


def _differing(root: Place, now: Published) -> list[tuple[Place, bytes, bytes | None]]:
    """Where something else lies than should: place, what should, and what does."""
    wanted = [(path, data) for n in range(1, now.number + 1) for data in [_sound(root, n)] for path in _paths(root, n)]
    wanted += [(root / path, data) for path, data in now.documents.items()]
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(_there, [path for path, _ in wanted])
        return [(path, data, there) for (path, data), there in zip(wanted, found, strict=True) if there != data]


def _sound(root: Place, number: int) -> bytes:
    """The bytes of a publication, from whichever copy is whole."""
    paths = _paths(root, number)
    for path in paths:
        data = _there(path)
        if data is not None and unseal(data) is not None:
            return data
    raise CorruptError(
        f"{paths[0]} and {paths[1].name} are both damaged or gone, and without them nobody knows what the store "
        "holds; restore one of them from a copy of the store"
    )


def _paths(root: Place, number: int) -> tuple[Place, Place]:
    return root / LEDGER / f"metadata-{number:06d}.json", root / LEDGER / f"metadata-{number:06d}.copy"


def _encode(documents: Mapping[str, bytes]) -> bytes:
    return seal(json.dumps({path: base64.b64encode(data).decode() for path, data in documents.items()}).encode())


def _decode(sealed: bytes) -> Documents:
    data = unseal(sealed)
    assert data is not None
    return {path: base64.b64decode(text) for path, text in json.loads(data).items()}


def _there(path: Place) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
