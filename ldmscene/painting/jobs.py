"""One job at a time: a worker thread, a bounded queue, and what each job tells whoever watches it."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ldmscene.errors import LdmsceneError

Event = dict[str, Any]
DONE, CANCELLED, FAILED = "done", "cancelled", "failed"
ENDS = (DONE, CANCELLED, FAILED)
REMEMBERED = 4  # finished jobs whose events can still be read


class Cancelled(BaseException):  # not an Exception, so that nobody on the way takes it for a failure
    """Raised inside a job that is no longer wanted."""


class BusyError(LdmsceneError):
    """More jobs wait than are let wait."""


@dataclass(eq=False)
class Job:
    """Some work and what it has told so far.

    Attributes
    ----------
    seat : str
        Who asked for it: a newer job of the same seat takes its place.
    events : list of dict
        The last one's `event` is "done", "cancelled" or "failed".
    """

    seat: str
    work: Callable[[Job], None]
    id: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    events: list[Event] = field(default_factory=list)
    _bells: list[Callable[[], None]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def ended(self) -> bool:
        return bool(self.events) and self.events[-1]["event"] in ENDS

    def tell(self, event: str, **words: Any) -> None:
        """Add an event.

        Raises
        ------
        Cancelled
            If the job has ended in the meantime.
        """
        with self._lock:
            if self.ended:
                raise Cancelled
            self.events.append({"event": event, **words})
            bells = list(self._bells)
        for ring in bells:
            ring()

    def end(self, event: str, **words: Any) -> None:
        """Add the last event, unless there is one."""
        try:
            self.tell(event, **words)
        except Cancelled:
            return

    @contextmanager
    def ringing(self, ring: Callable[[], None]) -> Iterator[None]:
        """Call a function at each event inside the block."""
        with self._lock:
            self._bells.append(ring)
        try:
            yield
        finally:
            with self._lock:
                self._bells.remove(ring)


class Jobs:
    """The queue and its worker.

    Parameters
    ----------
    most : int
        Jobs that wait at most, beside the one that runs.
    """

    def __init__(self, most: int = 8) -> None:
        self._most, self._closed = most, False
        self._waiting: list[Job] = []
        self._known: dict[str, Job] = {}
        self._running: Job | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="ldmscene-paint", daemon=True)
        self._thread.start()

    def submit(self, seat: str, work: Callable[[Job], None]) -> Job:
        """Queue some work, in the place of what the seat asked for before.

        Raises
        ------
        BusyError
            If the queue is full.
        """
        with self._changed:
            for older in [job for job in (self._running, *self._waiting) if job and job.seat == seat]:
                self._drop(older)
            if len(self._waiting) >= self._most:
                raise BusyError(f"{self._most} pictures wait to be drawn already; try again in a while")
            job = Job(seat, work)
            job.tell("queued", before=len(self._waiting) + (self._running is not None))
            self._waiting.append(job)
            self._remember(job)
            self._changed.notify()
        return job

    def find(self, name: str) -> Job | None:
        """A job by its id."""
        return self._known.get(name)

    def cancel(self, job: Job) -> None:
        """End a job: at once if it waits, else at its next step."""
        with self._changed:
            self._drop(job)

    def close(self, seconds: float = 10) -> None:
        """End all jobs, and wait until the worker has stopped."""
        with self._changed:
            self._closed = True
            for job in [job for job in (self._running, *self._waiting) if job]:
                self._drop(job)
            self._changed.notify()
        self._thread.join(seconds)

    def _drop(self, job: Job) -> None:
        if job in self._waiting:
            self._waiting.remove(job)
        job.end(CANCELLED)

    def _remember(self, job: Job) -> None:
        self._known[job.id] = job
        ended = [one.id for one in self._known.values() if one.ended]
        for name in ended[: max(0, len(ended) - REMEMBERED)]:
            del self._known[name]

    def _next(self) -> Job | None:
        with self._changed:
            self._running = None
            self._changed.wait_for(lambda: self._closed or self._waiting)
            if self._closed:
                return None
            self._running = self._waiting.pop(0)
            return self._running

    def _work(self) -> None:
        while job := self._next():
            try:
                job.work(job)
                job.end(DONE)
            except Cancelled:
                job.end(CANCELLED)
            except LdmsceneError as error:
                job.end(FAILED, message=str(error))
            except Exception as error:  # of the model's own code; the next picture may do better
                job.end(FAILED, message=f"{type(error).__name__}: {error}"[:500])
