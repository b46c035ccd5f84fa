"""Keys of an S3-compatible object store, with the part of pathlib's interface that a store uses.

One request writes an object whole or not at all, and it is durable when the request returns, so that nothing of
a killed writer is left behind. Endpoint and credentials come from the usual AWS environment variables
(`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, `AWS_ALLOW_HTTP` …), as obstore reads them; they are kept nowhere.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ldmscene.errors import CorruptError, InputError, UnreachableError
from ldmscene.store.forks import check_own_client

if TYPE_CHECKING:
    import obstore

RETRY: dict[str, Any] = {"max_retries": 10, "retry_timeout": timedelta(minutes=3)}
TIMEOUT = timedelta(minutes=5)  # of one request; a shard of 40 MB must fit through a slow line
AGAIN = (0.1, 0.5, 2.5)  # seconds before a request is sent again that obstore itself doesn't repeat
NO_CONDITIONS = (
    "the object store knows no conditional puts (If-None-Match), without which two writers would overwrite each "
    "other's metadata; use one that does"
)
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")


@dataclass(frozen=True)
class ObjectPath:
    """One key, or the prefix of many.

    Attributes
    ----------
    bucket : str
        As `s3://bucket`.
    key : str
        Without slashes at its ends; empty for the bucket's top.
    """

    bucket: str
    key: str = ""

    @classmethod
    def of(cls, url: str) -> ObjectPath:
        scheme, _, rest = url.partition("://")
        bucket, _, key = rest.partition("/")
        if "@" in bucket:
            raise InputError("an object store's URL holds no credentials; set AWS_ACCESS_KEY_ID and its siblings")
        if not bucket:
            raise InputError(f"expected {scheme}://bucket/prefix, got {url!r}")
        return cls(f"{scheme}://{bucket}", key.strip("/"))

    def __str__(self) -> str:
        return f"{self.bucket}/{self.key}".rstrip("/")

    def __truediv__(self, part: str) -> ObjectPath:
        return ObjectPath(self.bucket, f"{self.key}/{part}".strip("/"))

    @property
    def name(self) -> str:
        return str(self).rpartition("/")[2]

    @property
    def parent(self) -> ObjectPath:
        return ObjectPath(self.bucket, self.key.rpartition("/")[0])

    def exists(self) -> bool:
        """Whether there is an object under this very key."""
        try:
            with asking(self):
                self._client.head(self.key)
        except FileNotFoundError:
            return False
        return True

    def read_bytes(self, most: int | None = None) -> bytes:
        """The whole object; CorruptError, before it is read, of one of more than `most` bytes."""
        with asking(self):
            found = self._client.get(self.key)
            if most is not None and found.meta["size"] > most:
                raise CorruptError(f"{self} has {found.meta['size']} bytes, and {most} at most are expected there")
            return bytes(found.bytes())

    def read_tail(self, length: int) -> tuple[bytes, int]:
        """The last bytes, fewer where the object is shorter, and how long it is."""
        with asking(self):
            found = self._client.get(self.key, options={"range": {"suffix": length}})
            return bytes(found.bytes()), found.meta["size"]

    def read_ranges(self, offsets: Sequence[int], lengths: Sequence[int]) -> list[memoryview]:
        """Several ranges at once; fewer bytes where the object ends early."""
        with asking(self):
            found = self._client.get_ranges(self.key, starts=list(offsets), lengths=list(lengths))
            return [memoryview(part) for part in found]

    def write_bytes(self, data: bytes) -> None:
        with asking(self):
            self._client.put(self.key, data, use_multipart=False)  # parts of a killed upload would stay, unseen

    def create(self, data: bytes) -> bool:
        """Write an object unless there is one; returns whether the key holds these bytes now."""
        for pause in (*AGAIN, None):
            try:
                with asking(self):
                    self._client.put(self.key, data, mode="create", use_multipart=False)
                return True
            except FileExistsError:
                if (there := self._there()) is not None:
                    return there == data  # a request that was sent twice finds its own bytes
                if pause is not None:
                    time.sleep(pause)  # another request for it may be under way
        raise _unreachable(self, "the object store says that it is there, and that it isn't")

    def _there(self) -> bytes | None:
        try:
            return self.read_bytes()
        except FileNotFoundError:
            return None

    def delete(self, names: Collection[str]) -> None:
        """Delete objects below this prefix, where they are there."""
        if names:
            with asking(self):
                self._client.delete([(self / name).key for name in names])

    def names(self) -> tuple[list[str], list[str]]:
        """Of objects and of prefixes directly under this one, each in order."""
        found = self._listed(lambda: self._client.list_with_delimiter(self.key or None))
        return sorted(one["path"].rpartition("/")[2] for one in found["objects"]), sorted(
            path.strip("/").rpartition("/")[2] for path in found["common_prefixes"]
        )

    def versions(self) -> dict[str, str | None]:
        """Of objects directly under this one, the hash of each, as far as the object store tells."""
        found = self._listed(lambda: self._client.list_with_delimiter(self.key or None))
        return {one["path"].rpartition("/")[2]: one.get("e_tag") for one in found["objects"]}

    def sizes(self) -> dict[str, int]:
        """Bytes of all objects below this prefix, by what follows on it."""
        found = self._listed(lambda: [one for some in self._client.list(f"{self.key}/") for one in some])
        return {one["path"][len(self.key) + 1 :]: one["size"] for one in found}

    def _listed(self, ask: Callable[[], Any]) -> Any:
        """What a listing answers; asked for again where the answer was cut off, as obstore does not."""
        for pause in AGAIN:
            try:
                with asking(self):
                    return ask()
            except UnreachableError as error:
                if "response body" not in str(error.__cause__):
                    raise
                time.sleep(pause)
        with asking(self):
            return ask()

    @property
    def _client(self) -> obstore.store.S3Store:
        check_own_client(str(self))
        return _client(self.bucket, _settings())


def _settings() -> tuple[tuple[str, str], ...]:
    """The environment that a client is made from, so that another one gets another client."""
    return tuple(sorted((k, v) for k, v in os.environ.items() if k.upper().startswith("AWS_")))


@lru_cache(maxsize=16)
def _client(url: str, settings: tuple[tuple[str, str], ...]) -> obstore.store.S3Store:
    try:
        from obstore.store import S3Store
    except ImportError as error:
        raise InputError(f"{url} needs obstore; install it with `pip install 'ldmscene[s3]'`") from error
    known = {k.upper(): v for k, v in settings}
    plain = known.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true")
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        if known.get(name, "").lower().startswith("http://") and not plain:
            raise InputError(f"{name} is without encryption, {known[name]}; set AWS_ALLOW_HTTP=true to allow that")
    return S3Store.from_url(url, client_options={"timeout": TIMEOUT, "allow_http": plain}, retry_config=RETRY)  # type: ignore[arg-type]


@contextmanager
def asking(path: object) -> Iterator[None]:
    """Turn what obstore raises into FileNotFoundError, FileExistsError, or an UnreachableError with the cause."""
    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise _unreachable(path, _cause(error)) from error
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
    except Exception as error:
        if not type(error).__module__.startswith("obstore"):
            raise
        if type(error).__name__ == "AlreadyExistsError":
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        raise _unreachable(path, _cause(error)) from error


def _cause(error: Exception) -> str:
    kind, text = type(error).__name__, str(error).partition("\n")[0].partition("<")[0].rstrip(": ")
    code = _CODE.search(str(error))
    if "NoSuchBucket" in str(error):
        return "there is no such bucket"
    if kind in ("PermissionDeniedError", "UnauthenticatedError") or re.search(r"\b40[13] \w", str(error)):
        return "permission was denied" + (f" ({code[1]})" if code else "")
    if "501 Not Implemented" in str(error):
        return NO_CONDITIONS
    if "169.254.169.254" in text:  # where a machine inside AWS would be told its own
        return "there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    return f"the object store doesn't answer ({text})" if "HTTP error" in text else text


def _unreachable(path: object, cause: str) -> UnreachableError:
    error = UnreachableError(f"{path}: {cause}. Mend that and run the same command again")
    error.strerror = cause
    return error
