"""What stands before the API: names of hosts, origins, the token, rates, sizes and headers.

A page of another site, open in the same browser, can send requests to this machine, and by a name
that it points here (DNS rebinding) read what comes back. So the name of the host must be one of
this server's, the origin must be its own, and every call needs a token that such a page cannot
know.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from seqae.tasks.serve.openapi import TOKEN_HEADER

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CLIENTS = 10_000  # addresses whose rate is remembered
BURST_SECONDS = 2  # of the rate that may come at once

PRIVATE = "default-src 'none'; frame-ancestors 'none'"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class RefusedError(Exception):
    """A request that is not answered.

    Args:
        status: of HTTP.
        message: why, in one line.
        seconds: after which to ask again.
    """

    def __init__(self, status: int, message: str, seconds: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.seconds = status, message, seconds


class Rates:
    """Lets each client make so many requests a second: a bucket of tokens for each address.

    Args:
        rate: requests a second; twice as many may come at once.
        clock: in seconds.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.clock = rate, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> float:
        """Count a request.

        Args:
            client: its address.

        Returns:
            0 if it may be answered, or else the seconds until it might.
        """
        most, now = max(1.0, BURST_SECONDS * self.rate), self.clock()
        left, since = self._left.pop(client, (most, now))
        left = min(most, left + (now - since) * self.rate)
        self._left[client] = (left - 1 if left >= 1 else left), now
        if len(self._left) > CLIENTS:
            self._left.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / self.rate


class Guard:
    """Refuses what must not reach the application, and sets the headers of every answer.

    Args:
        app: that is guarded.
        token: that each request must bring.
        hosts: names that this server may be called by, without port; addresses are always.
        rate: requests a second of one client.
    """

    def __init__(self, app: App, token: str, hosts: frozenset[str], rate: float) -> None:
        self.app, self.token, self.hosts = app, token.encode(), hosts
        self.rates = Rates(rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse a request of HTTP; others, such as WebSocket, are closed."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = {name.lower() for name, _ in message.get("headers", [])}
                message["headers"] = [*message.get("headers", []), *_headers(own)]
            await send(message)

        try:
            self._check(scope)
        except RefusedError as refused:
            await send_json(send_guarded, refused)
            return
        await self.app(scope, receive, send_guarded)

    def _check(self, scope: Scope) -> None:
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        client = str((scope.get("client") or ("unknown",))[0])
        if (seconds := self.rates.take(client)) > 0:
            raise RefusedError(
                429,
                f"`rate` must be at most {self.rates.rate:g} requests a second, but there are more "
                f"instead. Wait.",
                math.ceil(seconds),
            )
        host = self._host(headers.get("host", []))
        _check_origin(headers, host)
        given = headers.get(TOKEN_HEADER.lower(), [])
        given = given or _tokens(scope.get("query_string", b"").decode("latin-1"))
        own = given[0].encode("utf-8", "replace") if len(given) == 1 else b""
        if not hmac.compare_digest(own, self.token):
            raise RefusedError(
                401,
                f"`token` must be the one that `seqae serve` printed, but it is "
                f"{'another' if given else 'missing'} instead. Open the URL that it printed, or "
                f"send the header {TOKEN_HEADER}.",
            )

    def _host(self, given: list[str]) -> str:
        name = host_name(given[0]) if len(given) == 1 else None
        if name is None or not (name in self.hosts or _is_address(name)):
            raise RefusedError(
                403,
                "`Host` must be a name of this server, but it is another instead. Use the URL that "
                "`seqae serve` printed.",
            )
        return given[0]


async def send_json(send: Send, refused: RefusedError) -> None:
    """Answer with an error of one line.

    Args:
        send: of the request.
        refused: what to say.
    """
    body = error_body(refused.message)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    headers.append((b"connection", b"close"))  # a body may follow that nobody reads
    if refused.seconds is not None:
        headers.append((b"retry-after", b"%d" % refused.seconds))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def error_body(message: str) -> bytes:
    """Write an error as one line of JSON in ASCII."""
    return json.dumps({"error": " ".join(message.split())}).encode() + b"\n"


def host_name(given: str) -> str | None:
    """Return the name in a `Host` header, without port and brackets; None if it is none."""
    name, _, port = given.rpartition(":") if not given.endswith("]") else (given, "", "")
    if not name:
        name, port = given, ""
    if port and not (port.isascii() and port.isdigit()):
        return None
    if name.startswith("["):
        return name[1:-1].lower() if name.endswith("]") else None
    is_plain = name.isascii() and all(letter.isalnum() or letter in "-._" for letter in name)
    return name.lower() if is_plain and name else None


def _check_origin(headers: dict[str, list[str]], host: str) -> None:
    origins = headers.get("origin", [])
    fetched = headers.get("sec-fetch-site", ["none"])
    is_own = all(origin in (f"http://{host}", f"https://{host}") for origin in origins)
    if not is_own or not set(fetched) <= {"same-origin", "none"}:
        raise RefusedError(
            403,
            "`Origin` must be this server, but the request comes from another site instead. Open "
            "the URL that `seqae serve` printed.",
        )


def _headers(own: set[bytes]) -> list[tuple[bytes, bytes]]:
    every = {**HEADERS, "Content-Security-Policy": PRIVATE}
    found = [(name.lower().encode(), value.encode()) for name, value in every.items()]
    return [(name, value) for name, value in found if name not in own]


def _is_address(name: str) -> bool:
    """Tell whether a name is an address: no page can make one point elsewhere."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _tokens(query: str) -> list[str]:
    try:
        return parse_qs(query, max_num_fields=20).get("token", [])
    except ValueError:  # more fields
        return []
