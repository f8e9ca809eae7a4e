"""The receiver's database: its statements and its schema."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from store.migrate import STORE_MIGRATIONS, MigrationSet, migrate
from store.pool import Database, Statements
from store.sql import Queries, load_queries

SCHEMA_VERSION = 2
"""What this code can work with."""

_HERE = Path(__file__).parent

SETS = (STORE_MIGRATIONS, MigrationSet("receiver", _HERE / "migrations"))


@dataclass(frozen=True, slots=True)
class Store:
    """A pool on a schema that is up to date, and every statement by name."""

    db: Database
    sql: Queries

    @classmethod
    async def open(cls, url: str) -> Store:
        """Connect and bring the schema up to date. Raises `StoreError`."""
        db = await Database.open(url, application_name="muster-receiver")
        try:
            await migrate(db, SETS, SCHEMA_VERSION)
        except BaseException:
            await db.close()
            raise
        return cls(db, load_queries(_HERE / "queries.sql"))

    async def close(self) -> None:
        """Let go of the pool."""
        await self.db.close()

    async def count(self, name: str, more: int = 1, *, within: Statements | None = None) -> None:
        """Count what is never looked up one by one, e.g. dead letters."""
        await (within or self.db).execute(self.sql["count_more"], name, more)
