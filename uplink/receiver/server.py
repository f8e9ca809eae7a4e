"""The receiver's server: EST and OTLP behind one TLS listener."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress

from aiohttp import web
from aiohttp.typedefs import Handler

from uplink.receiver.connections import SERVER, bounded, listen
from uplink.receiver.front import Front
from validator.net.connections import Connections, Listener

REQUEST_S = 40.0
"""For all of a request: its body has 15 s, and each of its statements 10 s."""

GRACE_S = 0.75
"""For requests under way when the receiver ends."""
STOP_S = 2.5

HEADERS = {"Cache-Control": "no-store", "Server": SERVER, "X-Content-Type-Options": "nosniff"}


class ListenError(OSError):
    """The address can't be listened on; the text names `--listen`."""

    def __str__(self) -> str:
        return self.strerror or ""


class ReceiverServer:
    """`start` once, `stop` once."""

    def __init__(
        self,
        routes: Sequence[web.RouteDef],
        front: Front,
        host: str,
        port: int,
        connections: Connections | None = None,
    ) -> None:
        """`port` 0 takes any free one."""
        self._front = front
        self._host = host
        self._port = port
        self._connections = connections or bounded()
        self._listener: Listener | None = None

        @web.middleware
        async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._connections.busy(request.protocol)
            try:
                async with asyncio.timeout(REQUEST_S):
                    return await handler(request)
            except TimeoutError:
                return web.Response(status=503, text="too slow\n", headers={"Retry-After": "10"})
            finally:
                self._connections.done(request.protocol)

        app = web.Application(middlewares=[watch])
        app.add_routes([*routes, web.get("/healthz", _healthz)])
        app.on_response_prepare.append(_add_headers)
        self._runner = web.AppRunner(app, shutdown_timeout=GRACE_S)

    @property
    def url(self) -> str:
        """Where it answers, with the port that was really taken."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"https://{host}:{self._port}"

    @property
    def port(self) -> int:
        """The one that was really taken, once it listens."""
        return self._port

    async def start(self) -> None:
        """Listen. Raises `ListenError`."""
        await self._runner.setup()
        try:
            assert self._runner.server is not None
            self._listener = await listen(
                self._connections, self._runner.server, self._host, self._port, self._front.context
            )
        except OSError as error:
            await self._runner.cleanup()
            why = os.strerror(error.errno) if error.errno else str(error)
            raise ListenError(
                error.errno, f"cannot listen on {self._host}:{self._port}: {why}. Choose another --listen"
            ) from error
        self._port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Take no more requests, let those under way end, cut off the rest."""
        if self._listener is not None:
            self._listener.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self._runner.cleanup()


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
