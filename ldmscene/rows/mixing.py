"""How well batches are mixed, measured on the order itself: no activation is read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ldmscene.array_types import Array
from ldmscene.rows import batches
from ldmscene.rows.order import Order


@dataclass(frozen=True)
class Mixing:
    """Of two rows of a batch, how often both come from one picture.

    Attributes
    ----------
    measured : float
        The mean over batches.
    ideal : float
        What it would be if each batch were drawn from all rows, which takes all of them in memory.
    """

    measured: float
    ideal: float

    @property
    def ratio(self) -> float:
        """1 is as good as memory without bounds; below it, batches are more varied than random ones."""
        return self.measured / self.ideal


def mixing(order: Order, batch: int, most: int) -> Mixing:
    """Of the first batches of an epoch, at most that many; a short last one doesn't count unless it is alone."""
    numbers = range(min(most, max(order.total // batch, 1)))
    shares, hand = [], order.deal(0)
    for number in numbers:
        first, last = batches.bounds(order, batch, number)
        parts = []
        while True:
            rows = batches.rows_between(hand, first, last)
            parts.append(batches.origin(hand, rows, order.rows)[0])
            if hand.last >= last:
                break
            hand = order.deal(hand.number + 1)
        shares.append(same_share(np.concatenate(parts)))
    of_one = order.strata * order.rows
    ideal = (of_one - 1) / max(order.total - 1, 1)
    return Mixing(float(np.mean(shares)), ideal)


def same_share(groups: Array) -> float:
    """The share of pairs of different members that are of one group."""
    counts = np.unique(groups, return_counts=True)[1].astype(np.float64)
    pairs = len(groups) * (len(groups) - 1)
    return float((counts * (counts - 1)).sum() / pairs) if pairs else 0.0
