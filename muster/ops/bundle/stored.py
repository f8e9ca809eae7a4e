"""What the database says of its schema."""

from __future__ import annotations

from typing import Any

from muster.ops.database import reach_running
from muster.settings import Settings
from store.pool import Database

_APPLIED = """
SELECT package, name, left(sha256, 12) AS sha256, applied_at FROM schema_migrations ORDER BY applied_at, package, number
"""


async def applied_migrations(settings: Settings) -> list[dict[str, Any]] | None:
    """Each migration with its moment; None where the database does not run. Raises `StoreError`."""
    async with reach_running(settings) as reached:
        if reached is None:
            return None
        database = await Database.open(reached.url, connections=1, application_name="muster-support")
        try:
            if not await database.fetchval("SELECT to_regclass('schema_migrations') IS NOT NULL"):
                return []
            rows = await database.fetch(_APPLIED)
        finally:
            await database.close()
    return [{**dict(row), "applied_at": row["applied_at"].isoformat()} for row in rows]
