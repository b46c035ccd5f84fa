"""Files and objects that are either whole or absent."""

from __future__ import annotations

import errno
import fcntl
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ldmscene.errors import UnreachableError, WriteError
from ldmscene.store.objects import ObjectPath
from ldmscene.store.places import Place

TEMPORARY = ".partial-"  # prefix of a file that is being written; readers never look at one

_CAUSES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission was denied",
    errno.EPERM: "permission was denied",
    errno.EROFS: "the disk is read-only",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EEXIST: "a part of the path is a file",
}


@contextmanager
def naming_the_cause(path: Place) -> Iterator[None]:
    """Turn what the system says of a failed write into one clear sentence."""
    try:
        yield
    except OSError as error:
        if isinstance(error, UnreachableError) and not isinstance(path, ObjectPath):
            raise  # what was read for this file, and it says so
        cause = _CAUSES.get(error.errno or 0) or error.strerror or str(error)
        raise WriteError(
            f"can't write {path}: {cause}. Finished samples are safe; mend that and run the same command again"
        ) from error


def write_file(path: Place, data: bytes) -> None:
    """Write a file or an object durably and whole.

    After a crash at any moment `path` holds either its old bytes or all of the new ones.
    """
    with naming_the_cause(path):
        if isinstance(path, ObjectPath):
            path.write_bytes(data)
        else:
            _write_local(path, data)


def create_file(path: Place, data: bytes) -> bool:
    """Write a file or an object durably and whole, unless there is one already.

    Returns whether `path` holds these bytes now. Of several processes that create different bytes at once, exactly one
    is told so; an object store must know conditional puts for that (`If-None-Match`), and a disk hard links.
    """
    with naming_the_cause(path):
        try:
            if isinstance(path, ObjectPath):
                path.create(data)
            else:
                _write_local(path, data, _link)
        except FileExistsError:
            return path.read_bytes() == data  # a request that was sent twice finds its own bytes
    return True


def _write_local(path: Path, data: bytes, place: Callable[[Path, Path], object] | None = None) -> None:
    """Temporary file, fsync, rename (or link), fsync of the folder."""
    make_folder(path.parent)
    file, temporary = _begin(path.parent)
    try:
        with file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            (place or Path.replace)(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def _link(temporary: Path, path: Path) -> None:
    """A rename that never replaces."""
    try:
        path.hardlink_to(temporary)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        if path.exists():  # a disk without hard links: two at the very same moment can't be told apart
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        temporary.replace(path)


def _begin(folder: Path) -> tuple[BinaryIO, Path]:
    """A new temporary file, locked for as long as this process has it open."""
    while True:
        temporary = folder / f"{TEMPORARY}{uuid.uuid4().hex}"
        file = temporary.open("w+b")  # for reading too, since NFS asks for that where a lock is shared
        with suppress(OSError):  # a disk without locks: its leftovers stay, nothing else
            fcntl.flock(file, fcntl.LOCK_SH)
        if temporary.exists():
            return file, temporary
        file.close()  # somebody took it for a leftover before it was locked


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, survive a power cut."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(root: Place) -> int:
    """Delete what killed writers left half-written; returns how many files that were.

    What a living writer has under its hands stays. Object stores have no leftovers.
    """
    if isinstance(root, ObjectPath):
        return 0
    found = [Path(folder, name) for folder, _, names in os.walk(root) for name in names if name.startswith(TEMPORARY)]
    return sum(map(_removed, found))


def _removed(path: Path) -> bool:
    try:
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except OSError:  # its writer lives, or finished just now, or the disk has no locks
        return False
    return True
