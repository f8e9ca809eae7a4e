"""A sync: somebody lists the backups in a location. Pure; `now` is an argument.

    Pending -> InProgress -> Succeeded | Failed

One at a time holds a bucket, whatever the locations in it are called: two listings cost twice and tell the same. Others
may wait, first come first served. Every sync ends: one whose asker does not come, falls silent or takes too long ends
as Failed, and the bucket goes to whoever waits longest. One that its hub did not outlive is carried out by the next
one, from its beginning: a listing changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

from validator.backups.inventory import Inventory
from validator.reasons import Reason, reason_from


class SyncState(StrEnum):
    """How far it is."""

    PENDING = "Pending"
    IN_PROGRESS = "InProgress"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Sync:
    """One of them."""

    id: UUID
    location_id: UUID
    bucket: str
    cluster_id: UUID | None
    """Whose agent lists; None: the hub itself."""
    by: str
    asked_at: float
    """Hub clock, seconds since the epoch."""
    expected: int | None
    """Objects that there were the last time."""
    number: int = 0
    """Higher than that of every sync that there ever was."""
    state: SyncState = SyncState.PENDING
    holds: bool = False
    """It has the bucket; otherwise, while it is open, it waits for it."""
    began_at: float | None = None
    """It has the bucket since then."""
    ended_at: float | None = None
    listed: int = 0
    """Objects so far."""
    reason: Reason | None = None
    message: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it has no end yet."""
        return self.state in (SyncState.PENDING, SyncState.IN_PROGRESS)

    @property
    def method(self) -> str:
        """How it is carried out, in the words of evidence."""
        return "direct" if self.cluster_id is None else "agent"


@dataclass(frozen=True, slots=True)
class KeptInventory:
    """The newest inventory of a location."""

    cluster_id: UUID | None
    """Whose agent listed; None: the hub itself."""
    at: float
    took_s: float
    inventory: Inventory


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a sync may be on its way."""

    untaken_s: float = 300.0
    """For an agent to come for it: one that is there does within seconds, or after the sync that it is at."""
    silent_s: float = 300.0
    """Without news: a page, with all its tries and pauses, takes less."""
    whole_s: float = 1800.0
    """Holding the bucket, for an agent: longer than a listing gives itself. The hub's own is bounded by that."""
    abandoned_s: float = 3600.0
    """One that was asked for so long ago is not taken over from a hub that has ended."""


def overdue(sync: Sync, heard_at: float, now: float, limits: Limits) -> tuple[Reason, str] | None:
    """Why a sync that holds its bucket has to end; None where it may go on. `heard_at`: of the last news."""
    who = "The agent" if sync.cluster_id is not None else "The hub"
    reason = Reason.AGENT_SILENT if sync.cluster_id is not None else Reason.STORAGE_TIMEOUT
    if sync.state is SyncState.PENDING and sync.cluster_id is not None and now - heard_at > limits.untaken_s:
        return reason, f"The agent has not come for it within {limits.untaken_s:.0f} s."
    if sync.state is SyncState.IN_PROGRESS and now - heard_at > limits.silent_s:
        return reason, f"{who} has told no progress for {limits.silent_s:.0f} s."
    if sync.cluster_id is not None and sync.began_at is not None and now - sync.began_at > limits.whole_s:
        return Reason.STORAGE_TIMEOUT, f"The agent was not through after {limits.whole_s:.0f} s."
    return None


def estimate_s(sync: Sync, now: float) -> float | None:
    """How long it may take still, by how fast it was so far; None where nobody can say."""
    if sync.began_at is None or not sync.listed or not sync.expected or sync.listed > sync.expected:
        return None
    elapsed_s = max(0.0, now - sync.began_at)
    return round(elapsed_s / sync.listed * (sync.expected - sync.listed), 1)


def place(sync: Sync, open_syncs: Collection[Sync]) -> int:
    """How many are before it, with the one that has the bucket."""
    if sync.holds or not sync.is_open:
        return 0
    return sum(each.bucket == sync.bucket and (each.holds or each.number < sync.number) for each in open_syncs)


def shift(sync: Sync, by_s: float) -> Sync:
    """The same sync after the hub clock was moved: every moment moves, every age stays."""
    return replace(
        sync,
        asked_at=sync.asked_at + by_s,
        began_at=None if sync.began_at is None else sync.began_at + by_s,
        ended_at=None if sync.ended_at is None else sync.ended_at + by_s,
    )


def from_row(row: Mapping[str, Any]) -> Sync:
    """A sync as `read_syncs` gives it."""
    return Sync(
        id=row["id"],
        location_id=row["location_id"],
        bucket=row["bucket"],
        cluster_id=row["cluster_id"],
        by=row["by_whom"],
        asked_at=row["asked_at"],
        expected=row["expected"],
        number=row["number"],
        state=SyncState(row["state"]),
        holds=row["holds"],
        began_at=row["began_at"],
        ended_at=row["ended_at"],
        listed=row["listed"],
        reason=reason_from(row["reason"]),
        message=row["message"],
    )
