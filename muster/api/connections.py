"""Connections to the API: how many there may be, how long one may keep us waiting, and what is no request at all.

aiohttp waits an hour for a request, takes as many connections as there are descriptors, and a reader who stops reading
holds its answer for ever. Descriptors that clients have taken are missing where clusters are to be asked, and opening
connections takes no token. Neither does sending nonsense: aiohttp logs a traceback for it, with a piece of what was
sent, and sends that back with the releases of Python and itself.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from collections.abc import Mapping
from typing import Any, Protocol, cast

import structlog
from aiohttp import web

from muster.api.problems import Handler, Kind, defect, problem_response
from muster.api.tls_listener import TlsListener

_log = structlog.get_logger(__name__)

HEAD_S = 10.0
"""For a handshake, and then for the first request's head; an honest client needs milliseconds for either."""

IDLE_S = 620.0
"""Between two requests. Longer than a proxy keeps a connection, so that it is never we who close one just when it is
used: most have 60 s, Google's load balancers 600 s."""

UNREAD_MS = 30_000
"""For the kernel at the other end to take any of an answer; then ours ends the connection (RFC 5482)."""

LINGER_S = 2.0
"""For the rest of a body that nobody wants to come, so that its sender reads why."""

MAX_CONNECTIONS = 4000
"""Twice the event streams that there may be; of fewer descriptors a quarter."""

BACKLOG = 1024
"""Connections that wait to be accepted: a fleet of browsers that comes back at once."""


class Listener(Protocol):
    """What takes connections."""

    @property
    def sockets(self) -> tuple[Any, ...]:
        """Where it listens."""
        ...

    def close(self) -> None:
        """Take no more."""
        ...


class Connections:
    """All connections of one server. When there is no room for one more, the one that is idle for longest goes."""

    def __init__(self, headers: Mapping[str, str], *, most: int | None = None, head_s: float = HEAD_S) -> None:
        """`headers` are for answers that no handler makes. `most` and `head_s` are seams: tests have smaller ones."""
        self.headers = headers
        self._most = most or min(MAX_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
        self._head_s = head_s
        self._idle: dict[web.RequestHandler, asyncio.TimerHandle | None] = {}
        """Idle for longest first; with a timer those that have not asked for anything yet."""

    async def listen(self, server: web.Server, host: str, port: int, tls: ssl.SSLContext | None) -> Listener:
        """Take connections for this server. Raises `OSError`."""

        def taken() -> asyncio.BaseProtocol:
            if len(server.connections) >= self._most and not self._make_room():
                return _Refused()
            return _Connection(server, self)

        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
        listening.setblocking(False)
        # What is accepted from it inherits the option.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
        if tls is None:
            return await asyncio.get_running_loop().create_server(taken, sock=listening, backlog=BACKLOG)
        return TlsListener((listening,), taken, tls, within_s=self._head_s, most=max(1, self._most // 2))

    @web.middleware
    async def watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The outermost middleware: a connection is not idle while its request is handled."""
        connection = request.protocol
        self.forget(connection)
        try:
            return await handler(request)
        finally:
            if connection.transport is not None:
                self._idle[connection] = None

    def opened(self, connection: web.RequestHandler) -> None:
        """It has `head_s` to ask for something."""
        loop = asyncio.get_running_loop()
        self._idle[connection] = loop.call_later(self._head_s, self._close, connection)

    def forget(self, connection: web.RequestHandler) -> None:
        """It is busy, or closed."""
        if (timer := self._idle.pop(connection, None)) is not None:
            timer.cancel()

    def _make_room(self) -> bool:
        longest = next(iter(self._idle), None)
        if longest is not None:
            self._close(longest)
        return longest is not None

    def _close(self, connection: web.RequestHandler) -> None:
        self.forget(connection)
        if connection.transport is not None:
            connection.transport.abort()  # at once: what it has not read of its answer, it has had time to


class _Connection(web.RequestHandler):
    """Tells when it begins and ends, and answers what is no request as everything else is answered."""

    __slots__ = ("_all",)

    def __init__(self, server: web.Server, all_: Connections) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=IDLE_S,
            lingering_time=LINGER_S,
            access_log=None,  # type: ignore[arg-type] # it is allowed
        )
        self._all = all_

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._all.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._all.forget(self)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what never reached a handler. Nothing of what was sent is repeated: it may be a token."""
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer is sent already")
        if status == 400:
            _log.debug("unreadable request", client=request.remote, error=type(exc).__name__)
            response = problem_response(
                Kind.BAD_REQUEST,
                "This is no HTTP/1.1 request. Or a line of it is longer than 8190 bytes, or it has over 128 headers, "
                "none or two of Host, or a length that can be read in two ways.",
            )
        else:
            response = defect(exc, request.path)
        response.headers.update(self._all.headers)
        response.force_close()
        return response


class _Refused(asyncio.Protocol):
    """There is no room, and all are busy."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).abort()
