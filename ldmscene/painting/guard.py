"""What stands before the page on a machine that others use, too: token, Host, Origin, and limits."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Lets requests through to an app whose path begins with the token and whose Host and Origin are its own.

    Parameters
    ----------
    app
        An ASGI app.
    token : str
        The first part of each path. Who has it may draw, so it stands in the address and nowhere else.
    hosts : iterable of str
        Names under which the page may be asked for, without port.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: Iterable[str]) -> None:
        self._app, self._token, self._hosts = app, token, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refusal = self._refusal(scope)
        answer = self._app if refusal is None else refusal
        await answer(scope, receive, sending)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._is_own(host):  # a name that somebody made lead here (DNS rebinding)
            return PlainTextResponse("this page isn't served under that name\n", 421)
        if origin is not None and origin != f"{scope['scheme']}://{host}":
            return PlainTextResponse("another page may not ask for this\n", 403)
        first = scope["path"].split("/")[1] if "/" in scope["path"] else ""
        if not secrets.compare_digest(first.encode(), self._token.encode()):
            return PlainTextResponse("the address lacks its token; open the one that `ldmscene paint` printed\n", 403)
        return None

    def _is_own(self, host: str) -> bool:
        try:
            name = plain(urlsplit(f"//{host}").hostname or "")
        except ValueError:
            return False
        return name in self._hosts or ("*" in self._hosts and _address(name) is not None)


def hosts_of(host: str) -> set[str]:
    """Names of a page that is bound to a host; of one that is bound to all, "*" stands for any IP address."""
    own = {"localhost", "127.0.0.1", "::1", plain(host)}
    return own | {"*", plain(socket.gethostname())} if binds_all(host) else own


def binds_all(host: str) -> bool:
    """Whether a host is 0.0.0.0 or ::, which stand for all of a machine's addresses."""
    found = _address(host)
    return found is not None and found.is_unspecified


def plain(host: str) -> str:
    """A host as browsers write it: names in lower case, IP addresses in their shortest form."""
    found = _address(host)
    return host.lower() if found is None else str(found)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
