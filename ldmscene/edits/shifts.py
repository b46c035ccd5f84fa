"""Wanted maps that are a sample's own ones elsewhere in the frame."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ldmscene.array_types import Array, Bools, Ints
from ldmscene.errors import InputError

Label = Callable[[str], Array]
"""the own label (Y, X) of a sample (sample_id): 0 and 1 for a mask"""

_SHIFT = re.compile(r"shift:(-?\d+),(-?\d+)(:cut)?")
_JUMP = re.compile(r"jump:(\d+),(\d+):(\d+)(:cut)?")


@dataclass(frozen=True)
class Shift:
    """The own map, moved down by `dy` and to the right by `dx` pixels."""

    dy: int
    dx: int
    cut: bool
    """whether an object may leave the frame"""
    binary: bool

    def map(self, sample_id: str, label: Label) -> Array:
        own = label(sample_id)
        return moved(own, *self._offset(own), fill=self.binary)

    def source(self, sample_id: str, label: Label) -> tuple[str, tuple[int, int]]:
        return sample_id, self._offset(label(sample_id))

    def _offset(self, own: Array) -> tuple[int, int]:
        if abs(self.dy) >= own.shape[0] or abs(self.dx) >= own.shape[1]:
            raise InputError(
                f"wanted: a shift of {self.dy},{self.dx} leaves the frame of {own.shape[0]} × {own.shape[1]} pixels; "
                "shift less far"
            )
        rows, columns = np.nonzero(own > 0)
        if self.cut or not self.binary or not len(rows):
            return self.dy, self.dx
        dy = np.clip(self.dy, -rows.min(), own.shape[0] - 1 - rows.max())
        dx = np.clip(self.dx, -columns.min(), own.shape[1] - 1 - columns.max())
        return int(dy), int(dx)


@dataclass(frozen=True)
class Jump:
    """The own map, moved along both axes, either way, by `low` to `high` pixels that are drawn for each sample.

    Chen et al. (2023) moved masks by 90 to 120 of 512 pixels, five times for each picture.
    """

    low: int
    high: int
    seed: int
    cut: bool
    """whether an object may leave the frame"""
    binary: bool

    def map(self, sample_id: str, label: Label) -> Array:
        return self._drawn(sample_id).map(sample_id, label)

    def source(self, sample_id: str, label: Label) -> tuple[str, tuple[int, int]]:
        return self._drawn(sample_id).source(sample_id, label)

    def _drawn(self, sample_id: str) -> Shift:
        rng = np.random.default_rng([self.seed, zlib.crc32(sample_id.encode())])
        dy, dx = rng.integers(self.low, self.high + 1, 2) * rng.choice([-1, 1], 2)
        return Shift(int(dy), int(dx), self.cut, self.binary)


def read_shift(wanted: str, binary: bool) -> Shift | Jump | None:
    """From "shift:DY,DX" or "jump:LOW,HIGH:SEED", either with ":cut" at the end; None where it is neither.

    Raises
    ------
    InputError
        If HIGH is below LOW.
    """
    if found := _SHIFT.fullmatch(wanted):
        return Shift(int(found[1]), int(found[2]), cut=bool(found[3]), binary=binary)
    if found := _JUMP.fullmatch(wanted):
        low, high, seed = (int(found[i]) for i in (1, 2, 3))
        if low > high:
            raise InputError(f"wanted: expected 'jump:LOW,HIGH:SEED' with LOW at most HIGH, got {wanted!r}")
        return Jump(low, high, seed, cut=bool(found[4]), binary=binary)
    return None


def moved(maps: Array, dy: int, dx: int, *, fill: bool) -> Array:
    """Maps (Y, X, …) shifted down and to the right; zeros come in where `fill`, else the edge is repeated."""
    rows, columns = np.arange(maps.shape[0]) - dy, np.arange(maps.shape[1]) - dx
    inside = np.logical_and.outer(_within(rows), _within(columns))
    taken = maps[np.ix_(np.clip(rows, 0, len(rows) - 1), np.clip(columns, 0, len(columns) - 1))]
    return np.where(inside, taken, 0) if fill else taken


def _within(positions: Ints) -> Bools:
    return (positions >= 0) & (positions < len(positions))


def ceiling(own: Array, wanted: Array) -> float:
    """The best Dice that an object (own mask) can have with a wanted mask of which a part was cut off."""
    whole, part = float((own > 0).sum()), float((wanted > 0).sum())
    return 2 * min(whole, part) / (whole + part) if whole + part else 1.0
