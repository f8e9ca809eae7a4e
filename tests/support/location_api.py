"""The API on a made-up fleet with locations in a real database, and the command line against it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import aiohttp
from multidict import CIMultiDict
from typer.testing import Result

from collector.location_store import LocationStore
from collector.locations import Locations
from collector.pairs import Pairs
from muster.access.local import LocalToken
from store.pool import Database
from tests.support.cli import muster
from tests.support.hub import LOCAL_TOKEN, TOKENS, MadeUpHub, api_server, made_up_access
from tests.support.locations import LOCATION_QUERIES, Held
from validator.reasons import Health

AZURE: Mapping[str, Any] = {
    "name": "backups-eu",
    "provider": "azure",
    "account": "acmebackups",
    "container": "daily",
    "environment": "AzurePublicCloud",
}

S3: Mapping[str, Any] = {"name": "backups-s3", "provider": "s3", "container": "acme-backups"}

Answer = tuple[int, Any, CIMultiDict[str]]


class LocationApi:
    """Three clusters, and who asks."""

    def __init__(self, hub: MadeUpHub, url: str, session: aiohttp.ClientSession, db: Database, held: Held) -> None:
        self.hub, self.url, self.session, self.db, self.held = hub, url, session, db, held
        self.pairs: dict[UUID, Health] = {}

    async def ask(
        self, method: str, path: str = "", body: Any = None, role: str = "operator", **headers: str
    ) -> Answer:
        sent = {"Authorization": f"Bearer {TOKENS[role]}"}  # type: ignore[index]
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self.url}/api/v1/locations{path}"
        async with self.session.request(method, url, json=body, headers=sent) as response:
            return response.status, await response.json(content_type=None), CIMultiDict(response.headers)

    async def create(self, *clusters: str, **fields: Any) -> Any:
        """A location on Azure, unless `fields` say otherwise; its document."""
        base = S3 if fields.get("provider") == "s3" else AZURE
        status, document, _ = await self.ask("POST", body={**base, **fields, "clusters": clusters})
        assert status == 201, document
        return document

    async def audited(self) -> list[tuple[str, str, str, str]]:
        """Who, what, to what, with what outcome; oldest first."""
        rows = await self.db.fetch("SELECT who, action, subject, outcome FROM audit_log ORDER BY id")
        return [(row["who"], row["action"], row["subject"], row["outcome"]) for row in rows]

    async def cli(self, *arguments: str, **variables: str) -> Result:
        """A command, while this loop serves it."""
        return await asyncio.to_thread(muster, "locations", *arguments, server=self.url, **variables)


class _MadeUpPairs(Pairs):
    """The healths that a test has said."""

    def __init__(self, hub: MadeUpHub, api: LocationApi) -> None:
        assert hub.leading is not None
        super().__init__(hub.inventory, hub.leading.locations, hub.recorder, hub.clock)
        self._api = api

    def healths(self, location_id: UUID) -> dict[UUID, Health]:
        return dict(self._api.pairs)


@asynccontextmanager
async def location_api(db: Database) -> AsyncIterator[LocationApi]:
    """Serves until the end of the block. The database has the whole schema."""
    hub = MadeUpHub()
    held = Held()
    assert hub.leading is not None
    store = LocationStore(db, LOCATION_QUERIES, [held.holding], [held.forgetting])
    hub.leading.locations = Locations(store, hub.clock)
    await hub.leading.locations.load(await db.fetchval("UPDATE leadership SET epoch = epoch + 1 RETURNING epoch"))
    for name in ("berlin", "paris", "rome"):
        cluster_id = hub.put(name, hub.answer())
        await db.execute(
            "INSERT INTO clusters (id, name, source, endpoint, lifecycle, first_seen_at) "
            "VALUES ($1, $2, 'static', 'https://c', 'Active', now())",
            cluster_id,
            name,
        )
    access = made_up_access(hub)
    access.store.open(db)
    server = api_server(hub, access=access)
    await server.start()
    removing = asyncio.create_task(hub.leading.locations.run(), name="locations")
    try:
        async with aiohttp.ClientSession() as session:
            with LocalToken(LOCAL_TOKEN).left(*server.address):
                api = LocationApi(hub, server.url, session, db, held)
                hub.leading.pairs = _MadeUpPairs(hub, api)
                yield api
    finally:
        removing.cancel()
        await asyncio.wait([removing])
        await server.stop()
