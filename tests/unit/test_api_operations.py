"""Log levels at run time, and readiness at the end, over the real API."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import aiohttp
import pytest
import structlog

from muster.hub import Role
from muster.logs import set_level
from tests.support.hub import LOCAL_TOKEN, TOKENS, MadeUpHub, api_server
from tests.support.runtime import bearer


@pytest.fixture
def hub() -> MadeUpHub:
    return MadeUpHub()


@pytest.fixture
async def url(hub: MadeUpHub) -> AsyncIterator[str]:
    before = logging.getLogger().level
    set_level("info")
    server = api_server(hub)
    await server.start()
    yield server.url
    await server.stop()
    logging.getLogger().setLevel(before)
    structlog.reset_defaults()


@pytest.fixture
async def session(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(url, headers=bearer(LOCAL_TOKEN)) as session:
        yield session


PATH = "/api/v1/log-level"


async def test_an_admin_sets_it_and_reads_it_even_while_the_audit_log_is_away(session: aiohttp.ClientSession) -> None:
    async with session.get(PATH) as response:
        assert await response.json() == {"level": "info"}
    async with session.put(PATH, json={"level": "debug"}) as response:
        assert (response.status, await response.json()) == (200, {"level": "debug"})
    assert logging.getLogger().level == logging.DEBUG
    async with session.get(PATH) as response:
        assert await response.json() == {"level": "debug"}


async def test_a_standby_has_a_log_of_its_own(session: aiohttp.ClientSession, hub: MadeUpHub) -> None:
    hub.stand_by("another instance leads")
    async with session.put(PATH, json={"level": "error"}) as response:
        assert response.status == 200


@pytest.mark.parametrize("body", [{}, {"level": "loud"}, {"level": "debug", "for": 60}, {"level": 10}, []])
async def test_what_makes_no_sense_changes_nothing(session: aiohttp.ClientSession, body: object) -> None:
    async with session.put(PATH, json=body) as response:
        assert response.status == 422
        assert (await response.json(content_type=None))["type"] == "/problems/bad-body"
    assert logging.getLogger().level == logging.INFO


async def test_it_takes_an_admin(session: aiohttp.ClientSession) -> None:
    for role, token in TOKENS.items():
        for method in ("GET", "PUT"):
            async with session.request(method, PATH, json={"level": "info"}, headers=bearer(token)) as response:
                assert response.status == (200 if role == "admin" else 403), (role, method)


async def test_an_instance_that_ends_is_not_ready_while_its_last_answers_go_out(
    session: aiohttp.ClientSession, hub: MadeUpHub
) -> None:
    async with session.get("/readyz") as response:
        assert response.status == 200
    hub.role = Role.STOPPING
    async with session.get("/readyz") as response:
        assert response.status == 503
        assert "it is stopping" in (await response.json(content_type=None))["detail"]
    async with session.get("/healthz") as response:
        assert response.status == 200
    async with session.get("/api/v1/fleet") as response:
        assert response.status == 200
