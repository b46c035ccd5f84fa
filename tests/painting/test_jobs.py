"""One job at a time, and whose turn it is."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from ldmscene.errors import InputError
from ldmscene.painting.jobs import REMEMBERED, BusyError, Job, Jobs
from tests.painting.conftest import names


class Work:
    """A job that takes a step each time it may."""

    def __init__(self) -> None:
        self.may, self.began, self.left = threading.Semaphore(0), threading.Event(), threading.Event()

    def __call__(self, job: Job) -> None:
        self.began.set()
        try:
            while True:
                assert self.may.acquire(timeout=20)
                job.tell("step")
        finally:
            self.left.set()


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    made = Jobs(most=3)
    yield made
    made.close()


def _started(jobs: Jobs, seat: str) -> tuple[Work, Job]:
    work = Work()
    job = jobs.submit(seat, work)
    assert work.began.wait(20)
    return work, job


def _finish(jobs: Jobs, work: Work, job: Job) -> None:
    jobs.cancel(job)
    work.may.release()
    assert work.left.wait(20)


def test_a_newer_request_of_a_seat_takes_the_older_ones_place_and_others_wait(jobs):
    work, running = _started(jobs, "a")
    waiting, other = Work(), jobs.submit("b", lambda job: None)
    first = jobs.submit("a", waiting)
    assert names(running.events) == ["queued", "cancelled"]  # told at once; the model stops at its next step
    second = jobs.submit("a", lambda job: None)
    assert names(first.events) == ["queued", "cancelled"]
    assert second.events[0]["before"] == 2
    work.may.release()
    assert work.left.wait(20)
    ended = threading.Event()
    jobs.submit("c", lambda job: ended.set())
    assert ended.wait(20)
    assert names(other.events) == names(second.events) == ["queued", "done"]
    assert not waiting.began.is_set()


def test_no_more_wait_than_may(jobs):
    work, job = _started(jobs, "a")
    for seat in ("b", "c", "d"):
        jobs.submit(seat, lambda job: None)
    with pytest.raises(BusyError, match="3 pictures wait"):
        jobs.submit("e", lambda job: None)
    jobs.submit("c", lambda job: None)  # in its own place
    _finish(jobs, work, job)


def test_what_goes_wrong_is_told_and_the_next_job_runs(jobs):
    def refused(job: Job) -> None:
        raise InputError("no such thing")

    def broken(job: Job) -> None:
        raise ZeroDivisionError("oh")

    failed = jobs.submit("a", refused)
    crashed = jobs.submit("b", broken)
    for seat in ("a", "b"):  # behind what failed
        ended = threading.Event()
        jobs.submit(f"after {seat}", lambda job, ended=ended: ended.set())
        assert ended.wait(20)
    assert failed.events[-1] == {"event": "failed", "message": "no such thing"}
    assert crashed.events[-1] == {"event": "failed", "message": "ZeroDivisionError: oh"}


def test_closing_ends_all_and_the_worker(jobs):
    work, running = _started(jobs, "a")
    waiting = jobs.submit("b", lambda job: None)
    work.may.release(2)
    jobs.close()
    assert running.events[-1]["event"] == waiting.events[-1]["event"] == "cancelled"
    assert work.left.is_set()
    assert not jobs._thread.is_alive()


def test_events_of_old_jobs_are_forgotten(jobs):
    made = []
    for i in range(REMEMBERED + 3):
        ended = threading.Event()
        made.append(jobs.submit(f"seat-{i}", lambda job, ended=ended: ended.set()))
        assert ended.wait(20)
    assert jobs.find(made[0].id) is None
    assert jobs.find(made[-1].id) is made[-1]
