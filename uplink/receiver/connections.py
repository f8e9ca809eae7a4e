"""Connections to the receiver (`validator/net/connections.py`), as aiohttp serves them."""

from __future__ import annotations

import asyncio
import ssl

from aiohttp import web

from validator.net.connections import HEAD_S, Connections, Listener

IDLE_S = 300.0
"""From one answer to the end of the next request's head: our client sends once a minute."""

LINGER_S = 2.0
"""For the rest of a body that nobody wants, so that its sender reads why."""

MAX_CONNECTIONS = 1024
"""When all are taken, the one that is idle for longest goes."""

BACKLOG = 256

SERVER = "muster-receiver"
"""On every answer, in place of the releases of Python and aiohttp."""


def bounded(*, head_s: float = HEAD_S, idle_s: float = IDLE_S, most: int = MAX_CONNECTIONS) -> Connections:
    """Of the receiver. The arguments are seams: tests have smaller ones."""
    return Connections(most=most, head_s=head_s, idle_s=idle_s)


async def listen(connections: Connections, server: web.Server, host: str, port: int, tls: ssl.SSLContext) -> Listener:
    """Take connections for this server. Raises `OSError`."""
    return await connections.listen(lambda: _Connection(server, connections), host, port, tls, BACKLOG)


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
        self._all.closed(self)
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
