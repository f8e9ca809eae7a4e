"""Pauses: a person takes a cluster out of judgement, for a while or until somebody resumes it.

A paused cluster is asked all the same, and its checks make history: when the pause ends the truth is there at once.

Decisions, and what was decided against:

- `until` is a time on people's clocks. Where the wall clock is set, no pause moves with it, as ages do: "until Monday
  at eight" is what was said. A jump past `until` ends the pause, and one back that is noticed soon brings it back.
- A pause is the cluster's, not its source's: a cluster that leaves the fleet and comes back is still paused. One that
  was rebuilt is another cluster, and is not.
- The database first, then memory: what is shown as paused is paused after a takeover, too. While the database is away
  nobody can pause or resume anything; a pause that was kept back would end up as an alert that somebody had silenced.
- Writes are fenced by the leader's epoch, as the recorder's are. A write whose answer was lost is in doubt; what the
  database has is read again, before the next write to the cluster and every few seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NoReturn
from uuid import UUID

import structlog

from store.errors import StoreError, StoreRefused
from store.pool import Database, Row, Statements
from validator.clock import Clock

_log = structlog.get_logger(__name__)

SWEEP_EVERY_S = 5.0
"""How often rows get their end, and doubts are looked into. What is *shown* never waits for it."""

MAX_PAUSE_S = 10 * 366 * 86_400.0
"""Longest pause that has an end; years beyond 9999 can't even be shown."""


Beside = Callable[[Statements], Awaitable[None]]
"""What is written in the same transaction, or not at all: the audit log's entry."""


async def nothing_beside(_: Statements) -> None:
    """No audit log."""


@dataclass(frozen=True, slots=True)
class Pause:
    """One pause that nobody has ended."""

    id: int
    cluster_id: UUID
    reason: str
    by: str
    """Who began it, or changed it last."""
    begins_at: float
    """Hub clock, seconds since the epoch."""
    until: float | None
    """None: until somebody resumes it."""
    version: int

    def message(self) -> str:
        """One sentence for people."""
        if self.until is None:
            return f"paused by {self.by} until somebody resumes it: {self.reason}"
        return f"paused by {self.by} until {datetime.fromtimestamp(self.until, UTC):%Y-%m-%d %H:%M} UTC: {self.reason}"


class PauseConflict(Exception):  # noqa: N818 - an answer, not an error
    """Somebody was faster, or did it before. `current` is what holds now; None = the cluster is not paused."""

    def __init__(self, current: Pause | None) -> None:
        super().__init__("the cluster is not paused" if current is None else current.message())
        self.current = current


class Pauses:
    """The pauses in memory, backed by the database. All methods are to be called on the loop's thread."""

    def __init__(self, db: Database, queries: Mapping[str, str], clock: Clock) -> None:
        self._db = db
        self._sql = queries
        self._clock = clock
        self._epoch = 0
        self._open: dict[UUID, Pause] = {}
        self._in_doubt: set[UUID] = set()
        self._changes = 0
        """Of memory: tells whether a reading of the database is still the newest word."""

    async def load(self, epoch: int) -> None:
        """Take over what the database knows, as the leader of `epoch`. Raises `StoreError`."""
        rows = await self._db.fetch(self._sql["load_pauses"], None)
        self._epoch = epoch
        self._open = {row["cluster_id"]: _from_row(row) for row in rows}
        self._in_doubt = set()

    def active(self, cluster_id: UUID, now: float) -> Pause | None:
        """The pause that holds at `now`, the same object until it is changed."""
        pause = self._open.get(cluster_id)
        return pause if pause is not None and (pause.until is None or now < pause.until) else None

    async def pause(
        self, cluster_id: UUID, reason: str, by: str, until: float | None, beside: Beside = nothing_beside
    ) -> Pause:
        """Begin a pause. Raises `PauseConflict` where there is one, ValueError for `until`, `StoreError`."""
        now = self._clock.now()
        _check_until(until, now)
        doubtful = cluster_id in self._in_doubt
        await self.settle([cluster_id])
        if (current := self.active(cluster_id, now)) is not None:
            if doubtful and (current.reason, current.by, current.until) == (reason, by, until):
                return current  # begun by an earlier attempt, whose answer was lost
            raise PauseConflict(current)
        return self._remember(await self._write(cluster_id, beside, "begin_pause", cluster_id, reason, by, now, until))

    async def change(
        self, pause: Pause, reason: str, by: str, until: float | None, beside: Beside = nothing_beside
    ) -> Pause:
        """Another reason or end. Raises `PauseConflict` where this is not the newest version, ValueError, `StoreError`.

        The pause is the changer's from then on: it is their reason that people read.
        """
        _check_until(until, self._clock.now())
        args = (pause.id, pause.version, reason, by, until)
        return self._remember(await self._write(pause.cluster_id, beside, "change_pause", *args))

    async def resume(self, pause: Pause, by: str, beside: Beside = nothing_beside) -> None:
        """End a pause. Raises `PauseConflict` where this is not the newest version, `StoreError`."""
        ended_at = max(self._clock.now(), pause.begins_at)  # a clock that was set back makes no negative pause
        await self._write(pause.cluster_id, beside, "end_pause", pause.id, pause.version, ended_at, by)
        self._forget(pause.cluster_id)

    async def run(self) -> NoReturn:
        """Until cancelled: give rows their end, and look into doubts."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            try:
                await self.settle()
            except StoreError as error:
                _log.debug("pauses wait for the database", error=error.message)

    async def settle(self, cluster_ids: Iterable[UUID] | None = None) -> None:
        """Read again what is in doubt, and end what has passed; of these clusters, or of all. Raises `StoreError`."""
        if doubtful := self._in_doubt.intersection(self._in_doubt if cluster_ids is None else cluster_ids):
            await self._read_again(sorted(doubtful))
        now = self._clock.now()
        if any(each in self._open and self.active(each, now) is None for each in cluster_ids or self._open):
            for row in await self._db.fetch(self._sql["end_passed_pauses"], self._epoch, now):
                if (pause := self._open.get(row["cluster_id"])) is not None and pause.id == row["id"]:
                    self._forget(pause.cluster_id)

    async def keep(self, retention_days: int) -> None:
        """Forget pauses that ended before the retention. Raises `StoreError`."""
        oldest = datetime.fromtimestamp(self._clock.now(), UTC) - timedelta(days=retention_days)
        await self._db.execute(self._sql["forget_pauses"], oldest)

    # -- writing

    async def _write(self, cluster_id: UUID, beside: Beside, query: str, *values: object) -> Row:
        """One fenced statement. Raises `PauseConflict` where it found something else than expected, `StoreError`."""
        try:
            async with self._db.transaction() as tx:
                row = await tx.fetchrow(self._sql[query], self._epoch, *values)
                if row is not None:
                    await beside(tx)
        except BaseException:
            self._in_doubt.add(cluster_id)
            raise
        if row is None:
            await self._read_again([cluster_id])
            raise PauseConflict(self.active(cluster_id, self._clock.now()))
        self._in_doubt.discard(cluster_id)
        return row

    async def _read_again(self, cluster_ids: list[UUID]) -> None:
        """What the database has is the truth. Waits for commits of ours that are under way there."""
        changes = self._changes
        async with self._db.transaction() as tx:
            if await tx.fetchval(self._sql["fence_off"], self._epoch) is None:
                raise StoreRefused("another instance leads now; this one may not write")
            found = {row["cluster_id"]: row for row in await tx.fetch(self._sql["load_pauses"], cluster_ids)}
        if changes != self._changes:
            return  # something was written meanwhile: what is in doubt stays so until the next look
        for cluster_id in cluster_ids:
            if cluster_id in found:
                self._remember(found[cluster_id])
            else:
                self._forget(cluster_id)
            self._in_doubt.discard(cluster_id)

    def _remember(self, row: Row) -> Pause:
        pause = _from_row(row)
        self._changes += 1
        self._open[pause.cluster_id] = pause
        return pause

    def _forget(self, cluster_id: UUID) -> None:
        self._changes += 1
        self._open.pop(cluster_id, None)


def _check_until(until: float | None, now: float) -> None:
    if until is not None and not now < until <= now + MAX_PAUSE_S:
        raise ValueError("has passed already" if until <= now else "is more than ten years ahead; leave it out instead")


def _from_row(row: Row) -> Pause:
    return Pause(
        id=row["id"],
        cluster_id=row["cluster_id"],
        reason=row["reason"],
        by=row["by_whom"],
        begins_at=row["begins_at"],
        until=row["until"],
        version=row["version"],
    )
