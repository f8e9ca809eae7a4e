"""Connections to the API (`validator/net/connections.py`) as aiohttp serves them, and what is no request at all.

Sending nonsense takes no token: aiohttp logs a traceback for it, with a piece of what was sent, and sends that back
with the releases of Python and itself.
"""

from __future__ import annotations

import asyncio
import resource
import ssl
from collections.abc import Mapping

import structlog
from aiohttp import web

from muster.api.problems import Handler, Kind, defect, problem_response
from validator.net import connections as bounds
from validator.net.connections import HEAD_S, Listener

_log = structlog.get_logger(__name__)

IDLE_S = 620.0
"""Between two requests. Longer than a proxy keeps a connection, so that it is never we who close one just when it is
used: most have 60 s, Google's load balancers 600 s."""

LINGER_S = 2.0
"""For the rest of a body that nobody wants to come, so that its sender reads why."""

MAX_CONNECTIONS = 4000
"""Twice the event streams that there may be; of fewer descriptors a quarter."""

BACKLOG = 1024
"""Connections that wait to be accepted: a fleet of browsers that comes back at once."""


class Connections:
    """All connections of one server, with the headers that every answer has."""

    def __init__(self, headers: Mapping[str, str], *, most: int | None = None, head_s: float = HEAD_S) -> None:
        """`headers` are for answers that no handler makes. `most` and `head_s` are seams: tests have smaller ones."""
        self.headers = headers
        most = most or min(MAX_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
        self.all = bounds.Connections(most=most, idle_s=IDLE_S, head_s=head_s)

    async def listen(self, server: web.Server, host: str, port: int, tls: ssl.SSLContext | None) -> Listener:
        """Take connections for this server. Raises `OSError`."""
        return await self.all.listen(lambda: _Connection(server, self), host, port, tls, BACKLOG)

    @web.middleware
    async def watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The outermost middleware: a connection is not idle while its request is handled."""
        self.all.busy(request.protocol)
        try:
            return await handler(request)
        finally:
            self.all.done(request.protocol)


class _Connection(web.RequestHandler):
    """Tells when it begins and ends, and answers what is no request as everything else is answered."""

    __slots__ = ("_ours",)

    def __init__(self, server: web.Server, ours: Connections) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=IDLE_S,
            lingering_time=LINGER_S,
            access_log=None,  # type: ignore[arg-type] # it is allowed
        )
        self._ours = ours

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._ours.all.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._ours.all.closed(self)
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
        response.headers.update(self._ours.headers)
        response.force_close()
        return response
