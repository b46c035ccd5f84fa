"""An object store that answers wrongly, or not at all, and how often it is asked."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

import ldmscene
from ldmscene.errors import InputError, LdmsceneError, UnreachableError, WriteError
from ldmscene.store import ActivationStore, layout, objects
from ldmscene.store.check import find_faults
from ldmscene.store.locations import location
from ldmscene.store.shards import CHECKSUM
from tests.conftest import make_manifest
from tests.store import proxy, worlds
from tests.store.proxy import Answer, Proxy

ACTIVATION = layout.activation_path(worlds.MODULE)
XML = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>%s</Code><Message>No.</Message></Error>'


@pytest.fixture
def through(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with proxy.running(os.environ["AWS_ENDPOINT_URL"]) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
        monkeypatch.setattr(objects, "AGAIN", (0.01, 0.01))
        yield running


@pytest.fixture
def root(s3: str, tmp_path) -> str:
    return f"{s3}/{tmp_path.name}"


def _conditional(method: str, headers: dict[str, str]) -> bool:
    return method == "PUT" and "if-none-match" in {name.lower() for name in headers}


@contextmanager
def _spoilt(
    through: Proxy, times: int, spoil: Callable[[Answer], Answer], concerned: Callable[[str, str], bool]
) -> Iterator[None]:
    """The first answers to some requests are spoilt inside the block, in which there must be as many of them."""
    count = itertools.count()

    def first(method: str, path: str, answer: Answer) -> Answer:
        return spoil(answer) if concerned(method, path) and next(count) < times else answer

    through.spoil = first
    yield
    assert next(count) >= times


def _listing(method: str, path: str) -> bool:
    return method == "GET" and "list-type" in path


def _cut(answer: Answer) -> Answer:
    """Half of the body, and the connection closed."""
    return Answer(answer.status, answer.headers, answer.body[: len(answer.body) // 2], len(answer.body))


def test_a_listing_that_is_cut_short_is_asked_for_again(through, root):
    store = worlds.make(root, 2)
    with _spoilt(through, 2, _cut, _listing):
        assert ActivationStore(store.root).samples["complete"].all()
    whole = location(root).sizes(layout.LEDGER)
    with _spoilt(through, 2, _cut, _listing):
        assert location(root).sizes(layout.LEDGER) == whole != {}


def test_a_listing_that_is_always_cut_short_is_named(through, root):
    store = worlds.make(root, 2)
    with (
        _spoilt(through, 1 + len(objects.AGAIN), _cut, _listing),
        pytest.raises(UnreachableError, match="doesn't answer"),
    ):
        ActivationStore(store.root)


@pytest.mark.parametrize(("status", "code"), [(403, "InvalidAccessKeyId"), (403, "AccessDenied"), (401, "Expired")])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_refusal_names_its_code_and_no_xml(through, root, status, code, method):
    through.ask = lambda asked, *_: Answer(status, {}, XML % code.encode()) if asked == method else None
    with pytest.raises(LdmsceneError, match=rf"permission was denied \({code}\)") as caught:
        worlds.prepare(root, 2)
    assert "<" not in str(caught.value)
    assert "amples are safe" not in str(caught.value)  # there are none


@pytest.mark.parametrize("status", [409, 412])
def test_a_conflict_over_what_is_not_there_yet_is_waited_for(through, root, status):
    count = itertools.count()
    through.ask = lambda method, _, headers: (
        Answer(status, {}, b"") if _conditional(method, headers) and next(count) < 2 else None
    )
    assert len(worlds.prepare(root, 2).manifest) == 2
    through.ask = lambda method, _, headers: Answer(status, {}, b"") if _conditional(method, headers) else None
    with pytest.raises(WriteError, match="says that it is there, and that it isn't"):
        worlds.prepare(f"{root}-other", 2)


def test_a_server_without_conditional_puts_gets_no_store(through, root):
    through.ask = lambda method, _, headers: (
        Answer(501, {}, XML % b"NotImplemented") if _conditional(method, headers) else None
    )
    with pytest.raises(WriteError, match=r"no conditional puts \(If-None-Match\)"):
        worlds.prepare(root, 2)
    through.ask = _strip
    with pytest.raises(WriteError, match=r"no conditional puts \(If-None-Match\)"):
        worlds.prepare(root, 2)
    assert location(root).names() == ([], [])


def _strip(method: str, _: str, headers: dict[str, str]) -> None:
    """As a gateway that knows no such header."""
    if _conditional(method, headers):
        for name in [name for name in headers if name.lower() == "if-none-match"]:
            del headers[name]


def test_an_endpoint_without_encryption_must_be_allowed(s3, monkeypatch):
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(InputError, match="set AWS_ALLOW_HTTP=true"):
        ActivationStore(f"{s3}/x")


def test_an_object_that_comes_shortened_once_is_read_once_more(through, root):
    store = worlds.make(root, 3)
    with _spoilt(through, 1, _shortened, lambda method, path: method == "GET" and ACTIVATION in path):
        found = store.activations(worlds.MODULE).values
    np.testing.assert_array_equal(found[2][:, None], worlds.values(2)[ACTIVATION])
    with _spoilt(through, 1, _shortened, lambda method, path: method == "GET" and path.endswith(".parquet")):
        assert ActivationStore(store.root).samples["complete"].all()
    with _spoilt(through, 1, _shortened, lambda method, path: method == "GET" and "/c." in path):
        assert find_faults(store.root) == []


def _shortened(answer: Answer) -> Answer:
    """As if the object were shorter, its Content-Length too."""
    return Answer(answer.status, answer.headers, answer.body[:-CHECKSUM])


def test_how_often_it_is_asked(through, root):
    """At most; of eight samples of three arrays."""
    asked = {}

    def counted(name: str, work: Callable[[], object]) -> object:
        through.seen.clear()
        result = work()
        asked[name] = through.requests
        return result

    store = counted("make", lambda: worlds.prepare(root, 8))
    counted("fill", lambda: worlds.fill(store, range(8)))
    store = counted("open", lambda: ActivationStore(root))
    counted("the same again", lambda: worlds.prepare(root, 8))
    counted("read a step of each", lambda: store.activations(worlds.MODULE, step=1).values)
    most = {"make": 31, "fill": 47, "open": 4, "the same again": 25, "read a step of each": 8}
    assert {name: n for name, n in asked.items() if n > most[name]} == {}


def test_how_often_a_run_asks(through, root, tiny):
    """At most; of eight samples, sixteen modules and a step, four of the modules evaluated."""
    manifest, asked = make_manifest(6, 2), {}

    def counted(name: str, work: Callable[[], object]) -> None:
        through.seen.clear()
        work()
        asked[name] = through.requests

    run = partial(ldmscene.extract, tiny, manifest, root, steps=1, batch_size=8, progress=False)
    counted("extract", run)
    assert sum(method == "PUT" for method, _ in through.seen) < 209  # 128 + 16 arrays, 46 documents and the ledger
    counted("the same again", run)
    counted("label", lambda: ldmscene.label(root, "depth", "tiny-depth", progress=False))
    counted("evaluate", lambda: ldmscene.evaluate(root, modules="up_blocks.3.*", cv=2, progress=False))
    most = {"extract": 233, "the same again": 64, "label": 56, "evaluate": 95}
    assert {name: n for name, n in asked.items() if n > most[name]} == {}
