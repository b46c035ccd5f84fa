"""Windows of rows, read by threads while another is served."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType

import numpy as np

from ldmscene.array_types import Array
from ldmscene.errors import InputError
from ldmscene.rows.order import Hand, Order
from ldmscene.rows.source import Source

BUFFERS = 2  # one is served, one is read
THREADS = 4
ORDER_BYTES = 24  # a row's share of what its order takes, at most


def window_chunks(source: Source, memory: int, batch: int) -> int:
    """How many chunks a window may have.

    Raises
    ------
    InputError
        If not even a batch fits.
    """
    size, every = source.chunk_bytes + ORDER_BYTES * source.rows, len(source.samples) * source.strata
    chunks, least = memory // (BUFFERS * size), min(-(-batch // source.rows), every)
    if chunks < least:
        raise InputError(f"memory: expected at least {BUFFERS * least * size} bytes for this batch, got {memory}")
    return min(chunks, every)


@dataclass(frozen=True)
class Window:
    """A window's rows in memory."""

    hand: Hand
    buffers: Sequence[Array]
    """of each module, [slot, row, channel]"""


class Windows:
    """The windows that are wanted, in order; a context manager.

    `take` waits for the next. `release` hands one back, so that another may be read in its memory.
    """

    def __init__(self, source: Source, order: Order, wanted: Sequence[int]) -> None:
        self._source, self._order, self._wanted = source, order, deque(wanted)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="ldmscene-rows")
        self._ahead: deque[tuple[Sequence[Array], Future[tuple[Hand, list[Future[None]]]]]] = deque()

    def __enter__(self) -> Windows:
        for _ in range(min(BUFFERS, len(self._wanted))):
            self._begin([module.empty(self._order.window) for module in self._source.modules])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def take(self) -> Window:
        buffers, begun = self._ahead.popleft()
        hand, reading = begun.result()
        for future in reading:
            future.result()
        return Window(hand, buffers)

    def release(self, window: Window) -> None:
        if self._wanted:
            self._begin(window.buffers)

    def _begin(self, buffers: Sequence[Array]) -> None:
        number = self._wanted.popleft()
        self._ahead.append((buffers, self._pool.submit(self._deal, number, buffers)))

    def _deal(self, number: int, buffers: Sequence[Array]) -> tuple[Hand, list[Future[None]]]:
        hand = self._order.deal(number)
        return hand, [self._pool.submit(self._fill, hand, run, buffers) for run in _runs(hand, len(self._source.steps))]

    def _fill(self, hand: Hand, run: slice, buffers: Sequence[Array]) -> None:
        branch, steps = np.divmod(hand.stratum[run], len(self._source.steps))
        sample = self._source.samples[hand.sample[run][0]]
        wanted = [self._source.steps[step] for step in steps]
        for module, buffer in zip(self._source.modules, buffers, strict=True):
            module.read(sample, wanted, self._source.branches[branch[0]], buffer[run])


def _runs(hand: Hand, steps: int) -> Iterator[slice]:
    """Slots of one sample and branch, which one request can read."""
    apart = np.diff(hand.sample) | np.diff(hand.stratum // steps)
    ends = [0, *(np.flatnonzero(apart) + 1).tolist(), len(hand.sample)]
    return (slice(first, last) for first, last in pairwise(ends))
