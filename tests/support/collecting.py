"""What tests of the collector share: time that is told to move, a recorder on a real database, a look at the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import pairwise
from math import inf
from pathlib import Path
from uuid import UUID, uuid4

import pytest

import collector
from collector.recorder import Recorder
from collector.rows import transition_from_row
from collector.transition import Transition
from store.migrate import STORE_MIGRATIONS, MigrationSet, migrate
from store.pool import Database, Statements
from store.sql import load_queries
from validator.clock import HubClock
from validator.health import HealthSettings
from validator.model import NO_EVIDENCE, Check, Evidence, Outcome, Verdict
from validator.reasons import REASONS, Health, Reason

HERE = Path(collector.__path__[0])
QUERIES = load_queries(HERE / "queries.sql")
MIGRATIONS = [STORE_MIGRATIONS, MigrationSet("collector", HERE / "migrations")]

AT_ONCE = HealthSettings(fail_after=1, pass_after=1)
"""No hysteresis: every verdict that differs is a change of health."""


class Time:
    """A wall clock and a monotonic clock that stand still until told."""

    def __init__(self, wall_s: float = 1_800_000_000.0) -> None:
        self.wall_s = wall_s
        self.monotonic_s = 1000.0
        self.clock = HubClock(lambda: self.wall_s, lambda: self.monotonic_s)

    def advance(self, seconds: float) -> None:
        """Let time go by."""
        self.wall_s += seconds
        self.monotonic_s += seconds

    def step(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.wall_s += seconds


class Steps:
    """A crash seam that remembers the steps, and does what it is told at one of them, once."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._do: dict[str, Callable[[], object]] = {}

    def __call__(self, step: str) -> None:
        self.seen.append(step)
        if step in self._do:
            self._do.pop(step)()

    def do(self, step: str, what: Callable[[], object]) -> None:
        """At the next `step`."""
        self._do[step] = what


class Bench:
    """A recorder on a real database, with its time, its steps and what it has published."""

    def __init__(self, database: Database, settings: HealthSettings = AT_ONCE, time: Time | None = None) -> None:
        self.db = database
        self.time = time or Time()
        self.at = Steps()
        self.told: list[Transition] = []
        self.recorder = Recorder(
            database,
            QUERIES,
            self.time.clock,
            settings,
            names=lambda cluster_id: f"cluster-{cluster_id.hex[:6]}",
            publish=self.told.append,
            at=self.at,
        )

    async def lead(self, grace_s: float = 0.0) -> int:
        """Become the leader; gives the epoch."""
        epoch: int = await self.db.fetchval("UPDATE leadership SET epoch = epoch + 1 RETURNING epoch")
        await self.recorder.load(epoch, grace_s)
        return epoch

    def restarted(self) -> Bench:
        """The next instance on the same database and clock; it does not lead yet."""
        return Bench(self.db, self.recorder._settings, self.time)

    def hear(
        self,
        cluster_id: UUID,
        reason: Reason | None = None,
        *,
        check: Check = Check.APISERVER,
        message: str = "",
        evidence: Evidence = NO_EVIDENCE,
        after_s: float = 1.0,
    ) -> Verdict:
        """A verdict comes in, `after_s` later: a pass, or what the reason's row says."""
        self.time.advance(after_s)
        heard = verdict(cluster_id, self.time.clock.now(), reason, check=check, message=message, evidence=evidence)
        self.recorder.record([heard])
        return heard

    async def until_written(self) -> None:
        """Flush until the database has taken everything, as `run` would, but sooner."""
        async with asyncio.timeout(30):
            while True:
                if await self.recorder.flush() and not self.recorder._dirty:
                    return
                await asyncio.sleep(0.02)

    def health(self, cluster_id: UUID, check: Check = Check.APISERVER) -> Health:
        """As it is in memory."""
        return self.recorder.states[cluster_id][check].health


def verdict(
    cluster_id: UUID,
    at: float,
    reason: Reason | None = None,
    *,
    check: Check = Check.APISERVER,
    message: str = "",
    evidence: Evidence = NO_EVIDENCE,
) -> Verdict:
    """One answer."""
    info = None if reason is None else REASONS[reason]
    outcomes = {Health.DEGRADED: Outcome.FINDING, Health.UNKNOWN: Outcome.UNKNOWN}
    return Verdict(
        check=check,
        cluster_id=cluster_id,
        outcome=Outcome.PASS if info is None else outcomes.get(info.health, Outcome.FAIL),
        observed_at=at,
        received_at=at,
        duration_s=0.012,
        lateness_s=0.001,
        allowance_s=73.0,
        reason=reason,
        stage=None if info is None else info.stage,
        message=message,
        evidence=evidence,
    )


async def add_clusters(db: Database, count: int) -> list[UUID]:
    """Clusters that the database knows."""
    ids = [uuid4() for _ in range(count)]
    await db.execute(
        "INSERT INTO clusters (id, name, source, endpoint, lifecycle, first_seen_at) "
        "SELECT id, 'cluster-' || left(id::text, 6), 'static', 'https://c', 'Active', now() FROM unnest($1::uuid[]) id",
        ids,
    )
    return ids


async def prepare(db: Database) -> None:
    """The schema."""
    await migrate(db, MIGRATIONS, 1)


@pytest.fixture
async def fleet_database(database: Database) -> Database:
    """An open pool on a fresh database with the whole schema."""
    await prepare(database)
    return database


@pytest.fixture
async def bench(fleet_database: Database) -> Bench:
    """A recorder that leads, without hysteresis."""
    bench = Bench(fleet_database)
    await bench.lead()
    return bench


async def committed(db: Statements) -> list[Transition]:
    """All of history, oldest first."""
    rows = await db.fetch(QUERIES["history"], 1_000_000, 2**63 - 1, -inf, inf, None, None)
    return [transition_from_row(dict(row)) for row in reversed(rows)]


async def flaws(db: Database, published: Iterable[Transition] = ()) -> list[str]:
    """What is wrong with the ledger; nothing, if every committed change is there once and all agrees.

    The history of each check is a chain from Unknown, its versions grow, it ends where the check's state stands, and
    what was published is in it. Read in one snapshot: a statement of a process that was killed may still be under way.
    """
    async with db.transaction() as tx:
        await tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        history = await committed(tx)
        states = await tx.fetch("SELECT cluster_id, NULL AS location_id, check_name, health, changes FROM check_states")
        states += await tx.fetch("SELECT cluster_id, location_id, check_name, health, changes FROM pair_states")
    found: list[str] = []
    chains: dict[tuple[UUID, UUID | None, str], list[Transition]] = {}
    for transition in history:
        chains.setdefault((transition.cluster_id, transition.location_id, transition.check), []).append(transition)
    for subject, chain in chains.items():
        if chain[0].from_health is not Health.UNKNOWN:
            found.append(f"{subject} begins with {chain[0].from_health}")
        for one, other in pairwise(chain):
            if one.to_health is not other.from_health:
                found.append(f"{subject}: {one.to_health} is followed by {other.from_health} -> {other.to_health}")
            if one.changes >= other.changes:
                found.append(f"{subject}: version {one.changes} is followed by {other.changes}")
    for row in states:
        chain = chains.pop((row["cluster_id"], row["location_id"], row["check_name"]), [])
        last_health, last_changes = (chain[-1].to_health, chain[-1].changes) if chain else (Health.UNKNOWN, 0)
        if row["health"] != last_health or row["changes"] < last_changes:
            found.append(f"{row!r} where history ends with {last_health}, version {last_changes}")
    found += [f"{subject} has a history and no state" for subject in chains]
    by_id = {transition.id: transition for transition in history}
    told = list(published)
    found += [f"published, not committed: {one}" for one in told if by_id.get(one.id) is None]
    found += [f"published as {one}, committed as {by_id[one.id]}" for one in told if not _same(one, by_id.get(one.id))]
    found += ["published twice"] if len({one.id for one in told}) < len(told) else []
    return found


def _same(one: Transition, other: Transition | None) -> bool:
    return other is None or (one.cluster_id, one.check, one.from_health, one.to_health, one.changes) == (
        other.cluster_id,
        other.check,
        other.from_health,
        other.to_health,
        other.changes,
    )
