"""Which consent holds for all instances on one database: a row that can only forbid.

The file of a host permits, and the row forbids what it does not name. So a database that was restored permits nothing
that a file doesn't, and a file that was copied or restored permits nothing that the row doesn't name.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from store.migrate import MigrationSet
from store.pool import Database, Session
from store.sql import Queries, load_queries
from uplink.client.consent.record import Given, Withdrawn

SPOOL_MIGRATIONS = MigrationSet("uplink", Path(__file__).with_name("migrations"))
"""To be applied with the service's own."""

QUERIES: Queries = load_queries(Path(__file__).with_name("spool.sql"))

LOCK_WAIT_S = 0.3
"""For the locks of an ending: whoever adds holds them for milliseconds, and off has a second for everything."""


class Overtaken(Exception):  # noqa: N818 - an answer, not an error
    """Somebody has decided later, on another instance. The text says what to do."""


class Known(NamedTuple):
    """What the database says."""

    epoch: int
    consent: UUID | None
    """None: telemetry is off."""

    def permits(self, given: Given) -> bool:
        """Whether it is this consent, with this scope."""
        return (self.epoch, self.consent) == (given.epoch, given.consent_id)


class Epochs:
    """The row. Every method raises `StoreError`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def read(self, timeout_s: float | None = None) -> Known:
        """As it is now."""
        row = await self._db.fetchrow(QUERIES["read_consent"], timeout_s=timeout_s)
        return Known(0, None) if row is None else Known(row["epoch"], row["consent"])

    async def open(self, given: Given, *, known: bool = False) -> None:
        """Have a consent hold that was given just now, or narrowed. Raises `Overtaken`.

        `known`: it has held already, and is narrowed. Then it has to hold still: an off elsewhere has the same epoch as
        the fewer streams here, and would be undone.

        What another consent has left is emptied with it: it is never sent under this one's name (H8).
        """
        async with self._db.transaction() as tx:
            before = await self._lock(tx)
            if before.epoch > given.epoch or (known and before.consent != given.consent_id):
                raise Overtaken("another instance has decided later. Consent again if it should hold")
            if before.consent != given.consent_id:
                await self._empty(tx)
            elif lost := await tx.fetchval(QUERIES["drop_streams"], [stream.value for stream in given.scope]):
                await tx.execute(QUERIES["count"], "not-consented", lost)
            await tx.execute(QUERIES["set_consent"], given.epoch, given.consent_id)

    async def close(self, at_least: int = 0) -> None:
        """Off, for all instances, whatever holds now: the epoch rises, to `at_least`. Nothing is emptied yet."""
        async with self._db.transaction() as tx:
            known = await self._lock(tx)
            await tx.execute(QUERIES["set_consent"], max(known.epoch + 1, at_least), None)

    async def close_again(self, withdrawn: Withdrawn) -> None:
        """Off as a file says it that was written some time ago: a later decision of somebody else's stays."""
        async with self._db.transaction() as tx:
            known = await self._lock(tx)
            if known.epoch < withdrawn.epoch or (known.epoch == withdrawn.epoch and known.consent is not None):
                await tx.execute(QUERIES["set_consent"], withdrawn.epoch, None)

    async def empty(self) -> None:
        """Everything that waits goes, unless a consent holds."""
        async with self._db.transaction() as tx:
            known = await self._lock(tx)
            if known.consent is None:
                await self._empty(tx)

    async def _lock(self, tx: Session) -> Known:
        await tx.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT_S:.3f}s'")
        row = await tx.fetchrow(QUERIES["lock_consent"])
        assert row is not None, "the migration has put it there"
        return Known(row["epoch"], row["consent"])

    async def _empty(self, tx: Session) -> None:
        if await tx.fetchval(QUERIES["anything"]):
            await tx.execute(QUERIES["empty"])
