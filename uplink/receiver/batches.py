"""Where batches go: once each, with what the support view needs, in one transaction."""

from __future__ import annotations

import asyncio
import hashlib
from enum import StrEnum
from uuid import UUID

from store.pool import Session
from uplink.receiver.audit import Action, By, note
from uplink.receiver.facts import Facts, read_facts, stamp
from uplink.receiver.storing import Store
from uplink.wire.otlp import Signal, pack, parse

QUOTA_BYTES = 2 * 1024**3
"""Of one organisation, compressed: at 50 KB a minute two months."""

WAITING = "waiting"
DEAD = "dead"


class Stored(StrEnum):
    """What became of a batch."""

    NEW = "new"
    REPEATED = "repeated"
    """The same under this id was there: the answer to it got lost."""
    EMPTY = "empty"
    """Nothing to keep: a probe."""
    OTHER = "other"
    """Something else was there under this id."""
    REVOKED = "revoked"
    """The sender's certificate has ended while the body came."""
    FULL = "full"
    """The organisation's quota is used up."""


class _NoRoom(Exception):  # noqa: N818 - undoes the transaction
    pass


class Batches:
    """Of all organisations."""

    def __init__(self, store: Store, *, quota_bytes: int = QUOTA_BYTES, forwards: bool = False) -> None:
        """`forwards`: somebody is there who sends them on (`forward.py`)."""
        self._store = store
        self._quota_bytes = quota_bytes
        self._forwards = forwards
        self.arrived = asyncio.Event()
        """Set when there is something to forward; who waits for it clears it."""

    async def take(
        self,
        organisation: str,
        installation: UUID,
        batch_id: UUID,
        signal: Signal,
        raw: bytes,
        now: float,
        *,
        certificate: bytes | None = None,
    ) -> Stored:
        """Keep it, or say why not. Raises `WireError` for what can't be read, `StoreError`.

        `certificate` is the hash of the sender's: held while it is written, so that nothing comes after a `forget`.
        """
        request = parse(signal, raw)
        facts = read_facts(request, now)
        if not facts.items:
            return Stored.EMPTY
        stamp(request, organisation, installation)
        body = pack(request.SerializeToString())
        sha256 = hashlib.sha256(raw).digest()
        try:
            async with self._store.db.transaction() as tx:
                if certificate and not await tx.fetchval(self._store.sql["hold_certificate"], certificate):
                    return Stored.REVOKED
                if not await self._add(tx, organisation, installation, batch_id, signal, now, sha256, body):
                    before = await tx.fetchval(self._store.sql["find_batch"], installation, batch_id)
                    return Stored.REPEATED if before == sha256 else Stored.OTHER
                await self._keep_facts(tx, organisation, installation, facts, now)
        except _NoRoom:
            return Stored.FULL
        self.arrived.set()
        return Stored.NEW

    async def _add(
        self,
        tx: Session,
        organisation: str,
        installation: UUID,
        batch_id: UUID,
        signal: Signal,
        now: float,
        sha256: bytes,
        body: bytes,
    ) -> bool:
        """False where the id is taken. Raises `_NoRoom`."""
        sql, waiting = self._store.sql, WAITING if self._forwards else None
        if not await tx.fetchval(
            sql["save_batch"], installation, batch_id, organisation, signal.value, now, sha256, body, waiting
        ):
            return False
        if not await tx.fetchval(sql["take_room"], organisation, len(body), self._quota_bytes):
            raise _NoRoom
        return True

    async def _keep_facts(self, tx: Session, organisation: str, installation: UUID, facts: Facts, now: float) -> None:
        sql = self._store.sql
        if facts.clusters:
            await tx.execute(sql["save_clusters"], installation, organisation, facts.clusters, now)
        if facts.health:
            await tx.execute(sql["save_health"], installation, organisation, facts.health, now)
        if facts.logs:
            await tx.execute(sql["save_logs"], installation, organisation, facts.logs, now)

    async def forget(self, installation: UUID, now: float, why: str, by: By) -> int:
        """All that was received of it goes, and its certificates end; gives how many batches. Raises `StoreError`."""
        sql = self._store.sql
        async with self._store.db.transaction() as tx:
            organisation = await tx.fetchval(
                sql["lock_installation"], installation
            )  # no certificate is added meanwhile
            await tx.execute(sql["revoke_installation"], installation, now, why)  # waits for batches under way
            for name in ("forget_clusters", "forget_health", "forget_logs"):
                await tx.execute(sql[name], installation)
            batches = int(await tx.fetchval(sql["forget_batches"], installation))
            await note(self._store, tx, by, Action.FORGET, now, organisation, installation, batches=batches)
            return batches
