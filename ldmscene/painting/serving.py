"""The page on a port: started in a thread, closed when its owner is done."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from html import escape
from types import TracebackType
from typing import Any, Self

import uvicorn

from ldmscene.errors import InputError, LdmsceneError
from ldmscene.painting.guard import binds_all, hosts_of, plain
from ldmscene.painting.jobs import Jobs
from ldmscene.painting.server import Pages
from ldmscene.painting.studio import Studio

CONNECTIONS = 64
PATIENCE = 20.0  # seconds for the server to start


class Painting:
    """A page that is being served; a context manager that closes it. In a notebook it shows the page.

    Raises
    ------
    LdmsceneError
        If its server doesn't start.

    Attributes
    ----------
    address : str
        To open in a browser. Its token lets whoever has it draw.
    """

    def __init__(self, server: uvicorn.Server, jobs: Jobs, listening: socket.socket, address: str) -> None:
        self.address = address
        self._server, self._jobs = server, jobs
        self._thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listening]}, name="ldmscene-paint-server", daemon=True
        )
        self._thread.start()
        end = time.monotonic() + PATIENCE
        while not server.started and self._thread.is_alive() and time.monotonic() < end:
            time.sleep(0.01)
        if not server.started:
            self.close()
            listening.close()
            raise LdmsceneError(f"the page's server didn't start within {PATIENCE:g} s; try again, or another port")

    def wait(self) -> None:
        """Serve until the page is closed, or Ctrl-C."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def close(self) -> None:
        """End what is being drawn, and the server."""
        self._jobs.close()
        self._server.should_exit = True
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Painting({self.address!r})"

    def _repr_html_(self) -> str:
        return f'<iframe src="{escape(self.address)}" title="ldmscene paint" width="100%" height="900"></iframe>'


def serve(studio: Studio, about: dict[str, Any], *, host: str, port: int) -> Painting:
    """Serve a studio's page.

    Parameters
    ----------
    studio
    about
        What the page says of the model.
    host
        127.0.0.1 is this machine alone; 0.0.0.0 all that can reach it; :: these by IPv6.
    port
        0: any that is free.

    Raises
    ------
    InputError
        If the port can't be had.
    """
    listening = listen(host, port)
    token, jobs = secrets.token_urlsafe(24), Jobs()
    config = uvicorn.Config(
        Pages(studio, jobs, about).app(token, hosts_of(host)),
        log_level="critical",
        access_log=False,
        lifespan="off",
        ws="none",
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=3,
        server_header=False,
    )
    address = f"http://{_name(host)}:{listening.getsockname()[1]}/{token}/"
    return Painting(uvicorn.Server(config), jobs, listening, address)


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound to a port, 0 for any; InputError if it can't be had."""
    if not host:
        raise InputError("host: expected a name or an IP address, got ''; 0.0.0.0 stands for all of this machine's")
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise InputError(f"port {port} of {host} can't be had: {error}; choose another, or 0 for any") from error


def _name(host: str) -> str:
    """A host in an address that this machine's browser can open."""
    if ":" in host:
        return "[::1]" if binds_all(host) else f"[{plain(host)}]"
    return "127.0.0.1" if binds_all(host) else host
