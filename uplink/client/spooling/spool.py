"""Batches that wait, in the service's database: bounded, in order, and gone only when they were received.

A batch is kept with its digest, and what does not fit it any more is set aside: one damaged row never stops the rest.
Everything that is not sent is counted by why in the transaction in which it goes, so that no crash forgets it, and the
counts are themselves a metric (`uplink.dropped`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from store.errors import StoreError, StoreFull, StoreRefused, StoreUnavailable
from store.pool import Database, Row, Session
from uplink.client.consent.record import Given
from uplink.client.consent.streams import Stream
from uplink.client.encoding.batch import Batch
from uplink.client.spooling.epochs import QUERIES
from uplink.wire.errors import WireError
from uplink.wire.otlp import pack, unpack
from validator.file_thread import FileThread

_log = structlog.get_logger(__name__)

CrashPoint = Callable[[str], None]
"""Told where we are; tests kill the process there."""

MAX_BYTES = 256 * 1024 * 1024
"""Of what waits, as it travels: 88 hours at 50 KB a minute."""

MAX_AGE_S = 7 * 86_400.0
"""Of what waits. Support asks about this week."""

MAX_QUARANTINED = 20
MAX_QUARANTINED_BYTES = 8 * 1024 * 1024
"""Of what is set aside: enough to see what was wrong with it."""

MAX_REMEMBERED = 4096
"""Digests of batches that this process has made: those of three days."""

PACK_S = 30.0
"""For packing some batches: 40 ms each, on a thread of its own."""

_NOT_NOW = (StoreUnavailable, StoreFull, StoreRefused)
"""Errors of the database as a whole; any other one is about the row."""


class SpoolClosed(Exception):  # noqa: N818 - an answer, not an error
    """The consent has ended, or is another one: nothing may be kept under it."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One batch of the spool."""

    batch: Batch
    packed: bytes
    """As it travels."""
    failures: int
    """In a row, that were its own."""
    ordinal: int
    ours: bool
    """These very bytes were encoded by this process, under the epoch that the batch has."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What there is."""

    batches: int = 0
    bytes: int = 0
    oldest_at: float | None = None
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of what waits."""

    bytes: int = MAX_BYTES
    age_s: float = MAX_AGE_S


class Spool:
    """The statements. Every method raises `StoreError`; the database's absence is silence."""

    def __init__(self, db: Database, bounds: Bounds | None = None, at: CrashPoint = lambda _: None) -> None:
        self._db = db
        self._bounds = bounds or Bounds()
        self._at = at
        self._packing = FileThread("uplink-packing")
        self._made: dict[tuple[int, bytes], None] = {}

    async def add(
        self,
        given: Given,
        batches: Iterable[Batch],
        now: float,
        marks: Mapping[Stream, Any] | None = None,
        drops: Mapping[str, int] | None = None,
    ) -> None:
        """Keep these, with how far gathering has come and what the encoder has refused, as one.

        Then what is too old or too much goes, oldest first.


        Raises `SpoolClosed` where another consent holds by now, or none.
        """
        packed = await self._packed(batches)
        for batch, _ in packed:
            self._remember(batch)
        self._at("before add")
        async with self._db.transaction() as tx:
            await self._hold(tx, given)
            for batch, body in packed:
                await tx.execute(QUERIES["add_batch"], *_row(batch, body))
            for stream, mark in (marks or {}).items():
                await tx.execute(QUERIES["save_mark"], stream.value, mark)
            for why, count in (drops or {}).items():
                await self._count(tx, why, count)
            await self._bound(tx, now)
        self._at("after add")

    async def next(self, given: Given, streams: Collection[Stream]) -> Waiting | None:
        """The oldest that waits, of these streams and this consent."""
        found = await self.page(given, streams, 0, 1)
        return found[0] if found else None

    async def page(self, given: Given, streams: Collection[Stream], after: int, limit: int) -> Sequence[Waiting]:
        """At most `limit` after an ordinal, oldest first; empty = there is none. What is damaged is set aside."""
        names = [stream.value for stream in streams]
        while rows := await self._db.fetch(QUERIES["next_waiting"], given.consent_id, names, after, limit):
            found = [waiting for row in rows if (waiting := await self._read(row, given)) is not None]
            if found:
                return found
            after = rows[-1]["ordinal"]
        return []

    async def received(self, batch_id: UUID, rejected: int = 0) -> None:
        """It was; `rejected` of its records never will be."""
        self._at("before delete")
        async with self._db.transaction() as tx:
            await tx.execute(QUERIES["delete_batch"], batch_id)
            await self._count(tx, "rejected", rejected)
        self._at("after delete")

    async def drop(self, batch_id: UUID, why: str) -> None:
        """It will never be received."""
        async with self._db.transaction() as tx:
            await self._count(tx, why, await tx.fetchval(QUERIES["delete_batch"], batch_id))

    async def replace(self, given: Given, batch_id: UUID, parts: Sequence[Batch], lost: int = 0) -> bool:
        """Others stand where it stood; `lost` records of it are in none.

        False: there is no room between, or it is gone. Raises `SpoolClosed`.
        """
        packed = await self._packed(parts)
        async with self._db.transaction() as tx:
            await self._hold(tx, given)
            place = await tx.fetchrow(QUERIES["place_of"], batch_id)
            if place is None or place["span"] < len(parts):
                return False
            await tx.execute(QUERIES["delete_batch"], batch_id)
            span = place["span"] // len(parts)
            for number, (part, body) in enumerate(packed):
                await tx.execute(QUERIES["add_part"], *_row(part, body), place["ordinal"] + number * span, span)
            await self._count(tx, "not-consented", lost)
        return True

    async def failed(self, batch_id: UUID) -> int:
        """Once more; gives how often in a row."""
        return int(await self._db.fetchval(QUERIES["failed_once_more"], batch_id) or 0)

    async def quarantine(self, batch_id: UUID, why: str) -> None:
        """It is not sent any more, and kept for people to look at: the newest few."""
        async with self._db.transaction() as tx:
            records = await tx.fetchval(QUERIES["quarantine"], batch_id, why)
            await self._count(tx, "quarantined", records)
            await tx.execute(QUERIES["bound_quarantine"], MAX_QUARANTINED, MAX_QUARANTINED_BYTES)
        _log.warning("a batch is set aside", batch=str(batch_id), why=why, records=records)

    async def bound(self, now: float) -> None:
        """What is too old or too much goes."""
        async with self._db.transaction() as tx:
            await self._bound(tx, now)

    async def mark(self, stream: Stream) -> Any:
        """How far gathering has come; None: not at all, under this consent."""
        return await self._db.fetchval(QUERIES["mark"], stream.value)

    async def counts(self) -> dict[str, int]:
        """Records that were not sent since the consent, by why."""
        return {row["why"]: row["count"] for row in await self._db.fetch(QUERIES["counts"])}

    async def backlog(self) -> Backlog:
        """What there is."""
        row = await self._db.fetchrow(QUERIES["backlog"])
        return Backlog() if row is None else Backlog(**row)

    async def _packed(self, batches: Iterable[Batch]) -> list[tuple[Batch, bytes]]:
        some = list(batches)
        bodies = await self._packing.run(lambda: [pack(batch.raw) for batch in some], PACK_S) if some else []
        return list(zip(some, bodies, strict=True))

    def _remember(self, batch: Batch) -> None:
        if len(self._made) >= MAX_REMEMBERED:
            del self._made[next(iter(self._made))]
        self._made[batch.epoch, hashlib.sha256(batch.raw).digest()] = None

    async def _hold(self, tx: Session, given: Given) -> None:
        if await tx.fetchval(QUERIES["hold_consent"], given.epoch, given.consent_id) is None:
            raise SpoolClosed

    async def _bound(self, tx: Session, now: float) -> None:
        await self._count(tx, "too-old", await tx.fetchval(QUERIES["drop_aged"], now - self._bounds.age_s))
        if await tx.fetchval(QUERIES["waiting_bytes"]) > self._bounds.bytes:
            await self._count(tx, "spool-full", await tx.fetchval(QUERIES["drop_oldest"], self._bounds.bytes))

    async def _count(self, tx: Session, why: str, records: int | None) -> None:
        if records:
            await tx.execute(QUERIES["count"], why, records)

    async def _read(self, row: Row, given: Given) -> Waiting | None:
        """The batch of a row; None where it is damaged, and set aside, or has gone meanwhile."""
        try:
            body = await self._db.fetchval(QUERIES["body_of"], row["ordinal"])
            if body is None:
                return None
            ours = (row["epoch"], row["sha256"]) in self._made
            return Waiting(_batch(row, body, given), body, row["failures"], row["ordinal"], ours)
        except _NOT_NOW:
            raise
        except (StoreError, WireError, ValueError) as error:
            await self.quarantine(row["batch_id"], f"damaged: {type(error).__name__}")
            return None


def _batch(row: Row, body: bytes, given: Given) -> Batch:
    """Raises `WireError` and `ValueError`."""
    raw = unpack(body)
    if hashlib.sha256(raw).digest() != row["sha256"]:
        raise ValueError("its digest does not fit")
    return Batch(
        id=row["batch_id"],
        stream=Stream(row["stream"]),
        raw=raw,
        records=row["records"],
        consent=given.consent_id,
        epoch=row["epoch"],
        dictionary=row["dictionary"],
        made_at=row["made_at"],
    )


def _row(batch: Batch, body: bytes) -> tuple[object, ...]:
    return (
        batch.id,
        batch.consent,
        batch.epoch,
        batch.stream.value,
        batch.dictionary,
        batch.records,
        batch.made_at,
        hashlib.sha256(batch.raw).digest(),
        body,
    )
