"""A store's files on a disk: whole or absent, and never anywhere else than below the root."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import uuid
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from ldmscene.errors import CorruptError, StoreError
from ldmscene.store.causes import naming_the_cause, reading
from ldmscene.store.limits import MOST

TEMPORARY = ".partial-"  # prefix of a file that is being written; readers never look at one
CREATING = ".creating"  # locked by who creates a file in its folder, on disks without hard links
_NO_LINKS = (errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
AHEAD = 8  # files that the disk is told of before they are read
DEEPEST = 6  # folders below a store's root
T = TypeVar("T")
R = TypeVar("R")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@dataclass(frozen=True)
class Disk:
    """The folder of a store; see `Location`. The root itself may be a link, what lies below it may not."""

    root: Path

    def read(self, key: str, most: int = MOST) -> bytes:
        with reading(self.root / key), self._folder(key) as (folder, name), _opened(folder, name) as handle:
            size = os.fstat(handle).st_size
            if size > most:
                raise CorruptError(f"{self.root / key} has {size} bytes, and {most} at most are expected there")
            with os.fdopen(os.dup(handle), "rb") as file:
                return file.read(size)

    def each(self, keys: Sequence[str], soon: Sequence[tuple[int, int]], work: Callable[[int, _File], None]) -> None:
        """One after the other; the next ones are open already, and the disk knows what will be wanted of them."""
        waiting: deque[tuple[int, int]] = deque()
        try:
            with closing(self._handles(keys)) as handles:
                for number, handle in enumerate(handles):
                    waiting.append((number, handle))
                    for offset, length in soon if hasattr(os, "posix_fadvise") else ():
                        os.posix_fadvise(handle, offset, length, os.POSIX_FADV_WILLNEED)
                    if len(waiting) > AHEAD:
                        _work(*waiting.popleft(), work)
            while waiting:
                _work(*waiting.popleft(), work)
        finally:
            for _, handle in waiting:
                os.close(handle)

    def _handles(self, keys: Sequence[str]) -> Generator[int, None, None]:
        """Of files; those that follow each other in one folder share its handle, since the way there takes longer."""
        for _, alike in groupby(keys, lambda key: key.rpartition("/")[0]):
            folder = None
            with ExitStack() as held:
                for key in alike:
                    with self._naming(key):
                        folder = held.enter_context(self._folder(key))[0] if folder is None else folder
                        handle = _open(folder, key.rpartition("/")[2])
                    yield handle

    @contextmanager
    def _naming(self, key: str) -> Iterator[None]:
        """Say of a failed read which file it was."""
        try:
            with reading(self.root / key):
                yield
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), key) from error

    def write(self, key: str, data: bytes) -> None:
        """Temporary file, fsync, rename, fsync of the folder."""
        self._put(key, data, _rename)

    def create(self, key: str, data: bytes) -> bool:
        try:
            self._put(key, data, _link)
        except _TakenError:
            return self._holds(key, data)  # asked for twice
        return True

    def _holds(self, key: str, data: bytes) -> bool:
        try:
            return self.read(key, len(data)) == data
        except CorruptError:  # it is longer
            return False

    def _put(self, key: str, data: bytes, place: Callable[[int, str, str], None]) -> None:
        with naming_the_cause(self.root / key):
            make_folder(self.root)
            with self._folder(key, make=True) as (folder, name):
                file, temporary = _begin(folder)
                try:
                    with file:
                        file.write(data)
                        file.flush()
                        os.fsync(file.fileno())
                        place(folder, temporary, name)
                finally:
                    with suppress(FileNotFoundError):
                        os.unlink(temporary, dir_fd=folder)
                sync_folder(folder)

    def check_creates(self, folder: str) -> None:
        """Disks have links or locks."""

    def side_by_side(self, work: Callable[[T], R], items: Collection[T]) -> list[R]:
        """One after the other, as a disk likes it."""
        return [work(item) for item in items]

    def exists(self, key: str) -> bool:
        try:
            with reading(self.root / key), self._folder(key) as (folder, name):
                return stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def names(self, folder: str = "") -> tuple[list[str], list[str]]:
        try:
            with reading(self.root / folder), self._folder(f"{folder}/.".lstrip("/")) as (handle, _):
                found = list(os.scandir(handle))
        except FileNotFoundError:
            return [], []
        except NotADirectoryError:
            if not folder:
                raise
            return [], []
        files = [entry.name for entry in found if entry.is_file(follow_symlinks=False)]
        return sorted(files), sorted(entry.name for entry in found if not entry.is_file(follow_symlinks=False))

    def versions(self, folder: str) -> dict[str, str | None]:
        """Nobody knows: a file can be written within a tick of the disk's clock."""
        return dict.fromkeys(self.names(folder)[0])

    def delete(self, *keys: str) -> None:
        for key in keys:
            gone = suppress(FileNotFoundError, NotADirectoryError)
            with naming_the_cause(self.root / key), gone, self._folder(key) as (folder, name):
                os.unlink(name, dir_fd=folder)

    def sizes(self, folder: str) -> dict[str, int]:
        found: dict[str, int] = {}
        try:
            with reading(self.root / folder), self._folder(f"{folder}/.") as (handle, _):
                for path, _, names, inside in _walk(handle):
                    stats = [(name, os.stat(name, dir_fd=inside, follow_symlinks=False)) for name in names]
                    place = f"{folder}/{path}".replace("/./", "/").removesuffix("/.")
                    found |= {f"{place}/{name}": one.st_size for name, one in stats if stat.S_ISREG(one.st_mode)}
        except (FileNotFoundError, NotADirectoryError):
            pass
        return found

    def free(self) -> int | None:
        return shutil.disk_usage(next(path for path in (self.root, *self.root.parents) if path.exists())).free

    def sweep(self, folder: str = "") -> int:
        try:
            with reading(self.root / folder), self._folder(f"{folder}/.".lstrip("/")) as (handle, _):
                return sum(_swept(names, inside) for _, _, names, inside in _walk(handle))
        except (FileNotFoundError, NotADirectoryError):
            return 0

    @contextmanager
    def _folder(self, key: str, make: bool = False) -> Iterator[tuple[int, str]]:
        """A handle of the folder that a key's file lies in, to which no link leads, and the file's name."""
        *parts, name = key.split("/")
        if {"", ".."} & {*parts, name} or "." in parts:
            raise StoreError(f"{key!r} is no path below a store")
        handle = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in parts:
                inside = _step(handle, part, make)
                os.close(handle)
                handle = inside
            yield handle, name
        finally:
            os.close(handle)


def _step(folder: int, name: str, make: bool) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except FileNotFoundError:
        if not make:
            raise
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=folder)
            sync_folder(folder)
        return os.open(name, _FOLDER, dir_fd=folder)
    except OSError as error:
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name) from None
        if error.errno == errno.ENOTDIR and not make:  # a file where a folder should be: nothing is there
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from None
        raise


def _open(folder: int, name: str, how: int = os.O_RDONLY) -> int:
    """A handle of a regular file. Devices aren't opened at all: that alone may hang or do something."""
    _check_regular(os.stat(name, dir_fd=folder, follow_symlinks=False), name)
    handle = os.open(name, how | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    try:
        _check_regular(os.fstat(handle), name)  # it may have been swapped meanwhile
    except OSError:
        os.close(handle)
        raise
    return handle


def _check_regular(found: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)


@contextmanager
def _opened(folder: int, name: str, how: int = os.O_RDONLY) -> Iterator[int]:
    handle = _open(folder, name, how)
    try:
        yield handle
    finally:
        os.close(handle)


@dataclass(frozen=True)
class _File:
    """See `Opened`."""

    handle: int
    size: int

    def tail(self, length: int) -> bytes:
        return os.pread(self.handle, length, max(self.size - length, 0))

    def fill(self, wanted: Sequence[tuple[int, Sequence[Any]]]) -> Iterator[int]:
        """Straight to where it is wanted, without a copy."""
        return (os.preadv(self.handle, buffers, offset) for offset, buffers in wanted)


def _work(number: int, handle: int, work: Callable[[int, _File], None]) -> None:
    try:
        work(number, _File(handle, os.fstat(handle).st_size))
    finally:
        os.close(handle)


def _begin(folder: int) -> tuple[BinaryIO, str]:
    """A new temporary file, locked for as long as this process has it open."""
    while True:
        name = f"{TEMPORARY}{uuid.uuid4().hex}"
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=folder)  # NFS locks what can be read
        file = os.fdopen(handle, "w+b")
        with suppress(OSError):  # a disk without locks: its leftovers stay, nothing else
            fcntl.flock(file, fcntl.LOCK_SH)
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=folder)
            return file, name
        file.close()  # somebody took it for a leftover before it was locked


class _TakenError(Exception):
    """There is something of the name that was to be created."""


def _rename(folder: int, temporary: str, name: str) -> None:
    os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)


def _link(folder: int, temporary: str, name: str) -> None:
    """A rename that never replaces."""
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError as error:
        raise _TakenError from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _rename_once(folder, temporary, name)


def _rename_once(folder: int, temporary: str, name: str) -> None:
    """For disks without hard links: who holds a lock looks whether there is something, and only then renames.

    OSError on a disk without locks, where nobody could tell who was first.
    """
    lock = os.open(CREATING, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666, dir_fd=folder)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # it ends with the process
        if name in os.listdir(folder):
            raise _TakenError
        _rename(folder, temporary, name)
    finally:
        os.close(lock)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, survive a power cut."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    handle = os.open(folder.parent, os.O_RDONLY)
    try:
        sync_folder(handle)
    finally:
        os.close(handle)


def sync_folder(handle: int) -> None:
    """Make a rename in a folder survive a power cut."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # some network disks can't, and say so
            raise


def _walk(handle: int) -> Iterator[tuple[str, list[str], list[str], int]]:
    """As `os.fwalk` gives them, a folder and those below it; links aren't followed."""
    for path, folders, names, inside in os.fwalk(".", dir_fd=handle, follow_symlinks=False):
        if path.count("/") >= DEEPEST:
            folders.clear()
        yield path, folders, names, inside


def _swept(names: Sequence[str], folder: int) -> int:
    return sum(_removed(name, folder) for name in names if name.startswith(TEMPORARY))


def _removed(name: str, folder: int) -> bool:
    try:
        with _opened(folder, name, os.O_RDWR) as handle:  # NFS locks what can be written
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(name, dir_fd=folder)
    except OSError:  # its writer lives, or finished just now, or the disk has no locks
        return False
    return True
