"""Locations in a real database: a leader, its time, and clusters to assign."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import collector
import muster
from collector.location import Assignment, BackupLocation
from collector.location_store import Forgetting, Holder, Holding, LocationStore
from collector.locations import Locations
from store.errors import StoreUnavailable
from store.migrate import MigrationSet, migrate
from store.pool import Database, Statements
from store.sql import load_queries
from tests.support.collecting import MIGRATIONS, Time
from validator.locations import Environment, Location, Provider

LOCATION_QUERIES = load_queries(Path(collector.__path__[0]) / "locations.sql")


async def whole_schema(database: Database) -> Database:
    """Every package's tables."""
    await migrate(database, [*MIGRATIONS, MigrationSet("muster", Path(muster.__path__[0]) / "migrations")], 1)
    return database


def new_location(name: str = "backups", *clusters: UUID, by: str = "ann", **fields: Any) -> BackupLocation:
    """On Azure, unless `fields` say otherwise; all that is not of the place itself keeps its default."""
    own = {key: fields.pop(key) for key in ("owner", "encryption_key", "sync", "allow_shared") if key in fields}
    place = {
        "provider": Provider.AZURE,
        "account": "acmebackups",
        "container": "daily",
        "environment": Environment.PUBLIC,
        **fields,
    }
    assignments = {each: Assignment(each, 1_800_000_000.0, by) for each in clusters}
    rest = {"owner": by, "encryption_key": None, "sync": False, "allow_shared": False, **own}
    where = Location(id=uuid4(), name=name, **place)
    return BackupLocation(where, created_at=1_800_000_000.0, created_by=by, assignments=assignments, **rest)


class Held:
    """Something of somebody else's that holds a location, and goes with it, some rows at a time."""

    def __init__(self, *holders: Holder, rows: int = 0) -> None:
        self.holders = list(holders)
        self.rows = rows
        self.asked = 0
        self.stuck = False

    async def holding(self, _: Statements, location_id: UUID) -> list[Holder]:
        return self.holders

    async def forgetting(self, _: Statements, location_id: UUID) -> int:
        self.asked += 1
        if self.stuck:
            raise StoreUnavailable("not now")
        some = min(self.rows, 10)
        self.rows -= some
        return some


class LocationBench:
    """Locations that lead, and their time."""

    def __init__(
        self,
        db: Database,
        time: Time | None = None,
        holdings: Sequence[Holding] = (),
        forgettings: Sequence[Forgetting] = (),
    ) -> None:
        self.db = db
        self.time = time or Time()
        self.locations = Locations(LocationStore(db, LOCATION_QUERIES, holdings, forgettings), self.time.clock)

    async def lead(self) -> LocationBench:
        await self.locations.load(await self.db.fetchval("UPDATE leadership SET epoch = epoch + 1 RETURNING epoch"))
        return self

    async def rows(self) -> list[tuple[str, int, bool]]:
        """Name, version, and whether it is DeletePending; as the database has them."""
        sql = "SELECT name, version, deleting_at IS NOT NULL AS deleting FROM locations ORDER BY name"
        return [(row["name"], row["version"], row["deleting"]) for row in await self.db.fetch(sql)]

    async def assigned(self) -> int:
        """Rows of assignments."""
        count: int = await self.db.fetchval("SELECT count(*) FROM assignments")
        return count
