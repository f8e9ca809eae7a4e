"""The API's server: aiohttp on a loopback address, with the rules that hold for every request."""

from __future__ import annotations

import asyncio
import ipaddress
import os
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit

from aiohttp import web

from muster.api.machines import RenderMetrics
from muster.api.problems import Handler, Kind, ProblemError, problems
from muster.api.routes import route_table
from muster.hub import Hub
from validator.health import HealthSettings

MAX_BODY_BYTES = 64 * 1024
"""Largest request body. Nothing is read from bodies yet; what is sent anyway is bounded."""

STOP_TIMEOUT_S = 1.8
"""For the whole stop; of the 5 s in which the service has to be gone."""

GRACE_S = 0.75
"""For requests under way to end by themselves. aiohttp waits for it twice before it cancels a handler."""

HEADERS = {
    "Cache-Control": "no-store",  # a picture that is kept somewhere is a stale one
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Server": "muster",
    "X-Content-Type-Options": "nosniff",
}
"""On every answer, problems too."""


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
        health: HealthSettings = HealthSettings(),  # noqa: B008 - frozen
    ) -> None:
        """`port` 0 takes any free one; `health` says how many answers a streak needs."""
        self._host = host
        self._port = port
        app = web.Application(middlewares=[problems, only_our_names], client_max_size=MAX_BODY_BYTES)
        for route in route_table(hub, render_metrics, health):
            add = app.router.add_get if route.method == "GET" else partial(app.router.add_route, route.method)
            add(route.path, route.handler)
        app.on_response_prepare.append(_add_headers)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=GRACE_S)

    @property
    def url(self) -> str:
        """Where it answers, with the port that was really taken."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def start(self) -> None:
        """Listen. Raises `ListenError`."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            why = os.strerror(error.errno) if error.errno else str(error)
            raise ListenError(
                error.errno,
                f"cannot listen on {self._host}:{self._port}: {why}. "
                "Another muster may run; choose another address with --listen or MUSTER_LISTEN",
            ) from error
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Take no more requests, let those under way end, cut off the rest; within `STOP_TIMEOUT_S`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._runner.cleanup()


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


@web.middleware
async def only_our_names(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a `Host` that is neither a loopback address nor `localhost`.

    A page from anywhere can point a name of its own at 127.0.0.1 (DNS rebinding) and read what answers there; but then
    the browser sends that name.
    """
    if not is_loopback(request.headers.get("Host", "")):
        raise ProblemError(Kind.WRONG_HOST, "Use http://127.0.0.1, http://localhost or http://[::1] with the port.")
    return await handler(request)


def is_loopback(authority: str) -> bool:
    """Whether a `Host` header, with or without a port, names this machine itself."""
    try:
        parts = urlsplit(f"//{authority}")
        host, _ = parts.hostname or "", parts.port  # a bad port raises too
        return "@" not in authority and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False
