"""What a page's server lets through, to whom, and how it ends."""

from __future__ import annotations

import asyncio
import json
import socket
import threading

import pytest

import ldmscene
from ldmscene.errors import InputError, LdmsceneError
from ldmscene.painting import serve, server
from ldmscene.painting.guard import Guard, hosts_of
from ldmscene.painting.jobs import Jobs
from ldmscene.painting.server import LONGEST_BODY
from tests.painting.conftest import Client, names, words


def test_events_come_as_they_are_made(client, studio):
    status, found = client.draw(words())
    assert status == 202
    events = client.events(found["job"])
    assert next(events) == {"event": "queued", "before": 0}
    for step in range(studio.steps):
        studio.may.release()
        assert next(events) == {"event": "step", "run": "own", "step": step}
    assert names(events) == ["done"]
    (asked,) = studio.asked
    assert (asked.prompt, asked.change.rule) == ("a red cube", "adam")
    assert names(client.events(found["job"])) == ["queued", *["step"] * 3, "done"]  # once more, from the beginning


def test_a_wrong_field_is_named_and_nothing_is_drawn(client, studio):
    assert client.draw(words(rule="donor")) == (
        422,
        {"field": "rule", "message": "expected one of conditional, adam; got 'donor'"},
    )
    for seat in (None, "", "a/b", "x" * 65, 3):
        assert client.draw({**words(), "seat": seat})[1]["field"] == "seat"
    assert studio.asked == []


def test_who_lacks_the_token_is_let_to_nothing(client, served):
    token = served.address.split("/")[3]
    assert len(token) >= 32
    for path in (
        "/",
        "/draw",
        "/offer.json",
        "/assets/main.js",
        f"/{token[:-1]}/",
        f"/{token}x/",
        f"//{token}/",
        "/%C3%A9/",
    ):
        answer = client.send("GET", path)
        assert answer.status == 403, path
        assert token not in answer.body.decode()


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1", "", "[", "localhost."]
)
def test_another_name_is_refused(client, host):
    assert client.send("GET", "", Host=host).status in (400, 421)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1"])
def test_another_page_may_not_ask(client, studio, origin):
    answer = client.send("POST", "draw", json.dumps(words()).encode(), content_type="application/json", origin=origin)
    assert answer.status == 403
    assert studio.asked == []


def test_the_page_itself_may(client, served, studio):
    studio.may.release(3)
    assert client.draw(words(), origin=served.address[: served.address.index("/", 8)])[0] == 202
    name = served.address.replace("127.0.0.1", "localhost")
    assert Client(name).send("GET", "").status == 200


def test_bodies_are_json_of_a_limited_length(client, studio):
    send = {"content_type": "application/json"}
    for body in (b"", b"{", b"[" * 100_000, b"\xff\xfe"):
        answer = client.send("POST", "draw", body, **send)
        assert (answer.status, json.loads(answer.body)["message"]) == (422, "expected JSON"), body[:10]
    longest = {**words(), "more": ""}
    longest["more"] = "x" * (LONGEST_BODY - len(json.dumps(longest)))
    studio.may.release(3)
    assert client.draw(longest)[0] == 202
    longest["more"] += "x"
    assert client.draw(longest) == (422, {"field": "page", "message": "expected at most 4,100,000 bytes"})
    answer = client.send("POST", "draw", json.dumps(words()).encode(), content_type="text/plain")
    assert json.loads(answer.body) == {"field": "page", "message": "expected JSON"}


def test_nothing_but_the_pages_own_files_can_be_had(client):
    for name in ("main.js", "paint.css", "page.css"):
        assert client.send("GET", f"assets/{name}").status == 200
    for name in ("index.html", "..%2Fserver.py", "../server.py", "%2e%2e/server.py", "/etc/passwd", "x.js"):
        assert client.send("GET", f"assets/{name}").status in (403, 404), name
    for path in ("samples/9999.webp", "samples/-1.webp", "events/none", "draw"):
        assert client.send("GET", path).status in (404, 405), path


def test_a_browser_is_told_to_trust_nothing_else(client):
    answer = client.send("GET", "")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert b"<b>a model" not in answer.body


def test_cancelling_stops_the_model_at_its_next_step(client, studio):
    _, found = client.draw(words())
    studio.may.release()
    events = client.events(found["job"])
    assert names([next(events), next(events)]) == ["queued", "step"]
    assert client.send("POST", f"cancel/{found['job']}").status == 204
    assert names(events) == ["cancelled"]
    studio.may.release()
    assert studio.left.wait(20)
    assert client.send("POST", "cancel/none").status == 204


def test_a_picture_that_nobody_waits_for_is_not_drawn(client, studio):
    _, found = client.draw(words())
    assert studio.began.wait(20)
    with client.opened("GET", f"events/{found['job']}") as answer:
        answer.readline()
    assert names(client.events(found["job"])) == ["queued", "cancelled"]
    studio.may.release()
    assert studio.left.wait(20)


def test_two_tabs_wait_for_each_other_and_a_newer_request_replaces_an_older_one(client, studio):
    _, first = client.draw(words())
    _, other = client.draw({**words(), "seat": "two"})
    _, second = client.draw(words())
    assert names(client.events(first["job"])) == ["queued", "cancelled"]
    studio.may.release(1 + 3 + 3)
    assert names(client.events(other["job"]))[-1] == "done"
    assert names(client.events(second["job"]))[-1] == "done"


def test_closing_ends_streams_threads_and_the_port(studio):
    before = set(threading.enumerate())
    page = serve(studio, {"model": "", "measured": ""}, host="127.0.0.1", port=0)
    ours = {one for one in threading.enumerate() if "ldmscene" in one.name} - before
    assert len(ours) == 2  # the worker and the server
    client = Client(page.address)
    _, found = client.draw(words())
    events = client.events(found["job"])
    next(events)
    assert studio.began.wait(20)
    closing = threading.Thread(target=page.close)
    closing.start()
    assert names(events)[-1] == "cancelled"
    studio.may.release(3)  # the worker ends at the model's next step
    closing.join(20)
    page.wait()
    with pytest.raises(OSError):  # noqa: PT011, which one depends on the system
        client.send("GET", "")
    assert studio.left.is_set()
    assert not closing.is_alive()
    assert not any(one.is_alive() for one in ours)


def test_a_port_that_is_taken_is_refused(studio):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(InputError, match="can't be had"):
        serve(studio, {}, host="127.0.0.1", port=taken.getsockname()[1])
    with pytest.raises(InputError, match="can't be had"):
        serve(studio, {}, host="no-such-host.invalid", port=0)


def test_a_port_that_is_taken_is_refused_before_anything_is_loaded(store, monkeypatch):
    def never(*_: object) -> None:
        raise AssertionError("a model is loaded")

    monkeypatch.setattr("ldmscene.calls.paint.load_model", never)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(InputError, match="can't be had"):
        ldmscene.paint(store, model="tiny-scenes", port=taken.getsockname()[1])


def test_a_server_that_does_not_start_is_no_page(studio, monkeypatch):
    before = set(threading.enumerate())
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: None)
    with pytest.raises(LdmsceneError, match="the page's server didn't start"):
        serve(studio, {"model": "", "measured": ""}, host="127.0.0.1", port=0)
    assert set(threading.enumerate()) <= before


def test_a_large_body_is_not_read_where_events_are_told(client, studio, monkeypatch):
    read, where = server.Asked.of, []
    monkeypatch.setattr(server.Asked, "of", lambda *a: where.append(threading.current_thread().name) or read(*a))
    client.draw(words(rule="donor"))
    assert where
    assert "ldmscene-paint-server" not in where


def test_names_under_which_a_page_may_be_asked_for():
    assert hosts_of("127.0.0.1") == {"localhost", "127.0.0.1", "::1"}
    assert {"*", socket.gethostname().lower()} <= hosts_of("0.0.0.0")
    assert {"*", socket.gethostname().lower()} <= hosts_of("::")
    assert "*" not in hosts_of("192.168.1.5")


@pytest.mark.parametrize(
    ("bound", "asked"),
    [
        ("Desk.Example", "desk.example:8000"),  # as browsers write the name that was typed
        ("desk.example", "DESK.example"),
        ("2001:0DB8:0::1", "[2001:db8::1]:8000"),
        ("0:0::0", "[::1]:8000"),
    ],
)
def test_a_host_is_known_however_it_is_written(bound, asked):
    async def app(scope, receive, send) -> None:
        answers.append(200)

    async def send(message) -> None:
        answers.append(message.get("status"))

    answers: list[int | None] = []
    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": "/token/",
        "headers": [(b"host", asked.encode())],
    }
    asyncio.run(Guard(app, "token", hosts_of(bound))(scope, None, send))
    asyncio.run(Guard(app, "token", hosts_of("other.example"))(scope, None, send))
    assert answers[0] == 200
    assert answers[1:] == ([200] if asked.startswith("[::1]") else [421, None])


@pytest.mark.parametrize(("host", "begins"), [("0.0.0.0", "http://127.0.0.1:"), ("::", "http://[::1]:")])
def test_a_page_of_all_addresses_is_opened_at_this_machines_own(studio, host, begins):
    try:
        page = serve(studio, {"model": "", "measured": ""}, host=host, port=0)
    except InputError:
        pytest.skip(f"this machine has no address of the kind of {host}")
    with page:
        assert page.address.startswith(begins)
        assert Client(page.address).send("GET", "").status == 200


def test_no_host_is_refused(studio):
    with pytest.raises(InputError, match="host: expected a name"):
        serve(studio, {}, host="", port=0)


def test_a_queue_that_is_closed_has_no_thread_and_may_be_closed_again():
    before = set(threading.enumerate())
    jobs = Jobs()
    (worker,) = set(threading.enumerate()) - before
    for _ in range(2):
        jobs.close()
        assert not worker.is_alive()
