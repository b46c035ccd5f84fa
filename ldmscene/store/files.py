"""Files and objects that are either whole or absent."""

from __future__ import annotations

from ldmscene.store.locations import location
from ldmscene.store.places import Place


def write_file(path: Place, data: bytes) -> None:
    """Write a file or an object durably and whole.

    After a crash at any moment `path` holds either its old bytes or all of the new ones.

    Raises
    ------
    WriteError
        If that fails.
    """
    location(path.parent).write(path.name, data)
