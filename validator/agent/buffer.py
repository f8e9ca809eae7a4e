"""What the hub has not been told yet: verdicts in bounded memory, and the newest word on each sync. No I/O.

When it is full, all verdicts that a newer one of the same location and check has outdated go at once, and are counted;
only where that leaves nothing to drop does the oldest go. So an agent that was cut off for hours comes back with the
newest of everything, and one that was cut off for minutes with everything. Coalescing always was rejected: the hub's
hysteresis counts failures in a row.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from validator.agent import wire
from validator.agent.wire import SyncReport
from validator.clock import Clock
from validator.model import Verdict

DEFAULT_VERDICTS = 5000
"""A few MB. With a hundred locations and the usual interval, eight hours."""

HEAD_BYTES = 4096
"""Left in a report for all that is neither verdict nor sync: under 500 really."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One verdict that waits."""

    verdict: Verdict
    period_s: float
    request: UUID | None


@dataclass(frozen=True, slots=True)
class Batch:
    """What one report tells, under one number however often it is sent."""

    sequence: int
    entries: tuple[Entry, ...]
    syncs: tuple[SyncReport, ...]


class Buffer:
    """`clock` gives verdicts their age; it must not jump."""

    def __init__(self, limit: int, clock: Clock) -> None:
        self._limit = limit
        self._clock = clock
        self._entries: deque[Entry] = deque()
        self._syncs: dict[UUID, SyncReport] = {}
        self._taken = 0
        self._sequence = 0
        self.dropped = 0
        """Verdicts that the hub never heard of, since the start."""

    def __len__(self) -> int:
        """Verdicts that wait; those of a report under way have left."""
        return len(self._entries)

    @property
    def waiting(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self._entries or self._syncs)

    @property
    def urgent(self) -> bool:
        """Whether somebody waits for what is here, or a report is full."""
        return (
            len(self._entries) >= wire.MAX_VERDICTS
            or any(entry.request is not None for entry in self._entries)
            or any(sync.state is not wire.SyncState.IN_PROGRESS for sync in self._syncs.values())
        )

    def add(self, verdicts: Sequence[Verdict], period_s: Sequence[float], request: UUID | None) -> None:
        """Take verdicts in."""
        self._entries.extend(
            Entry(verdict, period, request) for verdict, period in zip(verdicts, period_s, strict=True)
        )
        if len(self._entries) + self._taken > self._limit:
            self._coalesce()

    def tell(self, sync: SyncReport) -> None:
        """The newest word on a sync; what was said of it before is outdated."""
        self._syncs[sync.request] = sync

    def take(self) -> Batch:
        """The next report's content: as many of the oldest as fit. Empty = a heartbeat. `settle` it before the next."""
        now, room = self._clock.now(), wire.MAX_REPORT_BYTES - HEAD_BYTES
        syncs: list[SyncReport] = []
        for sync in list(self._syncs.values())[: wire.MAX_SYNCS]:
            room -= len(wire.sync_json(sync)) + 1
            if room < 0:
                break  # the next report has room; one alone always fits, see `Pairing`
            syncs.append(sync)
            del self._syncs[sync.request]
        entries: list[Entry] = []
        while self._entries and len(entries) < wire.MAX_VERDICTS:
            room -= len(self._json(self._entries[0], now, now)) + 32  # ages grow by some digits until it is sent
            if room < 0:
                break
            entries.append(self._entries.popleft())
        self._taken = len(entries)
        self._sequence += 1
        return Batch(self._sequence, tuple(entries), tuple(syncs))

    def settle(self, batch: Batch, *, lost: bool = False) -> None:
        """A report was taken by the hub; or refused for good (`lost`)."""
        self._taken = 0
        if lost:
            self.dropped += len(batch.entries)

    def encoded(self, batch: Batch, head: Mapping[str, object], sent_at: float) -> bytes:
        """The whole report, with ages of this moment. `sent_at` is the wall clock's, to be shown."""
        now = self._clock.now()
        verdicts = (self._json(entry, now, sent_at) for entry in batch.entries)
        return wire.report_json(
            {**head, "sequence": batch.sequence, "sent_at": round(sent_at, 3), "dropped": self.dropped},
            verdicts,
            map(wire.sync_json, batch.syncs),
        )

    def _json(self, entry: Entry, now: float, sent_at: float) -> bytes:
        age_s = max(0.0, now - entry.verdict.received_at)
        return wire.verdict_json(
            entry.verdict, age_s=age_s, sent_at=sent_at, period_s=entry.period_s, request=entry.request
        )

    def _coalesce(self) -> None:
        before, seen = len(self._entries), set[tuple[UUID | None, str]]()
        kept: deque[Entry] = deque()
        for entry in reversed(self._entries):
            about = (entry.verdict.location_id, entry.verdict.check)
            if entry.request is not None or about not in seen:
                kept.appendleft(entry)
            seen.add(about)
        while kept and len(kept) + self._taken > self._limit:
            kept.popleft()
        self._entries = kept
        self.dropped += before - len(kept)
