"""The login page as it is served: who gets it, under which policy, and that it holds nothing but itself."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

import dashboards
from muster.cli.render.health import LOOKS
from tests.support.hub import MadeUpHub, api_server

FOLDER = Path(dashboards.__path__[0]) / "login"
KINDS = {"/login": "text/html", "/login/login.css": "text/css", "/login/login.js": "text/javascript"}
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture
async def url() -> AsyncIterator[str]:
    server = api_server(MadeUpHub())
    await server.start()
    yield server.url
    await server.stop()


@pytest.fixture
async def nobody() -> AsyncIterator[aiohttp.ClientSession]:
    """Shows no token."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.mark.parametrize("path", KINDS)
async def test_anybody_gets_it_under_a_strict_policy_and_no_cache_keeps_it(
    nobody: aiohttp.ClientSession, url: str, path: str
) -> None:
    async with nobody.get(url + path) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == f"{KINDS[path]}; charset=utf-8"
        assert response.headers["Content-Security-Policy"] == (
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; "
            "frame-ancestors 'none'; base-uri 'none'"
        )
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Server"] == "muster"
        body = await response.read()
    async with nobody.head(url + path) as response:
        assert (response.status, response.content_length) == (200, len(body))


async def test_a_browser_at_the_root_is_sent_to_it(nobody: aiohttp.ClientSession, url: str) -> None:
    async with nobody.get(f"{url}/", headers={"Accept": BROWSER}, allow_redirects=False) as response:
        assert response.status == 303
        assert str(response.url.join(response.url.with_path(response.headers["Location"]))) == f"{url}/login"
    async with nobody.get(f"{url}/", headers={"Accept": BROWSER}) as response:
        assert str(response.url) == f"{url}/login"


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
async def test_a_program_finds_nothing_at_the_root(nobody: aiohttp.ClientSession, url: str, accept: str) -> None:
    async with nobody.get(f"{url}/", headers={"Accept": accept}) as response:
        assert response.status == 404
        assert (await response.json(content_type=None))["type"] == "/problems/not-found"


async def test_everything_else_keeps_its_own_policy(nobody: aiohttp.ClientSession, url: str) -> None:
    for path in ("/healthz", "/login/", "/login/index.html", "/login/..%2f__init__.py"):
        async with nobody.get(url + path) as response:
            assert response.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
            assert response.status == (200 if path == "/healthz" else 404)


def test_nothing_in_it_comes_from_elsewhere_or_is_made_of_text() -> None:
    page, style, script = ((FOLDER / name).read_text() for name in ("index.html", "login.css", "login.js"))
    assert not re.search(r"https?:|//|<style|\sstyle=|\son\w+=|javascript:", page)
    assert re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL) == [""]
    assert not re.search(r"url\(|@import", style)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|localStorage|https?:", script)


def test_a_health_has_the_shape_that_it_has_in_a_terminal() -> None:
    shapes = re.findall(r'\[data-health="(\w+)"\].*--shape: "(.)', (FOLDER / "login.css").read_text())
    assert shapes == [(health, look.glyph) for health, look in LOOKS.items()]
