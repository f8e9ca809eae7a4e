"""The API's server: aiohttp on one address, with the rules that hold for every request."""

from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import suppress
from functools import partial

from aiohttp import web

from muster.access.access import Access
from muster.access.gate import Gate
from muster.api.bodies import MAX_BODY_BYTES
from muster.api.connections import Connections
from muster.api.events import FleetTeller
from muster.api.machines import RenderMetrics
from muster.api.picture import Pictures
from muster.api.problems import Handler, Kind, ProblemError, problems
from muster.api.routes import route_table
from muster.api.sse import heartbeat
from muster.api.turnstile import Turnstile
from muster.breath import BREATHE
from muster.hub import Hub
from muster.pulse import Pulse
from uplink.client.telemetry import Telemetry
from validator.health import HealthSettings
from validator.net.connections import Listener

STOP_TIMEOUT_S = 1.8
"""For the whole stop; of the 5 s in which the service has to be gone."""

GRACE_S = 0.75
"""For requests under way to end by themselves. aiohttp waits for it twice before it cancels a handler."""

HEADERS = {
    "Cache-Control": "no-store",  # a picture that is kept somewhere is a stale one; what has an ETag says otherwise
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Server": "muster",
    "X-Content-Type-Options": "nosniff",
}
"""On every answer, problems too."""

OWN_HEADERS = ("Cache-Control", "Content-Security-Policy")
"""Of those, what an answer may have otherwise."""


class ListenError(OSError):
    """The address can't be listened on; the text names `--listen`."""

    def __str__(self) -> str:
        return self.strerror or ""


class ApiServer:
    """Serves one hub. `start` once, `stop` once."""

    def __init__(
        self,
        hub: Hub,
        render_metrics: RenderMetrics,
        host: str,
        port: int,
        *,
        access: Access,
        tls: ssl.SSLContext | None = None,
        health: HealthSettings = HealthSettings(),  # noqa: B008 - frozen
        telemetry: Telemetry | None = None,
    ) -> None:
        """`port` 0 takes any free one; no `tls` = plain HTTP; `health` says how many answers a streak needs."""
        self._host = host
        self._port = port
        self._access = access
        self._tls = tls
        pictures = Pictures(hub)
        self.routes = route_table(hub, pictures, render_metrics, health, access, telemetry)
        self.pulse = Pulse(hub.events, FleetTeller(hub, pictures), heartbeat)
        """Of the event streams; its `run` is the composition root's to start."""
        self._connections = Connections(HEADERS)
        self._listener: Listener | None = None
        gate, turnstile = Gate(access, self.routes, hub.clock), Turnstile(hub.asking)

        @web.middleware
        async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
            BREATHE.set(turnstile.go_on)
            await turnstile.enter()
            self._only_our_names(request)
            return await gate.admit(request, handler)

        app = web.Application(middlewares=[self._connections.watch, problems, admit], client_max_size=MAX_BODY_BYTES)
        for route in self.routes:
            add = app.router.add_get if route.method == "GET" else partial(app.router.add_route, route.method)
            add(route.path, route.handler)
        app.on_response_prepare.append(_add_headers)
        self._runner = web.AppRunner(app, shutdown_timeout=GRACE_S)
        self._stopped = False

    @property
    def url(self) -> str:
        """Where it answers, with the port that was really taken."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'http' if self._tls is None else 'https'}://{host}:{self._port}"

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, once it does."""
        return self._host, self._port

    async def start(self) -> None:
        """Listen. Raises `ListenError`."""
        await self._runner.setup()
        try:
            assert self._runner.server is not None
            self._listener = await self._connections.listen(self._runner.server, self._host, self._port, self._tls)
        except OSError as error:
            await self._runner.cleanup()
            why = os.strerror(error.errno) if error.errno else str(error)
            raise ListenError(
                error.errno,
                f"cannot listen on {self._host}:{self._port}: {why}. "
                "Another muster may run; choose another address with --listen or MUSTER_LISTEN",
            ) from error
        self._port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Take no more requests, let those under way end, cut off the rest; within `STOP_TIMEOUT_S`. Once is enough."""
        if self._stopped:
            return
        self._stopped = True
        if self._listener is not None:
            self._listener.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._runner.cleanup()

    def _only_our_names(self, request: web.Request) -> None:
        if not self._access.hosts.takes(request):
            raise ProblemError(
                Kind.WRONG_HOST,
                "Use http://127.0.0.1, http://localhost or http://[::1] with the port, or a name from the setting "
                "`hosts` (MUSTER_HOSTS).",
            )


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    own = {name: response.headers[name] for name in OWN_HEADERS if name in response.headers}
    response.headers.update({**HEADERS, **own})
