"""What was read lately and may be asked for again, in memory up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Any


class Recent:
    """Values by key, those that were asked for last; for many threads. It pickles empty.

    Parameters
    ----------
    most : int
        Bytes of all values.
    """

    def __init__(self, most: int) -> None:
        self._most, self._size, self._lock = most, 0, Lock()
        self._found: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable) -> Any:
        """None where it isn't here, or no longer."""
        with self._lock:
            if key not in self._found:
                return None
            self._found.move_to_end(key)
            return self._found[key][0]

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """`size` is the value's bytes."""
        with self._lock:
            self._size += size - self._found.pop(key, (None, 0))[1]
            self._found[key] = value, size
            while self._size > self._most:
                self._size -= self._found.popitem(last=False)[1][1]

    def __reduce__(self) -> tuple[type[Recent], tuple[int]]:
        return Recent, (self._most,)
