"""Prompts that are one to whoever reads them."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Hashable, Sequence

from ldmscene.errors import LeakWarning, ManifestError

SHOWN = 5


def normal(prompt: str) -> str:
    """A prompt without what most text encoders don't see: capitals, the number of spaces, how a letter is composed.

    Examples
    --------
    >>> normal(" A red\\n Cube")
    'a red cube'
    """
    return " ".join(unicodedata.normalize("NFC", prompt).casefold().split())


def tell_leaks(
    prompts: Sequence[str], readings: Sequence[Hashable], splits: Sequence[str], *, refuse: bool = False
) -> None:
    """A LeakWarning with the pairs of different prompts that are read as one and lie in two splits, if there are any.

    Parameters
    ----------
    prompts, readings, splits
        One for each sample: its prompt, what is read of it, and its split.
    refuse
        Raise instead of warning.

    Raises
    ------
    ManifestError
        With the same words, where that is asked for.
    """
    first: dict[Hashable, tuple[str, str]] = {}
    pairs: dict[tuple[str, str], str] = {}
    for prompt, reading, split in zip(prompts, readings, splits, strict=True):
        other, side = first.setdefault(reading, (prompt, split))
        if side != split and other != prompt:
            pairs[other, prompt] = f"{other[:60]!r} ({side}) and {prompt[:60]!r} ({split})"
    if pairs:
        shown = "; ".join(list(pairs.values())[:SHOWN]) + ("; …" if len(pairs) > SHOWN else "")
        told = (
            f"{len(pairs)} pairs of prompts are one to the model and lie in two splits, which leaks into test scores: "
            f"{shown}; give each pair one split"
        )
        if refuse:
            raise ManifestError(told)
        warnings.warn(told, LeakWarning, stacklevel=5)
