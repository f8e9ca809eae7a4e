"""For machines that watch the service: alive, ready, metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from muster.access.roles import Role
from muster.api.picture import Pictures
from muster.api.problems import Kind
from muster.api.table import Route

RenderMetrics = Callable[[], Awaitable[bytes]]

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format."""


class Machines:
    """Handlers on one hub."""

    def __init__(self, pictures: Pictures, render_metrics: RenderMetrics) -> None:
        self._pictures = pictures
        self._render_metrics = render_metrics

    def routes(self) -> list[Route]:
        """Its rows of the route table."""
        text = "text/plain"
        return [
            Route("GET", "/healthz", self.healthz, None, "The process is alive", media_type=text),
            Route(
                "GET",
                "/readyz",
                self.readyz,
                None,
                "This instance leads",
                media_type=text,
                problems=(Kind.NOT_LEADING,),
            ),
            Route("GET", "/metrics", self.metrics, Role.VIEWER, "Prometheus' scrape", media_type=text),
        ]

    async def healthz(self, request: web.Request) -> web.Response:
        """The process is alive, and its loop turns."""
        return web.Response(text="ok\n")

    async def readyz(self, request: web.Request) -> web.Response:
        """This instance leads: only then it has a picture. A standby says what it waits for. One that ends is not."""
        self._pictures.ready()
        return web.Response(text="ok\n")

    async def metrics(self, request: web.Request) -> web.Response:
        """Prometheus' scrape; also of an instance that does not lead."""
        return web.Response(body=await self._render_metrics(), headers={"Content-Type": METRICS_TYPE})
