"""The API of a made-up hub, asked over HTTP by somebody who may."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.support.hub import LOCAL_TOKEN, MadeUpHub, api_server
from tests.support.runtime import bearer


class Api:
    """The service, asked as JSON."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def get(self, path: str, query: Mapping[str, Any] | None = None, status: int = 200) -> Any:
        """One document. The query's values are quoted here."""
        async with self.session.get(self.url + path, params=query) as response:
            assert response.status == status, await response.text()
            return await response.json(content_type=None)

    async def names(self, query: Mapping[str, Any] | None = None) -> list[str]:
        """Of the clusters on a page."""
        return [cluster["name"] for cluster in (await self.get("/api/v1/clusters", query))["clusters"]]

    async def refused(self, path: str, query: Mapping[str, Any], parameter: str) -> str:
        """What is said of the parameter of a query that makes no sense."""
        problem = await self.get(path, query, 400)
        assert problem["type"] == "/problems/bad-query"
        [error] = problem["errors"]
        assert error["parameter"] == parameter
        assert error["message"] in problem["detail"]
        message: str = error["message"]
        return message


@asynccontextmanager
async def asked(hub: MadeUpHub) -> AsyncIterator[Api]:
    """The hub's API, until the end of the block."""
    server = api_server(hub)
    await server.start()
    try:
        async with aiohttp.ClientSession(headers=bearer(LOCAL_TOKEN)) as session:
            yield Api(session, server.url)
    finally:
        await server.stop()
