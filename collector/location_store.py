"""Locations in the database: each method is one transaction, fenced by the leader's epoch.

What somebody else keeps about a location comes in by two seams, so that this module knows nothing of backups, syncs or
the matrix: `Holding` says what a deletion has to wait for, `Forgetting` removes what goes with the location. Whoever
makes something that holds a location locks the location's row first (`FOR SHARE`) and finds `deleting_at` empty.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from collector.location import BackupLocation, from_row, to_row
from collector.pauses import Beside
from store.errors import StoreRefused
from store.pool import Database, Statements


class HolderKind(StrEnum):
    """What can keep a location from being deleted."""

    CLUSTER = "cluster"
    BACKUP = "backup"
    SCHEDULE = "schedule"
    RESTORE = "restore"
    SYNC = "sync"
    UNREAD = "unread cluster"
    """Used it, and can't be asked now whether anything in it still refers to it. A deletion may pass over these."""


@dataclass(frozen=True, slots=True)
class Holder:
    """One thing that does."""

    kind: HolderKind
    name: str
    """For people: of a resource `CLUSTER/NAMESPACE/NAME`, of a sync its state and since when."""
    id: str = ""


class LocationHeld(Exception):  # noqa: N818 - an answer, not an error
    """Something still refers to the location."""

    def __init__(self, holders: Sequence[Holder]) -> None:
        super().__init__(f"held by {len(holders)}")
        self.holders = tuple(holders)


Holding = Callable[[Statements, UUID], Awaitable[Sequence[Holder]]]
"""What holds the location. Asked inside the transaction of the deletion, with the location's row locked."""

Forgetting = Callable[[Statements, UUID], Awaitable[int]]
"""Removes some of what belongs to the location; gives how many rows. Asked again, each time in a transaction of its
own, until that is none: a million rows must hold no lock for long, and a crash in between loses nothing."""


@dataclass(frozen=True, slots=True)
class Reassignment:
    """Clusters to assign and to unassign, in one step."""

    location_id: UUID
    add: Collection[UUID]
    remove: Collection[UUID]
    by: str
    at: float
    version: int | None = None
    """The one that it is based on; None: whichever there is."""


class LocationStore:
    """The statements. Every method raises `StoreError`."""

    def __init__(
        self,
        db: Database,
        queries: Mapping[str, str],
        holdings: Sequence[Holding] = (),
        forgettings: Sequence[Forgetting] = (),
    ) -> None:
        self._db = db
        self._sql = queries
        self._holdings = tuple(holdings)
        self._forgettings = tuple(forgettings)

    async def read(self) -> list[BackupLocation]:
        """All of them."""
        return [from_row(dict(row)) for row in await self._db.fetch(self._sql["read_locations"], None)]

    async def read_again(self, epoch: int, location_ids: Collection[UUID] | None) -> list[BackupLocation]:
        """These, or all, when no write of ours is under way there any more. Raises `StoreRefused` if another leads."""
        async with self._db.transaction() as tx:
            if await tx.fetchval(self._sql["fence_off"], epoch) is None:
                raise _led_by_another()
            ids = None if location_ids is None else list(location_ids)
            return [from_row(dict(row)) for row in await tx.fetch(self._sql["read_locations"], ids)]

    async def insert(self, epoch: int, new: BackupLocation, beside: Beside) -> BackupLocation | None:
        """Add it with its assignments. None where its name or bucket is taken, or another instance leads."""
        async with self._db.transaction() as tx:
            if await tx.fetchval(self._sql["insert_location"], epoch, *to_row(new)) is None:
                return None
            clusters = list(new.assignments)
            await tx.execute(self._sql["assign"], new.id, clusters, new.created_at, new.created_by)
            await beside(tx)
            return await self._read(tx, new.id)

    async def reassign(self, epoch: int, wanted: Reassignment, beside: Beside) -> BackupLocation | None:
        """The location's next version. None where it has another version, is or will be gone, or another leads."""
        location_id = wanted.location_id
        async with self._db.transaction() as tx:
            if await tx.fetchval(self._sql["touch_location"], epoch, location_id, wanted.version) is None:
                return None
            await tx.execute(self._sql["unassign"], location_id, list(wanted.remove))
            await tx.execute(self._sql["assign"], location_id, list(wanted.add), wanted.at, wanted.by)
            await beside(tx)
            return await self._read(tx, location_id)

    async def begin_deletion(
        self,
        epoch: int,
        location_id: UUID,
        version: int | None,
        by: str,
        at: float,
        beside: Beside,
        outside: Collection[Holder] = (),
    ) -> BackupLocation | None:
        """It is DeletePending. None as for `reassign`; raises `LocationHeld`, and then nothing has changed.

        The row is changed first: from then on nobody can begin to hold it unseen.
        """
        async with self._db.transaction() as tx:
            if await tx.fetchval(self._sql["begin_deletion"], epoch, location_id, version, at, by) is None:
                return None
            rows = await tx.fetch(self._sql["assigned_clusters"], location_id)
            holders = [Holder(HolderKind.CLUSTER, row["name"], str(row["id"])) for row in rows]
            holders += outside
            for holding in self._holdings:
                holders += await holding(tx, location_id)
            if holders:
                raise LocationHeld(holders)
            await beside(tx)
            return await self._read(tx, location_id)

    async def remove(self, epoch: int, location_id: UUID) -> None:
        """All that is known of a location that is DeletePending, its row last. Once more does no harm.

        Raises `StoreRefused` if another instance leads.
        """
        for forgetting in self._forgettings:
            left = 1
            while left:
                async with self._db.transaction() as tx:
                    await self._fence(tx, epoch)
                    left = await forgetting(tx, location_id)
        async with self._db.transaction() as tx:
            await self._fence(tx, epoch)
            await tx.execute(self._sql["remove_location"], epoch, location_id)

    async def _fence(self, tx: Statements, epoch: int) -> None:
        if await tx.fetchval(self._sql["fence"], epoch) is None:
            raise _led_by_another()

    async def _read(self, tx: Statements, location_id: UUID) -> BackupLocation:
        [row] = await tx.fetch(self._sql["read_locations"], [location_id])
        return from_row(dict(row))


def _led_by_another() -> StoreRefused:
    return StoreRefused("another instance leads now; this one may not write")
