"""Validation jobs in the database: each method is one transaction, fenced by the leader's epoch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from collector.pauses import Beside
from collector.validation import Job, JobState
from store.errors import StoreRefused
from store.pool import Database, Statements
from validator.model import Pair
from validator.reasons import Stage, reason_from


class ValidationStore:
    """The statements (`validations.sql`). Every method raises `StoreError`."""

    def __init__(self, db: Database, queries: Mapping[str, str]) -> None:
        self._db = db
        self._sql = queries

    async def read(self) -> list[Job]:
        """All of them."""
        return [_from_row(dict(row)) for row in await self._db.fetch(self._sql["read_validations"], None)]

    async def read_again(self, epoch: int, location_ids: Collection[UUID]) -> list[Job]:
        """Those of these locations, when no write of ours is under way any more."""
        async with self._db.transaction() as tx:
            await self._fence(tx, "fence_off", epoch)
            rows = await tx.fetch(self._sql["read_validations"], list(location_ids))
        return [_from_row(dict(row)) for row in rows]

    async def ask(
        self, epoch: int, location_id: UUID, new: Mapping[UUID, UUID], by: str, at: float, beside: Beside
    ) -> list[Job]:
        """Begin jobs, by cluster; the jobs of these pairs then. One that was under way is there in its place.

        A pair that is none any more has no job.
        """
        async with self._db.transaction() as tx:
            await self._fence(tx, "fence", epoch)
            asked = (location_id, list(new), list(new.values()), at, by)
            made = await tx.fetch(self._sql["ask_validations"], *asked)
            if made:
                await beside(tx)
            rows = await tx.fetch(self._sql["read_validations"], [location_id])
        return [_from_row(dict(row)) for row in rows if row["cluster_id"] in new]

    async def advance(self, epoch: int, jobs: Sequence[Job]) -> set[UUID]:
        """Write how these jobs stand; gives the ids of those that there are still."""
        async with self._db.transaction() as tx:
            await self._fence(tx, "fence", epoch)
            columns = list(zip(*map(_to_row, jobs), strict=True))
            return {row["id"] for row in await tx.fetch(self._sql["advance_validations"], *map(list, columns))}

    async def _fence(self, tx: Statements, which: str, epoch: int) -> None:
        if await tx.fetchval(self._sql[which], epoch) is None:
            raise StoreRefused("another instance leads now; this one may not write")


def _from_row(row: Mapping[str, Any]) -> Job:
    stage = row["stage"]
    return Job(
        pair=Pair(row["cluster_id"], row["location_id"]),
        id=row["id"],
        number=row["number"],
        by=row["by_whom"],
        asked_at=row["asked_at"],
        state=JobState(row["state"]),
        method=row["method"],
        began_at=row["began_at"],
        ended_at=row["ended_at"],
        reason=reason_from(row["reason"]),
        stage=None if stage is None else Stage(stage),
        message=row["message"],
    )


def _to_row(job: Job) -> tuple[object, ...]:
    """What `advance_validations` takes of one."""
    cluster_id, location_id = job.pair
    return (
        location_id,
        cluster_id,
        job.id,
        job.state,
        job.method,
        job.began_at,
        job.ended_at,
        job.reason,
        job.stage,
        job.message,
    )
