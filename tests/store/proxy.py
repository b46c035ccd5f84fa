"""A proxy in front of an S3-speaking server that counts requests and spoils answers."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit


@dataclass
class Answer:
    """What the server said, to be changed before it is passed on."""

    status: int
    headers: dict[str, str]
    body: bytes
    length: int | None = None
    """another Content-Length than the body's, so that the body is cut off"""


@dataclass
class Proxy:
    """Its address, what went through it, and what is done to answers.

    `spoil` gets each request's method, its path with the query, and the answer; `ask` may answer instead of the server.
    """

    url: str = ""
    seen: list[tuple[str, str]] = field(default_factory=list)
    ask: Callable[[str, str, dict[str, str]], Answer | None] = lambda *_: None
    spoil: Callable[[str, str, Answer], Answer] = lambda _method, _path, answer: answer

    @property
    def requests(self) -> int:
        return len(self.seen)


@contextmanager
def running(server: str) -> Iterator[Proxy]:
    """A proxy of a server's URL, for as long as the block lasts."""
    proxy, there = Proxy(), urlsplit(server).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            proxy.seen.append((self.command, self.path))
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = dict(self.headers)
            answer = proxy.ask(self.command, self.path, headers) or self._forward(headers, body)
            answer = proxy.spoil(self.command, self.path, answer)
            self.send_response(answer.status)
            skipped = ("content-length", "transfer-encoding", "connection", "date", "server")
            for name, value in answer.headers.items():
                if name.lower() not in skipped:
                    self.send_header(name, value)
            size = answer.headers.get("Content-Length", "0") if self.command == "HEAD" else len(answer.body)
            self.send_header("Content-Length", str(size if answer.length is None else answer.length))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)
            self.close_connection = answer.length is not None

        def _forward(self, headers: dict[str, str], body: bytes) -> Answer:
            link = http.client.HTTPConnection(there, timeout=60)
            link.request(self.command, self.path, body, headers)
            found = link.getresponse()
            answer = Answer(found.status, dict(found.getheaders()), found.read())
            link.close()
            return answer

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{httpd.server_address[1]}"
    thread = Thread(target=httpd.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield proxy
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()
