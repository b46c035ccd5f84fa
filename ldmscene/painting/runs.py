"""Painted maps as run lengths, short enough for an address: "1c4-0.5-72" is 1768 times 0, then 5 times 254.

Length and level are in base 36, row by row from the top left.
"""

from __future__ import annotations

from itertools import groupby

import numpy as np

from ldmscene.errors import InputError

Array = np.ndarray

TOP = 254
"""the level of the highest value; of a mask, foreground"""
UNPAINTED = 255
"""the level of a pixel that is left alone"""
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_LONGEST = 4_000_000  # characters


def encode(levels: Array) -> str:
    """Levels uint8 (Y, X) as run lengths."""
    runs = ((len(list(run)), level) for level, run in groupby(levels.ravel().tolist()))
    return ".".join(f"{_base36(length)}-{_base36(level)}" for length, level in runs)


def decode(text: str, shape: tuple[int, int]) -> Array:
    """Levels uint8 of a shape (Y, X).

    Raises
    ------
    InputError
        If the text is anything else.
    """
    size = shape[0] * shape[1]
    if len(text) > _LONGEST:
        raise InputError(f"expected at most {_LONGEST:,} characters of run lengths, got {len(text):,}")
    runs = [_run(run) for run in text.split(".")]
    lengths, levels = [length for length, _ in runs], [level for _, level in runs]
    if sum(lengths) != size:
        raise InputError(f"expected a map of {shape[0]} × {shape[1]} pixels, got {sum(lengths)} pixels")
    return np.repeat(np.array(levels, np.uint8), lengths).reshape(shape)


def _run(text: str) -> tuple[int, int]:
    length, _, level = text.partition("-")
    found = _number(length, 6), _number(level, 2)
    if found[1] > UNPAINTED:
        raise InputError(f"expected levels from 0 to {UNPAINTED}, got {found[1]}")
    return found


def _number(text: str, most: int) -> int:
    # int() also takes signs, spaces and other scripts' digits.
    if not 1 <= len(text) <= most or not set(text) <= set(_DIGITS):
        raise InputError(f"expected run lengths such as 1c4-0.5-72, got {text[:20]!r}")
    return int(text, 36)


def _base36(number: int) -> str:
    digits = _DIGITS[number % 36]
    while number := number // 36:
        digits = _DIGITS[number % 36] + digits
    return digits


def values(levels: Array, low: float, high: float) -> Array:
    """What levels stand for, float32: `low` to `high`; NaN where nothing is painted."""
    scaled = low + levels.astype(np.float32) / TOP * (high - low)
    return np.where(levels == UNPAINTED, np.nan, scaled).astype(np.float32)


def as_levels(mask: Array) -> Array:
    """A mask of 0, 1 and NaN as levels; no label counts as background."""
    return np.where(np.nan_to_num(mask) > 0, TOP, 0).astype(np.uint8)
