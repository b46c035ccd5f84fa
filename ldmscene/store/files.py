"""Files that are either whole or absent, on a local disk."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ldmscene.errors import WriteError

TEMPORARY = ".partial-"  # prefix of a file that is being written; readers never look at one

_CAUSES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission was denied",
    errno.EPERM: "permission was denied",
    errno.EROFS: "the disk is read-only",
    errno.ENOTDIR: "a part of the path is a file",
}


@contextmanager
def naming_the_cause(path: Path) -> Iterator[None]:
    """Turn what the operating system says of a failed write into one clear sentence."""
    try:
        yield
    except OSError as error:
        cause = _CAUSES.get(error.errno or 0, os.strerror(error.errno) if error.errno else str(error))
        raise WriteError(
            f"can't write {path}: {cause}. Finished samples are safe; mend that and run the same command again"
        ) from error


def write_file(path: Path, data: bytes) -> None:
    """Write a file durably: temporary file, fsync, rename, fsync of the folder.

    After a crash at any moment `path` holds either its old bytes or all of the new ones.
    """
    with naming_the_cause(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class RangeReader:
    """One file, read at offsets; use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self._handle).st_size

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; fewer where the file ends early."""
        return os.pread(self._handle, length, max(offset, 0))

    def __enter__(self) -> RangeReader:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)


def remove_leftovers(root: Path) -> int:
    """Delete what killed writers left half-written; returns how many files that were."""
    leftovers = list(root.rglob(f"{TEMPORARY}*"))
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)
