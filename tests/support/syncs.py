"""Syncs in a real database, with agents and a hub's own listing that do as told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast
from uuid import UUID

import collector
from collector.backup_checks import SyncSettings
from collector.location import BackupLocation
from collector.locations import Locations
from collector.requests import Answered, ReportedSync, RequestKind, TooManyRequests
from collector.requests import SyncState as Reported
from collector.sync import Limits
from collector.sync_store import SyncStore, held_by_syncs
from collector.syncs import Syncs
from store.pool import Database
from store.sql import load_queries
from tests.support.collecting import AT_ONCE, Time
from tests.support.locations import LocationBench
from validator.backups.inventory import Group, Inventory, to_document
from validator.backups.layout import Product
from validator.backups.runner import SyncResult
from validator.clock import Clock
from validator.health import CheckState, step
from validator.locations import Location
from validator.model import Check, Pair, SubjectId, Verdict

SYNC_QUERIES = load_queries(Path(collector.__path__[0]) / "syncs.sql")


def inventory(newest_at: float | None = 1_800_000_000.0, *, prefix: str = "", missing: int = 0) -> Inventory:
    """One store of Velero with one backup."""
    group = Group(Product.VELERO, prefix, 1, newest_at, "daily", "Completed")
    return Inventory(40, 4000, 1, (group,), ("backups/daily/daily.tar.gz",) * missing, missing, "")


def made_up_syncs(locations: Locations, clock: Clock) -> Syncs:
    """Those of a hub without a database: there are none."""
    return Syncs(
        SyncStore(cast("Database", None), {}),
        clock,
        PretendedRequests(),
        locations=lambda: locations.known,
        has_agent=lambda _: False,
        is_direct=lambda _: False,
        runner=None,
        names=lambda _: (),
        states=lambda _: {},
        record=lambda _: None,
        settings=SyncSettings,
    )


class PretendedRequests:
    """Agents that are asked."""

    def __init__(self) -> None:
        self.asked: dict[UUID, tuple[UUID, UUID]] = {}
        self.full = False

    def ask(self, cluster_id: UUID, kind: RequestKind, location_id: UUID, request_id: UUID) -> None:
        if self.full:
            raise TooManyRequests
        assert kind is RequestKind.SYNC
        self.asked[request_id] = (cluster_id, location_id)

    def withdraw(self, request_id: UUID) -> None:
        self.asked.pop(request_id, None)


class PretendedRunner:
    """The hub's own listing: waits for `go`, then gives `result`."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.result = SyncResult(40, inventory())
        self.progress: dict[UUID, Callable[[int, int | None], None]] = {}

    async def run(
        self, location: Location, request_id: UUID, progress: Callable[[int, int | None], None]
    ) -> SyncResult:
        self.progress[request_id] = progress
        await self.go.wait()
        return self.result


class SyncBench:
    """Syncs that lead, beside locations that do."""

    def __init__(self, bench: LocationBench, **limits: float) -> None:
        self.bench, self.db = bench, bench.db
        self.time: Time = bench.time
        self.requests, self.runner = PretendedRequests(), PretendedRunner()
        self.agents: set[UUID] = set()
        self.direct: set[str] = set()
        """Owners of locations that the hub lists itself."""
        self.names: dict[UUID, set[str]] = {}
        self.known: dict[SubjectId, dict[Check, CheckState]] = {}
        self.recorded: list[Verdict] = []
        self.settings = SyncSettings()
        self.syncs = Syncs(
            SyncStore(self.db, SYNC_QUERIES),
            self.time.clock,
            self.requests,
            locations=lambda: bench.locations.known,
            has_agent=lambda cluster_id: cluster_id in self.agents,
            is_direct=lambda location: location.owner in self.direct,
            runner=self.runner,
            names=self._names,
            states=self._states,
            record=self._record,
            settings=lambda: self.settings,
            limits=Limits(**limits),
        )

    async def lead(self) -> SyncBench:
        """At the epoch of the locations."""
        await self.syncs.load(await self.db.fetchval("SELECT epoch FROM leadership"))
        return self

    def _names(self, cluster_id: UUID) -> Collection[str]:
        return self.names.get(cluster_id, {f"cluster-{cluster_id.hex[:6]}"})

    def _states(self, pair: Pair) -> Mapping[Check, CheckState]:
        return self.known.get(pair, {})

    def _record(self, verdicts: Sequence[Verdict]) -> None:
        self.recorded += verdicts
        for each in verdicts:
            checks = self.known.setdefault(each.subject, {})
            checks[each.check] = step(checks.get(each.check), each, AT_ONCE)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[SyncBench]:
        """Until the block ends."""
        task = asyncio.create_task(self.syncs.run(), name="syncs")
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled(), task

    async def until(self, what: Callable[[], object]) -> None:
        """Memory has no event."""
        async with asyncio.timeout(5):
            while not what():  # noqa: ASYNC110 - memory has no event
                await asyncio.sleep(0.01)

    def say(self, request_id: UUID, state: Reported, listed: int = 40, **members: object) -> None:
        """The agent that was asked tells."""
        cluster_id, location_id = self.requests.asked[request_id]
        found = members.pop("inventory", to_document(inventory()) if state is Reported.SUCCEEDED else None)
        said = ReportedSync(state, None, str(members.pop("message", "")), listed, None, found)  # type: ignore[arg-type]
        answered = Answered(request_id, cluster_id, location_id, RequestKind.SYNC, sync=said)
        self.syncs.heard(answered if not members else Answered(**{**_members(answered), **members}))  # type: ignore[arg-type]


def _members(answered: Answered) -> dict[str, object]:
    return {name: getattr(answered, name) for name in Answered.__slots__}


async def sync_bench(db: Database, *new: BackupLocation, **limits: float) -> SyncBench:
    """With these locations, which a sync keeps from being deleted."""
    bench = await LocationBench(db, holdings=[held_by_syncs(SYNC_QUERIES)]).lead()
    for each in new:
        await bench.locations.create(each)
    return await SyncBench(bench, **limits).lead()
