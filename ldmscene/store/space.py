"""Is there room for what is to be written."""

from __future__ import annotations

import shutil

from ldmscene.errors import WriteError
from ldmscene.store.objects import ObjectPath
from ldmscene.store.places import Place
from ldmscene.store.summary import human_bytes


def check_space(root: Place, size: int) -> int | None:
    """Bytes that are free where a store lies; None in an object store, which doesn't say.

    Raises
    ------
    WriteError
        If they are fewer than the size of what is to be written.
    """
    if isinstance(root, ObjectPath):
        return None
    free = shutil.disk_usage(next(path for path in (root, *root.absolute().parents) if path.exists())).free
    if free < size:
        raise WriteError(
            f"{root} would take {human_bytes(size)} more, and {human_bytes(free)} are free on its disk; "
            "free some, choose another disk, or keep fewer modules or steps"
        )
    return free
