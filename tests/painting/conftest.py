"""A page without a model, for what its server does, and one on the session's store."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

import ldmscene
from ldmscene import capture
from ldmscene.painting import Painting, Studio, runs, serve
from ldmscene.painting.offer import Offer, Paintable
from tests.conftest import make_manifest

SIZE = (6, 8)


@pytest.fixture
def offer() -> Offer:
    targets = (Paintable("mask", "binary", 0, 1, "a"), Paintable("depth", "continuous", 2, 4, "b"))
    return Offer(targets, ("a", "b"), (0, 1, 2), ("conditional", "adam"), SIZE)


def words(**change: Any) -> dict[str, Any]:
    """What a page asks for."""
    wanted = np.zeros(SIZE, np.uint8)
    wanted[:2] = runs.TOP
    known = {
        "target": "mask", "wanted": runs.encode(wanted), "rule": "adam", "strength": 1.5, "modules": ["b"],
        "steps": [0, 2],
    }  # fmt: skip
    return {"prompt": "a red cube", "seed": "7", "seat": "one", "change": {**known, **change}}


def names(events: Iterable[dict[str, Any]]) -> list[str]:
    return [event["event"] for event in events]


@dataclass
class Drawn:
    """A studio that takes a step whenever a test lets it."""

    offer: Offer
    steps: int = 3
    asked: list[Any] = field(default_factory=list)
    may: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    began: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    store: Any = field(default_factory=lambda: SimpleNamespace(manifest=make_manifest(2, 2)))

    def draw(self, asked, tell) -> None:
        self.asked.append(asked)
        self.began.set()
        try:
            for step in range(self.steps):
                assert self.may.acquire(timeout=20)
                tell("step", run="own", step=step)
        finally:
            self.left.set()


@pytest.fixture
def studio(offer) -> Drawn:
    return Drawn(offer)


@pytest.fixture
def served(studio) -> Iterator[Painting]:
    with serve(studio, {"model": "<b>a model</b>", "measured": ""}, host="127.0.0.1", port=0) as page:
        yield page


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Any
    body: bytes


@dataclass
class Client:
    """Asks a page's server by hand."""

    address: str

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """`path` begins with "/", or is below the page's own address."""
        with self.opened(method, path, body, headers) as found:
            return Answer(found.status, found.headers, found.read())

    @contextmanager
    def opened(self, method: str, path: str, body: bytes | None = None, headers=()) -> Iterator[Any]:
        """An answer that is read while it comes."""
        url = urlsplit(self.address)
        with closing(http.client.HTTPConnection(url.hostname or "", url.port, timeout=20)) as connection:
            place = path if path.startswith("/") else url.path + path
            sent = {name.replace("_", "-"): value for name, value in dict(headers).items()}
            connection.request(method, place, body, sent)
            with connection.getresponse() as found:
                yield found

    def draw(self, asked: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        answer = self.send("POST", "draw", json.dumps(asked).encode(), content_type="application/json", **headers)
        return answer.status, json.loads(answer.body)

    def events(self, job: str) -> Iterator[dict[str, Any]]:
        with self.opened("GET", f"events/{job}") as answer:
            for line in answer:
                if line.strip():
                    yield json.loads(line.removeprefix(b"data: "))


@pytest.fixture
def client(served) -> Client:
    return Client(served.address)


@pytest.fixture(scope="session")
def grid(store):
    return ldmscene.evaluate(store, progress=False)


@pytest.fixture(scope="session")
def studio_on_store(store, grid, tiny) -> Studio:
    """Pictures by the embedded model."""
    return Studio(store, grid, capture.Model.load(tiny))


@pytest.fixture(scope="session")
def painting(store, grid, tiny) -> Iterator[Painting]:
    """The page on the session's store; one for all tests in a browser."""
    with ldmscene.paint(store, grid, model=tiny) as page:
        yield page
