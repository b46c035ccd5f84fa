"""Where a store lies: a local folder, or a prefix in an object store."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from ldmscene.errors import InputError
from ldmscene.store.objects import ObjectPath


class Place(Protocol):
    """A file or folder, or an object or prefix: the part of pathlib's interface that a store uses.

    `str` of it is its address. It compares, hashes and pickles by that, and holds no credentials.
    """

    @property
    def name(self) -> str: ...

    @property
    def parent(self) -> Place: ...

    def __truediv__(self, part: str, /) -> Place: ...

    def exists(self) -> bool:
        """Whether there is a file or folder, or an object of this very key."""


def place(where: str | Place) -> Place:
    """A folder's path, `file://…` or `s3://bucket/prefix`.

    Raises
    ------
    InputError
        If the URL is of another kind.
    """
    if not isinstance(where, str):
        return where
    if "://" not in where:
        return Path(where)
    scheme = where.partition("://")[0].lower()
    if scheme == "file":
        return Path(unquote(urlsplit(where).path))
    if scheme == "s3":
        return ObjectPath.of(where)
    raise InputError(f"a store's location is a folder, file://… or s3://bucket/prefix; got {where!r}")
