"""What was run, as lines of names and values that a person reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

FEW = 8  # numbers that are listed one by one


def groups(provenance: Mapping[str, object]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Single facts first, under no name, then each mapping under its own."""
    single = [
        (_name(key), shown(v)) for key, v in provenance.items() if not isinstance(v, Mapping) and key != "command"
    ]
    nested = [(_name(key), list(flat(v))) for key, v in provenance.items() if isinstance(v, Mapping)]
    return [("", single), *nested]


def flat(nested: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested mappings as lines of a table, `model.steps` beside `15`."""
    for key, value in nested.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{_name(key)}", shown(value)


def shown(value: object) -> str:
    """A fact in words: numbers with four digits, long lists of numbers by their ends."""
    if value is None or (isinstance(value, Sequence) and not value):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        numbers = all(isinstance(one, int | float) for one in value)
        if numbers and len(value) > FEW:
            return f"{len(value)} values, {shown(min(value))} to {shown(max(value))}"
        return ", ".join(map(shown, value))
    return str(value)


def _name(key: str) -> str:
    return key.replace("_", " ")
