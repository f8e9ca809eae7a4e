"""Connections to the receiver: how many, and how long one may keep us waiting.

aiohttp waits an hour for a request and takes as many connections as there are descriptors; opening one takes no
certificate. `muster/api/connections.py` does this for the API, and says more about why; it is a floor above.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import cast

from aiohttp import web

HEAD_S = 10.0
"""For a handshake, and then for the first request's head."""

IDLE_S = 300.0
"""From one answer to the end of the next request's head: our client sends once a minute."""

UNREAD_MS = 30_000
"""For the other end's kernel to take any of an answer (RFC 5482)."""

LINGER_S = 2.0
"""For the rest of a body that nobody wants, so that its sender reads why."""

MAX_CONNECTIONS = 1024
"""When all are taken, the one that is idle for longest goes."""

BACKLOG = 256

SERVER = "muster-receiver"
"""On every answer, in place of the releases of Python and aiohttp."""


class Connections:
    """All connections of one server. `head_s` and `most` are seams: tests have smaller ones."""

    def __init__(self, *, head_s: float = HEAD_S, idle_s: float = IDLE_S, most: int = MAX_CONNECTIONS) -> None:
        self._head_s = head_s
        self._idle_s = idle_s
        self._most = most
        self._idle: dict[web.RequestHandler, asyncio.TimerHandle] = {}

    async def listen(self, server: web.Server, host: str, port: int, tls: ssl.SSLContext) -> asyncio.Server:
        """Take connections for this server. Raises `OSError`."""

        def taken() -> asyncio.BaseProtocol:
            if len(server.connections) >= self._most and not self._make_room():
                return _NoRoom()
            return _Connection(server, self)

        listener = await asyncio.get_running_loop().create_server(
            taken, host, port, ssl=tls, ssl_handshake_timeout=self._head_s, backlog=BACKLOG, start_serving=False
        )
        for listening in listener.sockets:  # what is accepted from it inherits the option
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
        await listener.start_serving()
        return listener

    def opened(self, connection: web.RequestHandler) -> None:
        """It has `head_s` to ask for something."""
        self._wait(connection, self._head_s)

    def busy(self, connection: web.RequestHandler) -> None:
        """Its request is handled, or it is closed."""
        if (timer := self._idle.pop(connection, None)) is not None:
            timer.cancel()

    def done(self, connection: web.RequestHandler) -> None:
        """It has its answer, and `idle_s` to ask for more."""
        if connection.transport is not None:
            self._wait(connection, self._idle_s)

    def _wait(self, connection: web.RequestHandler, within_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._idle[connection] = loop.call_later(within_s, self._close, connection)

    def _make_room(self) -> bool:
        longest = next(iter(self._idle), None)
        if longest is not None:
            self._close(longest)
        return longest is not None

    def _close(self, connection: web.RequestHandler) -> None:
        self.busy(connection)
        if connection.transport is not None:
            connection.transport.abort()


class _Connection(web.RequestHandler):
    """Tells when it begins and ends; answers what is no request in a line, without our releases and its content."""

    __slots__ = ("_all",)

    def __init__(self, server: web.Server, all_: Connections) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=IDLE_S,
            lingering_time=LINGER_S,
            access_log=None,  # type: ignore[arg-type] # it is allowed
            auto_decompress=False,  # a bomb is ours to bound: see reading.py
        )
        self._all = all_

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._all.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._all.busy(self)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what never reached a handler, or died in one. Nothing of what was sent is repeated."""
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer is sent already")
        if status >= 500:
            self.log_exception("a request was not answered", exc_info=exc)
        response = web.Response(status=status, text="not understood\n" if status == 400 else "a defect\n")
        response.headers["Server"] = SERVER
        response.force_close()
        return response


class _NoRoom(asyncio.Protocol):
    """All are busy."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).abort()
