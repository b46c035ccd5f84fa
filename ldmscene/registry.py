"""Things by name, each registered once; other packages add theirs by entry points."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Protocol, TypeVar

from ldmscene.errors import InputError, unknown


class Named(Protocol):
    """What can be registered."""

    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)


class Registry(Mapping[str, T]):
    """Values by their name, in the order in which they were registered.

    Entry points are read at the first look at it; one that can't be loaded is left out with a warning.

    Parameters
    ----------
    noun : str
        What a value is, for messages.
    group : str
        The group of entry points by which other packages register values, each entry point naming one.
    own : iterable
        The package's own values.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from ldmscene.registry import Registry
    >>> @dataclass(frozen=True)
    ... class Colour:
    ...     name: str
    >>> colours = Registry("colour", "ldmscene.colours", [Colour("red")])
    >>> colours.register(Colour("blue"))
    Colour(name='blue')
    >>> list(colours)
    ['red', 'blue']
    """

    def __init__(self, noun: str, group: str, own: Iterable[T] = ()) -> None:
        self.noun, self.group = noun, group
        self._values: dict[str, T] = {}
        self._read = False
        for value in own:
            self.register(value)

    def register(self, value: T) -> T:
        """Add a value, and return it.

        Raises
        ------
        InputError
            If another one has its name.
        """
        if self._values.setdefault(value.name, value) is not value:
            raise InputError(f"{self.noun}: expected a new name, got {value.name!r}, which is taken; choose another")
        return value

    def __getitem__(self, name: str) -> T:
        values = self._all()
        if name not in values:
            raise unknown(self.noun, name, values)
        return values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def _all(self) -> dict[str, T]:
        if not self._read:
            self._read = True
            for point in entry_points(group=self.group):
                try:
                    self.register(point.load())
                except Exception as error:
                    warnings.warn(f"{self.noun} {point.name!r} of {point.value} is left out: {error}", stacklevel=4)
        return self._values
