"""How callers say which of several they mean: names, beginnings and globs of names; numbers and slices of steps."""

from __future__ import annotations

import fnmatch
import operator
from collections.abc import Iterable, Sequence
from typing import Any

from ldmscene.errors import InputError, unknown

Steps = int | slice | Iterable[int]


def several(asked: Any) -> list[Any]:
    """What was asked for, be it one or several."""
    return list(asked) if isinstance(asked, Iterable) and not isinstance(asked, str) else [asked]


def matching(asked: str, known: Sequence[str]) -> list[str]:
    """The names that one word means: a name, the beginning of names up to a dot, or a glob; in their order.

    A name goes before names that begin with it.

    Examples
    --------
    >>> matching("up.3", ["up.3.attn1", "up.3.attn2", "up.30.attn1"])
    ['up.3.attn1', 'up.3.attn2']
    """
    if asked in known:
        return [asked]
    return [name for name in known if name.startswith(f"{asked}.")] or fnmatch.filter(known, asked)


def choose_names(kind: str, asked: str | Iterable[str], known: Sequence[str]) -> list[str]:
    """Names that one or several words mean, each once, in the order in which they are asked for.

    Raises
    ------
    UnknownNameError
        If a word means none; `kind` says of what, such as "module in this store".
    """
    names: dict[str, None] = {}
    for one in several(asked):
        found = matching(one, known) if isinstance(one, str) else []
        if not found:
            raise unknown(kind, one, known)
        names |= dict.fromkeys(found)
    return list(names)


def choose_one(kind: str, asked: str, known: Sequence[str]) -> str:
    """The only name that a word means.

    Raises
    ------
    UnknownNameError
        If it means none.
    InputError
        If it means several.
    """
    found = choose_names(kind, asked, known)
    if len(found) > 1:
        raise InputError(f"expected one {kind}, but {asked!r} means {len(found)}, {found[0]} and {found[1]} among them")
    return found[0]


def choose_steps(asked: Steps | None, known: Sequence[int], where: str = "this store") -> list[int]:
    """Numbers of steps: all, one, several or a slice of them; −1 is the last.

    Raises
    ------
    InputError
        If there is no such step, or none is asked for.

    Examples
    --------
    >>> choose_steps(slice(None, None, 2), range(5)), choose_steps([0, -1], range(5))
    ([0, 2, 4], [0, 4])
    """
    if asked is None:
        return list(known)
    if isinstance(asked, slice):
        steps = [step for step in range(*asked.indices(max(known, default=-1) + 1)) if step in known]
    else:
        steps = [_step(one, known, where) for one in _numbers(asked)]
    if not steps:
        raise InputError(f"steps: expected at least one of {_span(known)}, got none; None means all of {where}")
    return steps


def _numbers(asked: int | Iterable[int]) -> list[int]:
    try:
        return [operator.index(one) for one in (asked if isinstance(asked, Iterable) else [asked])]
    except TypeError as error:
        raise InputError(f"steps: expected whole numbers or a slice, got {asked!r}") from error


def _step(one: int, known: Sequence[int], where: str) -> int:
    found = known[one] if -len(known) <= one < 0 else one
    if found not in known:
        raise InputError(f"no step {one} in {where}; its steps are {_span(known)}")
    return found


def _span(known: Sequence[int]) -> str:
    if len(known) and list(known) != list(range(known[0], known[-1] + 1)):
        return ", ".join(map(str, known))
    if len(known) == 1:
        return f"{known[0]} alone"
    return f"{known[0]} to {known[-1]}" if len(known) else "none yet"
