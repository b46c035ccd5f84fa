"""Parts of a document turned into values of known types, or one sentence on what is wrong with them.

Each function takes a value and where it stands, and raises CorruptError unless the value is of the kind in its name.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from ldmscene.errors import CorruptError

LARGEST = sys.float_info.max
DEEP = 40  # levels of nesting in a document; ours have about ten
T = TypeVar("T")


def wrong(where: str, expected: str, value: object) -> CorruptError:
    """The error for a value of another kind than the schema has."""
    got = repr(value)[:80] if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"
    return CorruptError(
        f"{where}: expected {expected}, got {got}; the store is damaged or not one of ldmscene's, so take another copy"
    )


def document(data: bytes, where: str) -> dict[str, Any]:
    """A JSON object of bounded depth, whose text is text."""
    return record(any_document(data, where), where)


def any_document(data: bytes, where: str) -> Any:
    """JSON of bounded depth, whose text is text."""
    found = tree(data, where)
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except ValueError as error:  # halves of surrogates can be written nowhere
        raise wrong(where, "text", str(error)) from error
    return found


def tree(data: bytes, where: str) -> Any:
    """JSON of bounded depth; its texts may hold halves of characters."""
    try:
        found = json.loads(data.decode(), object_pairs_hook=_once)
        level, depth = [found], 0
        while level:
            depth += 1
            if depth > DEEP:
                raise wrong(where, f"at most {DEEP} levels", f"more than {DEEP}")
            level = [child for node in level for child in _children(node)]
    except (ValueError, RecursionError) as error:
        raise wrong(where, "JSON", str(error)) from error
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; readers differ in which of two members of one name they take."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object with two members of one name")
    return found


def _children(node: object) -> Collection[object]:
    return node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()


def record(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise wrong(where, "an object", value)
    return value


def member(value: dict[str, Any], name: str, where: str) -> Any:
    """A required member of an object."""
    if name not in value:
        raise wrong(where, f"a member {name!r}", "none")
    return value[name]


def text(value: object, where: str, shape: re.Pattern[str] | None = None) -> str:
    if not isinstance(value, str) or (shape is not None and not shape.fullmatch(value)):
        raise wrong(where, "text" if shape is None else f"text like {shape.pattern}", value)
    return value


def whole(value: object, where: str, low: int = 0, high: int = 2**31 - 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise wrong(where, f"a whole number from {low} to {high}", value)
    return value


def number(value: object, where: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not -LARGEST <= value <= LARGEST:
        raise wrong(where, "a number", value)
    return float(value)


def one_of(value: object, where: str, known: Collection[T]) -> T:
    for one in known:
        if type(one) is type(value) and one == value:
            return one
    raise wrong(where, f"one of {', '.join(map(repr, known))}", value)


def items(value: object, where: str, one: Callable[[Any, str], T]) -> tuple[T, ...]:
    """A list, each of its items parsed by `one`."""
    if not isinstance(value, list):
        raise wrong(where, "a list", value)
    return tuple(one(item, f"{where}[{i}]") for i, item in enumerate(value))


def distinct(values: tuple[T, ...], where: str) -> tuple[T, ...]:
    if len(set(values)) < len(values):
        raise wrong(where, "each item once", "one twice")
    return values
