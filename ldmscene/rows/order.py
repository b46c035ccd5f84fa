"""In which order rows come: pure functions of (seed, epoch), the same on every machine and with every numpy.

Chunks are dealt in rounds. In each round every sample comes once, at a step and branch that it hasn't had, and
neighbours have different ones: a window holds as many pictures as it can, and all steps and branches alike. Rows are
dealt in turns: in each turn every chunk of the window gives one row. So a batch holds each chunk of its window equally
often, up to one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ldmscene.array_types import Ints

_DEAL, _ROUND, _WINDOW = range(3)  # what random bits are for


@dataclass(frozen=True)
class Order:
    """The order of one epoch.

    Attributes
    ----------
    seed, epoch : int
        Not negative.
    samples, strata, rows : int
        How many samples there are, chunks of each sample, and rows of each chunk.
    window : int
        Chunks that are in memory together.
    """

    seed: int
    epoch: int
    samples: int
    strata: int
    rows: int
    window: int

    @property
    def chunks(self) -> int:
        return self.samples * self.strata

    @property
    def total(self) -> int:
        """Rows of an epoch."""
        return self.chunks * self.rows

    def window_of(self, position: int) -> int:
        """The number of the window in which a row of the epoch lies."""
        return position // (self.window * self.rows)

    def deal(self, number: int) -> Hand:
        """What a window holds and in which order its rows come."""
        first, last = number * self.window, min((number + 1) * self.window, self.chunks)
        rounds = [deal_round(self, k) for k in range(first // self.samples, (last - 1) // self.samples + 1)]
        begin = first - first // self.samples * self.samples
        sample, stratum = np.concatenate(rounds, axis=1)[:, begin : begin + last - first]
        slots = np.lexsort((stratum, sample))  # one sample's chunks side by side, as they lie on disk
        rows = deal_rows(bits(self.seed, self.epoch, _WINDOW, number), last - first, self.rows)
        return Hand(number, first * self.rows, sample[slots], stratum[slots], rows)


@dataclass(frozen=True)
class Hand:
    """A window's content. Its chunks lie in slots."""

    number: int
    first: int
    """the position of its first row in the epoch"""
    sample: Ints
    """[slot]"""
    stratum: Ints
    """[slot]"""
    rows: Ints
    """[position in the window] slot × rows of a chunk + row"""

    @property
    def last(self) -> int:
        """The position behind its last row in the epoch."""
        return self.first + len(self.rows)


def bits(*key: int) -> np.random.PCG64:
    """Random bits of which numpy promises that they stay the same from version to version."""
    return np.random.PCG64(np.random.SeedSequence(key))


def shuffled(source: np.random.PCG64, count: int, length: int) -> Ints:
    """That many permutations of range(length), [count, length]."""
    mask = np.uint64((1 << max(length - 1, 1).bit_length()) - 1)
    # The number itself is the last bits of its random key, so that no keys are equal and sorting them is all it takes.
    keys = (source.random_raw(count * length).reshape(count, length) & ~mask) | np.arange(length, dtype=np.uint64)
    keys.sort(axis=1)
    return (keys & mask).astype(np.int64)


@lru_cache(maxsize=4)
def deal_round(order: Order, number: int) -> Ints:
    """The chunks of a round, [sample and stratum, chunk]: every sample once.

    Samples are dealt to as many groups as there are strata, once an epoch; from round to round each group moves on by
    one stratum, and its samples are shuffled.
    """
    groups, length = order.strata, -(-order.samples // order.strata)
    fixed = bits(order.seed, order.epoch, _DEAL)
    labels = shuffled(fixed, 1, groups)[0]
    members = np.full((length, groups), -1)
    members.reshape(-1)[: order.samples] = shuffled(fixed, 1, order.samples)[0]
    source, full = bits(order.seed, order.epoch, _ROUND, number), order.samples - (length - 1) * groups
    turns = np.full((groups, length), length - 1)  # groups that lack a last member keep that gap at the end
    turns[:full] = shuffled(source, full, length)
    turns[full:, : length - 1] = shuffled(source, groups - full, length - 1)
    sample = np.take_along_axis(members, turns.T, axis=0)
    stratum = np.broadcast_to(labels[(np.arange(groups) + number) % groups], sample.shape)
    there = sample >= 0
    return np.stack([sample[there], stratum[there]])


def deal_rows(source: np.random.PCG64, chunks: int, rows: int) -> Ints:
    """A window's rows, int32 or int64 [chunks × rows]: in each turn one of every chunk, in random order."""
    of_chunk = shuffled(source, chunks, rows)
    turns = shuffled(source, rows, chunks)
    dealt = turns * rows + of_chunk[turns, np.arange(rows)[:, None]]
    found: Ints = dealt.reshape(-1).astype(np.int32 if chunks * rows < 2**31 else np.int64)
    return found
