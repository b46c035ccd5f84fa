"""Where a store lies: a local folder, or a prefix in an object store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from ldmscene.errors import InputError
from ldmscene.store.objects import ObjectPath

Place = Path | ObjectPath  # both have the part of pathlib's interface that a store uses


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


def files_in(folder: Place, suffix: str) -> list[Place]:
    """Files directly in a folder whose names end so, in order; none where there is no folder."""
    found: list[Place] = [*folder.glob(f"*{suffix}")]
    return sorted(found, key=str)
