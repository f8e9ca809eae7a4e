"""Syncs in the database: each method is one transaction, fenced by the leader's epoch."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from collector.location_store import Holder, HolderKind, Holding
from collector.pauses import Beside
from collector.sync import KeptInventory, Sync, from_row
from store.errors import StoreRefused
from store.pool import Database, Statements
from validator.backups.inventory import BadInventory, from_document, to_document

MAX_WAITING = 20
"""For one bucket: whoever comes later hears that it is full."""


PIECE = 10
"""Inventories that are read in one turn of the loop: a full one takes 0.7 ms."""


class SyncStore:
    """The statements (`syncs.sql`). Every method raises `StoreError`."""

    def __init__(self, db: Database, queries: Mapping[str, str]) -> None:
        self._db = db
        self._sql = queries

    async def read(self) -> tuple[list[Sync], dict[UUID, KeptInventory]]:
        """All syncs, and the newest inventories by location."""
        return await self._read(self._db)

    async def read_again(self, epoch: int) -> tuple[list[Sync], dict[UUID, KeptInventory]]:
        """The same, when no write of ours is under way any more."""
        async with self._db.transaction() as tx:
            await self._fence(tx, "fence_off", epoch)
            return await self._read(tx)

    async def syncs_again(self, epoch: int) -> list[Sync]:
        """All syncs, as by `read_again`. Inventories have up to 40 KB, and there is one a location."""
        async with self._db.transaction() as tx:
            await self._fence(tx, "fence_off", epoch)
            return await self._read_syncs(tx)

    async def begin(self, epoch: int, new: Sync, beside: Beside, *, queue: bool) -> bool:
        """Let it have its bucket, or (`queue`) wait for it. False where neither can be, or the location is going."""
        values = (new.id, new.location_id, new.bucket, new.cluster_id, new.asked_at, new.by, new.expected)
        async with self._db.transaction() as tx:
            await self._fence(tx, "fence", epoch)
            if await tx.fetchval(self._sql["stays"], new.location_id) is None:
                return False
            number = await tx.fetchval(self._sql["begin_sync"], *values)
            if number is None and queue:
                number = await tx.fetchval(self._sql["queue_sync"], *values, MAX_WAITING)
            if number is not None:
                await beside(tx)
            return number is not None

    async def begins(self, epoch: int, sync_id: UUID) -> None:
        """It is in progress."""
        async with self._db.transaction() as tx:
            await self._fence(tx, "fence", epoch)
            await tx.execute(self._sql["sync_begins"], sync_id)

    async def end(self, epoch: int, ended: Sync, kept: KeptInventory | None) -> bool:
        """It has ended, its inventory is kept, and its bucket goes to whoever waits longest. False: it had ended."""
        assert ended.ended_at is not None
        reason = None if ended.reason is None else str(ended.reason)
        async with self._db.transaction() as tx:
            await self._fence(tx, "fence", epoch)
            values = (ended.id, ended.state, ended.ended_at, ended.listed, reason, ended.message)
            if await tx.fetchval(self._sql["end_sync"], *values) is None:
                return False
            await tx.execute(self._sql["forget_ended"], ended.id, ended.location_id)
            if kept is not None:
                document = to_document(kept.inventory)
                await tx.execute(
                    self._sql["keep_inventory"], ended.location_id, kept.cluster_id, kept.at, kept.took_s, document
                )
            await tx.execute(self._sql["next_sync"], ended.bucket, ended.ended_at)
            return True

    async def _read(self, db: Statements) -> tuple[list[Sync], dict[UUID, KeptInventory]]:
        syncs = await self._read_syncs(db)
        kept: dict[UUID, KeptInventory] = {}
        for number, row in enumerate(await db.fetch(self._sql["read_inventories"])):
            if number % PIECE == 0:
                await asyncio.sleep(0)
            try:
                inventory = from_document(row["document"])
            except BadInventory:  # of another release: the next sync makes another
                continue
            kept[row["location_id"]] = KeptInventory(row["cluster_id"], row["at"], row["took_s"], inventory)
        return syncs, kept

    async def _read_syncs(self, db: Statements) -> list[Sync]:
        return [from_row(dict(row)) for row in await db.fetch(self._sql["read_syncs"])]

    async def _fence(self, tx: Statements, which: str, epoch: int) -> None:
        if await tx.fetchval(self._sql[which], epoch) is None:
            raise StoreRefused("another instance leads now; this one may not write")


def held_by_syncs(queries: Mapping[str, str]) -> Holding:
    """Keeps a location from being deleted while a sync of it is open."""

    async def holding(tx: Statements, location_id: UUID) -> Sequence[Holder]:
        rows = await tx.fetch(queries["open_syncs"], location_id)
        return [Holder(HolderKind.SYNC, _name(row["state"], row["since"], holds=row["holds"])) for row in rows]

    return holding


def _name(state: str, since: float, *, holds: bool) -> str:
    at = datetime.fromtimestamp(since, UTC)
    return f"{state} since {at:%Y-%m-%d %H:%M} UTC{'' if holds else ', waiting for its turn'}"
