"""What the metrics show, taken from the running service at one moment and frozen.

Rendering happens in a thread, the loop changes its dicts meanwhile: so everything is copied first, on the loop, a few
clusters at a time. What the thread reads can't change any more.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NamedTuple, Protocol
from uuid import UUID

from collector.inventory import Inventory
from collector.matrix import KnownPair, cell
from collector.pairs import Pairs
from collector.pauses import Pauses
from collector.recorder import Recorder
from validator.clock import Clock
from validator.engine import Engine
from validator.guard import Guard
from validator.health import rollup, shown
from validator.model import Check, Outcome
from validator.reasons import Health, Reason
from validator.schedule import Lane

CHUNK = 100
"""Clusters looked at before the loop gets its turn: about 0.5 ms."""


class Known(Protocol):
    """What exists only while an instance leads; `muster.hub.Leading` is one."""

    @property
    def inventory(self) -> Inventory:
        """The clusters."""
        ...

    @property
    def recorder(self) -> Recorder:
        """Their states, and how the writing goes."""
        ...

    @property
    def pauses(self) -> Pauses:
        """Who is out of judgement."""
        ...

    @property
    def pairs(self) -> Pairs:
        """Clusters and the backup locations that they use."""
        ...

    @property
    def engine(self) -> Engine:
        """The lanes."""
        ...

    @property
    def guard(self) -> Guard:
        """Whether alerts are held."""
        ...


class Instance(Protocol):
    """The running instance; `muster.hub.Hub` is one."""

    @property
    def clock(self) -> Clock:
        """The hub clock."""
        ...

    @property
    def version(self) -> str:
        """Of the service."""
        ...

    @property
    def role(self) -> str:
        """What it does at the moment."""
        ...

    @property
    def leading(self) -> Known | None:
        """None while it waits for the database or for leadership."""
        ...


class ClusterRow(NamedTuple):
    """One cluster as the metrics show it."""

    id: UUID
    name: str
    source: str
    health: Health
    last_success_at: float | None
    """Seconds since the epoch; None = never."""


class PairRow(NamedTuple):
    """One pair as the metrics show it: the cell of the matrix."""

    cluster_id: UUID
    cluster: str
    location_id: UUID
    location: str
    provider: str
    health: Health
    last_success_at: float | None
    """As of a cluster."""


class LaneRow(NamedTuple):
    """One lane's slots."""

    lane: Lane
    slots: int
    busy: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Fleet:
    """What a leader knows."""

    clusters: tuple[ClusterRow, ...]
    counts: Mapping[Health, int]
    """Every health is there, so that a series never comes and goes with its last cluster."""
    pairs: tuple[PairRow, ...]
    pair_counts: Mapping[Health, int]
    """Likewise."""
    lanes: tuple[LaneRow, ...]
    flush_s: float
    degraded: bool
    committed: int
    collapsed: int
    conflicts: int
    holding: bool
    source_problems: int


@dataclass(slots=True)
class AgentTotals:
    """What came from agents. Every drop is counted."""

    reports: int = 0
    duplicates: int = 0
    """Of those."""
    verdicts: int = 0
    refused: int = 0
    """Verdicts and syncs that were not taken."""
    dropped: int = 0
    """Verdicts that agents had to drop themselves."""
    unauthenticated: int = 0
    """Requests whose token was not that of the registered agent."""
    limited: int = 0
    """Requests that came too soon after others."""


@dataclass(slots=True)
class Totals:
    """Counts since the start of the process. A dict costs 0.2 µs a count; an SDK counter costs 5."""

    verdicts: Counter[tuple[Check, Outcome, Reason | None]] = field(default_factory=Counter)
    skipped_ticks: Counter[Lane] = field(default_factory=lambda: Counter(dict.fromkeys(Lane, 0)))
    exports: Counter[str] = field(default_factory=Counter)
    """OTLP exports by result."""
    agents: AgentTotals = field(default_factory=AgentTotals)


@dataclass(frozen=True, slots=True)
class Measured:
    """One instance at one moment."""

    version: str
    role: str
    totals: Totals
    fleet: Fleet | None
    """None while the instance does not lead: then it has nothing to say about clusters, and says nothing."""


async def measure(instance: Instance, totals: Totals) -> Measured:
    """Copy what the metrics show, without holding the loop."""
    known = instance.leading
    fleet = None if known is None else await _fleet(known, instance.clock)
    copied = Totals(totals.verdicts.copy(), totals.skipped_ticks.copy(), totals.exports.copy(), replace(totals.agents))
    return Measured(instance.version, instance.role, copied, fleet)


async def _fleet(known: Known, clock: Clock) -> Fleet:
    rows: list[ClusterRow] = []
    now = clock.now()
    clusters = iter(list(known.inventory.clusters.values()))
    while chunk := list(islice(clusters, CHUNK)):
        for cluster in chunk:
            states = known.recorder.states.get(cluster.id, {})
            paused = known.pauses.active(cluster.id, now) is not None
            rolled = rollup(cluster.lifecycle, (shown(state, now) for state in states.values()), paused=paused)
            rows.append(ClusterRow(cluster.id, cluster.name, cluster.source, rolled.health, rolled.last_success_at))
        await asyncio.sleep(0)
    pairs = await _pairs(known, now)
    counts, pair_counts = Counter(row.health for row in rows), Counter(row.health for row in pairs)
    stats = known.recorder.stats
    return Fleet(
        clusters=tuple(rows),
        counts={health: counts[health] for health in Health},
        pairs=tuple(pairs),
        pair_counts={health: pair_counts[health] for health in Health},
        lanes=tuple(LaneRow(lane, s.slots, s.busy, len(s)) for lane, s in known.engine.lanes.items()),
        flush_s=stats.flush_s,
        degraded=known.recorder.degraded_since is not None,
        committed=stats.committed,
        collapsed=stats.collapsed,
        conflicts=stats.conflicts,
        holding=known.guard.holding,
        source_problems=len(known.inventory.problems),
    )


async def _pairs(known: Known, now: float) -> list[PairRow]:
    rows: list[PairRow] = []
    living = iter(list(known.pairs.all()))
    while chunk := list(islice(living, CHUNK)):
        for cluster, location, states in chunk:
            paused = known.pauses.active(cluster.id, now) is not None
            seen = cell(KnownPair(cluster, location.where, states, paused), now)
            names = (cluster.id, cluster.name, location.id, location.name, location.where.provider.value)
            rows.append(PairRow(*names, seen.health, seen.last_success_at))
        await asyncio.sleep(0)
    return rows
