"""Batches of rows, out of one window or across the border of two."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ldmscene.array_types import Array, Ints
from ldmscene.rows.order import Hand, Order
from ldmscene.rows.source import Source
from ldmscene.rows.windows import Window, Windows

Numbers = TypeVar("Numbers", Array, Ints)


@dataclass(frozen=True)
class Batch:
    """Rows that are served together."""

    number: int
    """within the epoch"""
    x: list[Array]
    """of each module, [row, channel]"""
    provenance: dict[str, Ints]


def count(order: Order, batch: int) -> int:
    """Batches of an epoch; the last may be short."""
    return -(-order.total // batch)


def bounds(order: Order, batch: int, number: int) -> tuple[int, int]:
    """Positions of a batch's first row and behind its last."""
    return number * batch, min((number + 1) * batch, order.total)


def serve(source: Source, order: Order, batch: int, numbers: Sequence[int]) -> Iterator[Batch]:
    """Batches of these numbers, ascending; windows that none of them needs aren't read."""
    inside = [None if module.grid == source.grid else source.inside(module) for module in source.modules]
    held: deque[Window] = deque()
    with Windows(source, order, wanted(order, batch, numbers)) as windows:
        for number in numbers:
            first, last = bounds(order, batch, number)
            while held and held[0].hand.last <= first:
                windows.release(held.popleft())
            while not held or held[-1].hand.last < last:
                held.append(windows.take())
            parts = [(window, rows_between(window.hand, first, last)) for window in held]
            x = [_joined([_take(w, k, rows, own, order.rows) for w, rows in parts]) for k, own in enumerate(inside)]
            origins = [origin(window.hand, rows, order.rows) for window, rows in parts]
            yield Batch(number, x, source.provenance(*map(_joined, zip(*origins, strict=True))))


def wanted(order: Order, batch: int, numbers: Sequence[int]) -> list[int]:
    """Windows that hold rows of these batches."""
    found: dict[int, None] = {}
    for number in numbers:
        first, last = bounds(order, batch, number)
        found |= dict.fromkeys(range(order.window_of(first), order.window_of(last - 1) + 1))
    return list(found)


def rows_between(hand: Hand, first: int, last: int) -> Ints:
    """A window's rows between two positions of the epoch."""
    return hand.rows[max(first - hand.first, 0) : max(last - hand.first, 0)]


def origin(hand: Hand, rows: Ints, per_chunk: int) -> tuple[Ints, Ints, Ints]:
    """Sample, stratum and row in its chunk of each of a window's rows."""
    slot, row = np.divmod(rows, per_chunk)
    return hand.sample[slot], hand.stratum[slot], row


def _take(window: Window, module: int, rows: Ints, own: Ints | None, per_chunk: int) -> Array:
    buffer = window.buffers[module]
    if own is not None:
        slot, row = np.divmod(rows, per_chunk)
        rows = slot * buffer.shape[1] + own[row]
    return buffer.reshape(-1, buffer.shape[-1]).take(rows, axis=0, mode="clip")  # clip: rows are in bounds, unchecked


def _joined(parts: Sequence[Numbers]) -> Numbers:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
