"""What one of several writers does of an extraction."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ldmscene.errors import InputError


@dataclass(frozen=True)
class Part:
    """Every `of`-th batch of a manifest, from the `index`-th on: what one of several writers does."""

    index: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """From "1/4", counted from 1.

        Raises
        ------
        InputError
            If it is anything else.
        """
        found = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
        if not found or int(found[1]) > int(found[2]):
            raise InputError(f"part must be like 1/4, for the first of four writers; got {text!r}")
        return cls(int(found[1]) - 1, int(found[2]))


WHOLE = Part(0, 1)
