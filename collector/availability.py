"""How much of the time clusters could be reached: counted by the database, folded into buckets here.

docs/decisions/0008-availability.md says what counts as what, and why the counting is SQL: 500,000 changes of 10,000
clusters are worked off in another process, while the loop that asks the fleet waits for a few hundred rows. One
statement serves one cluster and the whole fleet, so that the fleet is the sum of its clusters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, floor
from pathlib import Path
from time import monotonic
from typing import Literal, NamedTuple, cast
from uuid import UUID

from store.errors import StoreUnavailable
from store.pool import Database

QUERIES = Path(__file__).with_name("availability.sql")
"""The named statements of this file and of `vigil.py`."""

DEADLINE_S = 20.0
"""For one report, with the waiting for others: some 2.5 million changes of the fleet, on two busy cores."""

REUSE_S = 30.0
"""How long a report is given again. It says which window it is of, so nothing in it gets wrong meanwhile."""

MAX_KEPT = 16
"""Reports that are kept; one of 1,000 buckets is 200 kB."""

State = Literal["judged", "up", "down", "paused"]
"""What a cluster can be. Who is judged and neither up nor down is unknown."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, cut at whole multiples of the step: a day of a chart is a day, and stays what it was."""

    begin: float
    end: float
    """Hub clock, seconds since the epoch; after `begin`, not after now."""
    step_s: int

    @property
    def first_s(self) -> int:
        """Where the first bucket would begin, were it a whole one."""
        return floor(self.begin / self.step_s) * self.step_s

    @property
    def count(self) -> int:
        """How many buckets; the first and the last one may be shorter than the others."""
        return ceil((self.end - self.first_s) / self.step_s)


class Edge(NamedTuple):
    """In one bucket, all that begins or ceases to be in one state."""

    state: State
    bucket: int
    more: int
    """How many clusters more (or less) are in it at the end of the bucket."""
    moments_s: float
    """When they changed: seconds after the (whole) bucket's beginning; the sum, those that ceased taken away."""


@dataclass(frozen=True, slots=True)
class Share:
    """Cluster seconds within a stretch of time, by what was known."""

    begin: float
    end: float
    up_s: float
    down_s: float
    unknown_s: float
    paused_s: float

    @property
    def availability(self) -> float | None:
        """Of the time in which it was known; None if there was none."""
        known_s = self.up_s + self.down_s
        return self.up_s / known_s if known_s else None


@dataclass(frozen=True, slots=True)
class Report:
    """Of one cluster, or of all that there were."""

    window: Window
    total: Share
    buckets: tuple[Share, ...]
    outages: int
    longest_outage_s: float


def fold(window: Window, edges: Iterable[Edge]) -> tuple[Share, ...]:
    """The buckets; pure.

    Who changes at a moment is in its new state for the rest of the bucket, and for the whole of all later ones. So a
    bucket takes the number of those in a state at its beginning, and two sums over the changes within it.
    """
    changes = {(edge.state, edge.bucket): edge for edge in edges}
    clusters: dict[State, int] = {"judged": 0, "up": 0, "down": 0, "paused": 0}
    shares: list[Share] = []
    for number in range(window.count):
        whole = window.first_s + number * window.step_s
        begin, end = max(window.begin, whole), min(window.end, whole + window.step_s)
        seconds: dict[State, float] = {}
        for state, before in clusters.items():
            edge = changes.get((state, number), _NOTHING)
            seconds[state] = before * (end - begin) + edge.more * (end - whole) - edge.moments_s
            clusters[state] = before + edge.more
        up_s, down_s = _rounded(seconds["up"]), _rounded(seconds["down"])
        unknown_s = _rounded(seconds["judged"] - seconds["up"] - seconds["down"])
        shares.append(Share(begin, end, up_s, down_s, unknown_s, _rounded(seconds["paused"])))
    return tuple(shares)


def total(window: Window, shares: Iterable[Share]) -> Share:
    """All buckets in one."""
    up_s = down_s = unknown_s = paused_s = 0.0
    for share in shares:
        up_s += share.up_s
        down_s += share.down_s
        unknown_s += share.unknown_s
        paused_s += share.paused_s
    return Share(window.begin, window.end, up_s, down_s, unknown_s, paused_s)


class Availability:
    """Reports from the database of the leader."""

    def __init__(
        self,
        db: Database,
        queries: Mapping[str, str],
        *,
        retention_days: Callable[[], int],
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """`queries` are those of `QUERIES`; `retention_days` may change while the service runs."""
        self.retention_days = retention_days
        self._one = _Desk(db, queries, deadline_s)
        self._all = _Desk(db, queries, deadline_s)

    async def report(self, window: Window, cluster_id: UUID | None) -> Report | None:
        """Of one cluster, or of the fleet; None if there is no such cluster, not even one that is gone.

        Raises `StoreError`, also where the answer took longer than `deadline_s`.
        """
        return await (self._all if cluster_id is None else self._one).report(window, cluster_id)


class _Desk:
    """One report at a time: those who ask for the same meanwhile get it too.

    And the pool keeps its connections for what must be written. Long reports (the fleet's) and short ones have a desk
    each.
    """

    def __init__(self, db: Database, queries: Mapping[str, str], deadline_s: float) -> None:
        self._db = db
        self._sql = queries
        self._deadline_s = deadline_s
        self._busy = asyncio.Lock()  # held over a statement: it is the bound on connections, and has a deadline
        self._kept: dict[tuple[UUID | None, Window], tuple[float, Report]] = {}

    async def report(self, window: Window, cluster_id: UUID | None) -> Report | None:
        """As `Availability.report`."""
        key = (cluster_id, window)
        try:
            async with asyncio.timeout(self._deadline_s), self._busy:
                made_at, kept = self._kept.get(key, (0.0, None))
                if kept is not None and monotonic() < made_at + REUSE_S:
                    return kept
                report = await self._make(window, cluster_id)
                if report is not None:
                    self._kept.pop(key, None)
                    self._kept[key] = (monotonic(), report)
                    while len(self._kept) > MAX_KEPT:
                        del self._kept[next(iter(self._kept))]  # the oldest
                return report
        except TimeoutError as error:
            raise StoreUnavailable(
                f"availability was not counted within {self._deadline_s:g} s. Ask for a shorter window, or later."
            ) from error

    async def _make(self, window: Window, cluster_id: UUID | None) -> Report | None:
        begin, end = (datetime.fromtimestamp(at, UTC) for at in (window.begin, window.end))
        async with self._db.transaction() as tx:
            await tx.execute(self._sql["settle"])
            if cluster_id is not None and not await tx.fetchval(self._sql["cluster_exists"], cluster_id):
                return None
            rows = await tx.fetch(
                self._sql["availability"],
                begin,
                end,
                cluster_id,
                float(window.first_s),
                float(window.step_s),
                timeout_s=self._deadline_s + 1,  # the caller's comes first, and says what to do
            )
        edges: list[Edge] = []
        outages, longest_s = 0, 0.0
        for state, bucket, number, seconds in rows:
            if state == "outage":
                outages, longest_s = number, seconds
            else:
                edges.append(Edge(cast("State", state), bucket, number, seconds))
        buckets = fold(window, edges)
        return Report(window, total(window, buckets), buckets, outages, longest_s)


_NOTHING = Edge("judged", 0, 0, 0.0)


def _rounded(seconds: float) -> float:
    """To the microsecond, which is what the database keeps: no remainder of a sum is left as less than nothing."""
    return max(0.0, round(seconds, 6))
