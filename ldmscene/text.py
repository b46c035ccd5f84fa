"""Text for people: sizes, and what came from elsewhere made harmless."""

from __future__ import annotations

from collections.abc import Sequence


def printable(text: str) -> str:
    """Text from a manifest or a store with its control characters replaced."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def human_bytes(count: float) -> str:
    """A size with three digits, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def number(value: float, form: str) -> str:
    """A number in a format such as `.2f`, with a minus sign instead of a hyphen."""
    return format(value, form).replace("-", "−")


def counted(count: int, noun: str, one: str = "", many: str = "") -> str:
    """`1 step`, `2 steps`; with a verb for `one` and for `many` behind it: `1 step is`, `2 steps are`."""
    return f"{count} {noun}{'s' * (count != 1)} {one if count == 1 else many}".rstrip()


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`; empty of none."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
