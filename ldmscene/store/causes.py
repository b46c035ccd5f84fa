"""What the system says of a failure, in one clear sentence."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from ldmscene.errors import CorruptError, StoreError, UnreachableError, WriteError

_CAUSES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission was denied",
    errno.EPERM: "permission was denied",
    errno.EROFS: "the disk is read-only",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EEXIST: "a part of the path is a file",
    errno.ELOOP: "it is a link or a device, or lies behind a link; a store consists of folders and files alone",
}


def _cause(error: OSError) -> str:
    return _CAUSES.get(error.errno or 0) or error.strerror or str(error)


@contextmanager
def naming_the_cause(path: object) -> Iterator[None]:
    """Turn what the system says of a failed write into a WriteError."""
    try:
        yield
    except UnreachableError:  # what was read meanwhile, and it says so
        raise
    except OSError as error:
        raise WriteError(
            f"can't write {path}: {_cause(error)}. Nothing that is finished is lost; mend that and run the same "
            "command again"
        ) from error


@contextmanager
def reading(path: object) -> Iterator[None]:
    """Turn what the system says of a failed read into a StoreError; that something isn't there stays as it is."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, UnreachableError):
        raise
    except OSError as error:
        kind = CorruptError if error.errno == errno.ELOOP else StoreError
        raise kind(f"can't read {path}: {_cause(error)}") from error
