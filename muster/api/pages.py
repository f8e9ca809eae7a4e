"""The page on which a browser logs in."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from aiohttp import web

from muster.api.problems import Kind
from muster.api.table import Route

HTML: Final = "text/html"
CSS: Final = "text/css"
SCRIPT: Final = "text/javascript"

PAGE_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        # Nothing inline, nothing from elsewhere, no frame around it: a text that slips into the page stays a text.
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        "Referrer-Policy": "no-referrer",
    }
)
"""On the page and its two files, which no cache keeps either: a page and a script of two releases don't fit."""


class LoginPage:
    """`dashboards/login`, read once."""

    def __init__(self) -> None:
        folder = files("dashboards") / "login"
        self._page, self._style, self._script = (
            (folder / name).read_bytes() for name in ("index.html", "login.css", "login.js")
        )

    def routes(self) -> list[Route]:
        """Its rows of the route table. None needs a token: they hold nothing but themselves."""
        return [
            Route(
                "GET",
                "/",
                self.entrance,
                None,
                "Browsers go to the page from here",
                status=303,
                media_type=HTML,
                problems=(Kind.NOT_FOUND,),
            ),
            Route("GET", "/login", self.page, None, "The page on which a browser logs in", media_type=HTML),
            Route("GET", "/login/login.css", self.style, None, "The page's style", media_type=CSS),
            Route("GET", "/login/login.js", self.script, None, "The page's script", media_type=SCRIPT),
        ]

    async def entrance(self, request: web.Request) -> web.Response:
        """A browser is sent to the page; for anything else there is nothing here."""
        if HTML not in request.headers.get("Accept", ""):
            raise web.HTTPNotFound
        return web.Response(status=303, headers={"Location": "login"})  # relative: a proxy may serve us below a path

    async def page(self, request: web.Request) -> web.Response:
        """It takes the one-time code from a link's fragment, or asks for it, and then shows the fleet in numbers."""
        return _file(self._page, HTML)

    async def style(self, request: web.Request) -> web.Response:
        """CSS."""
        return _file(self._style, CSS)

    async def script(self, request: web.Request) -> web.Response:
        """A module. It asks nothing but this API."""
        return _file(self._script, SCRIPT)


def _file(body: bytes, media_type: str) -> web.Response:
    return web.Response(body=body, headers={"Content-Type": f"{media_type}; charset=utf-8", **PAGE_HEADERS})
