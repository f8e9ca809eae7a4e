"""Reads committed transitions, and keeps their monthly partitions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import inf
from typing import NamedTuple
from uuid import UUID

import structlog

from collector.rows import transition_from_row
from collector.transition import Transition
from store.pool import Database

_log = structlog.get_logger(__name__)

MAX_PAGE = 1000
"""Most rows of history in one answer."""

MONTHS_AHEAD = 2
"""Partitions are made this far ahead, so that a database that is away at midnight stops nothing."""


_NO_ID = 2**63 - 1
"""Above every id."""


class Only(NamedTuple):
    """Which changes; all of them without any of it."""

    begin: float = -inf
    """Hub clock: noticed then or later."""
    end: float = inf
    """Noticed before."""
    checks: tuple[str, ...] = ()
    """Empty = any, as is `to_health`."""
    to_health: tuple[str, ...] = ()
    location_id: UUID | None = None
    """Of pairs with this location; None = of clusters themselves and of any pair."""


ALL = Only()


class History:
    """The append-only past."""

    def __init__(self, db: Database, queries: Mapping[str, str]) -> None:
        self._db = db
        self._sql = queries

    async def page(
        self, cluster_id: UUID | None, limit: int, before_id: int | None = None, only: Only = ALL
    ) -> list[Transition]:
        """Newest first, of one cluster or of all; `before_id` is the last id of the page before.

        Raises `StoreError`.
        """
        bounds = (
            min(limit, MAX_PAGE),
            _NO_ID if before_id is None else before_id,
            only.begin,
            only.end,
            only.checks or None,
            only.to_health or None,
        )
        if cluster_id is not None:
            rows = await self._db.fetch(self._sql["cluster_history"], *bounds, cluster_id, only.location_id)
        elif only.location_id is not None:
            rows = await self._db.fetch(self._sql["location_history"], *bounds, only.location_id)
        else:
            rows = await self._db.fetch(self._sql["history"], *bounds)
        return [transition_from_row(dict(row)) for row in rows]

    async def oldest(self) -> float | None:
        """When the oldest change that is kept was noticed; None = there is none. Raises `StoreError`."""
        found: float | None = await self._db.fetchval(self._sql["oldest_transition"])
        return found

    async def after(self, last_id: int, limit: int) -> list[Transition]:
        """Oldest first, of all clusters, with ids above `last_id`. Raises `StoreError`."""
        rows = await self._db.fetch(self._sql["history_after"], last_id, min(limit, MAX_PAGE))
        return [transition_from_row(dict(row)) for row in rows]

    async def reaches_back_to(self, last_id: int) -> bool:
        """Whether nothing above this id has aged out yet. Raises `StoreError`."""
        oldest: int | None = await self._db.fetchval(self._sql["oldest_transition_id"])
        return oldest is not None and oldest <= last_id + 1

    async def keep_partitions(self, now: float, retention_days: int) -> None:
        """Make the months to come, drop what is wholly older than the retention. Raises `StoreError`."""
        today = datetime.fromtimestamp(now, UTC)
        oldest = today - timedelta(days=retention_days)
        have = {row["name"] for row in await self._db.fetch(self._sql["partitions"])}
        for month in _months(today, MONTHS_AHEAD):
            if (name := f"transitions_{month:%Y%m}") not in have:
                await self._make(name, month, _next_month(month))
        for name in sorted(have):
            end = _next_month(datetime.strptime(name[-6:], "%Y%m").replace(tzinfo=UTC))
            if end <= oldest:
                await self._db.execute(f"DROP TABLE IF EXISTS {name}")
                _log.info("history aged out", month=name[-6:], retention_days=retention_days)
        await self._db.execute(self._sql["forget_other"], oldest)
        await self._db.execute(self._sql["forget_gone"], oldest)

    async def _make(self, name: str, begin: datetime, end: datetime) -> None:
        """A month's partition, with the rows that a wrong clock has put there ahead of time.

        Those are in the default partition, and PostgreSQL refuses a plain `PARTITION OF` while they are.
        """
        async with self._db.transaction() as tx:
            await tx.execute("LOCK TABLE transitions_other IN SHARE ROW EXCLUSIVE MODE")  # none may come meanwhile
            if await tx.fetchval("SELECT to_regclass($1) IS NOT NULL", name):
                return
            await tx.execute(f"CREATE TABLE {name} (LIKE transitions)")
            await tx.execute(self._sql["move_other"].replace("{month}", name), begin, end)
            await tx.execute(
                f"ALTER TABLE transitions ATTACH PARTITION {name} "
                f"FOR VALUES FROM ('{begin:%Y-%m-%d}T00:00:00Z') TO ('{end:%Y-%m-%d}T00:00:00Z')"
            )


def _months(first: datetime, ahead: int) -> list[datetime]:
    month = first.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    months = [month]
    for _ in range(ahead):
        months.append(_next_month(months[-1]))
    return months


def _next_month(month: datetime) -> datetime:
    return (month + timedelta(days=32)).replace(day=1)
