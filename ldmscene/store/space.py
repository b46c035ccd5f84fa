"""Is there room for what is to be written."""

from __future__ import annotations

from ldmscene.errors import WriteError
from ldmscene.store.locations import Location, location
from ldmscene.store.places import Place
from ldmscene.text import human_bytes


def check_space(root: str | Place | Location, size: int) -> int | None:
    """Bytes that are free where a store lies; None in an object store, which doesn't say.

    Raises
    ------
    WriteError
        If they are fewer than the size of what is to be written.
    """
    free = location(root).free()
    if free is not None and free < size:
        raise WriteError(
            f"{root} would take {human_bytes(size)} more, and {human_bytes(free)} are free on its disk; "
            "free some, choose another disk, or keep fewer modules or steps"
        )
    return free
