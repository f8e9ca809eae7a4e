"""One listing at a time for a bucket, in a real database: whoever asks, whatever the location is called."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from collector.location_store import LocationHeld
from collector.requests import SyncState as Reported
from collector.sync import Sync, SyncState, estimate_s
from collector.sync_seams import LocationGoing, NoAsker, SyncBusy
from collector.sync_store import MAX_WAITING, SyncStore
from store.errors import StoreRefused
from store.pool import Database
from tests.support.collecting import Bench, add_clusters
from tests.support.locations import new_location, whole_schema
from tests.support.syncs import SYNC_QUERIES, inventory, sync_bench
from validator.backups.inventory import to_document
from validator.backups.runner import SyncResult
from validator.health import HealthSettings
from validator.model import Check, Outcome, Pair
from validator.reasons import Health, Reason


@pytest.fixture
async def db(database: Database) -> Database:
    return await whole_schema(database)


@pytest.fixture
async def clusters(db: Database) -> list[UUID]:
    return await add_clusters(db, 2)


async def nothing(_: object) -> None:
    """Beside nothing."""


class TestOneAtATime:
    async def test_of_two_writers_one_has_the_bucket_under_either_name(self, db: Database) -> None:
        locations = [new_location("a"), new_location("b", allow_shared=True)]
        bench = await sync_bench(db, *locations)
        epoch = await db.fetchval("SELECT epoch FROM leadership")
        stores = [SyncStore(db, SYNC_QUERIES) for _ in range(8)]
        new = [Sync(uuid4(), locations[n % 2].id, locations[0].bucket, None, "ann", 1.0, None) for n in range(8)]
        done = await asyncio.gather(
            *(store.begin(epoch, each, nothing, queue=False) for store, each in zip(stores, new, strict=True))
        )
        assert done.count(True) == 1
        rows = await db.fetch("SELECT bucket, holds FROM syncs")
        assert [(row["bucket"], row["holds"]) for row in rows] == [(locations[0].bucket, True)]
        with pytest.raises(StoreRefused):
            await stores[0].begin(epoch + 1, new[0], nothing, queue=False)
        with pytest.raises(NoAsker):
            await bench.syncs.start(locations[0], None, "ann", queue=False)

    async def test_a_refused_caller_is_told_who_and_may_wait(self, db: Database) -> None:
        a, b, other = new_location("a"), new_location("b", allow_shared=True), new_location("c", container="other")
        bench = await sync_bench(db, a, b, other)
        bench.direct = {"ann"}
        async with bench.running():
            first = await bench.syncs.start(a, None, "ann", queue=False)
            await bench.until(lambda: bench.runner.progress)
            bench.runner.progress[first.id](15, None)
            with pytest.raises(SyncBusy) as caught:
                await bench.syncs.start(b, None, "bob", queue=False)
            assert (caught.value.holder.id, caught.value.holder.listed, caught.value.full) == (first.id, 15, False)
            waits = await bench.syncs.start(b, None, "bob", queue=True)
            assert (waits.holds, bench.syncs.place(waits), bench.syncs.waiting(a.bucket)) == (False, 1, 1)
            assert (await bench.syncs.start(b, None, "eve", queue=True)).id == waits.id
            free = await bench.syncs.start(other, None, "ann", queue=False)
            assert free.holds
            bench.runner.go.set()
            await bench.until(lambda: not bench.syncs._open)
        assert [(bench.syncs.of(each.id).state, bench.syncs.of(each.id).by) for each in (a, b)] == [  # type: ignore[union-attr]
            (SyncState.SUCCEEDED, "ann"),
            (SyncState.SUCCEEDED, "bob"),
        ]
        kept = bench.syncs.inventory(a.id)
        assert kept is not None
        assert kept.inventory == inventory()

    async def test_the_queue_is_first_come_first_served_and_bounded(self, db: Database) -> None:
        locations = [new_location(f"l{n:02}", allow_shared=True) for n in range(MAX_WAITING + 2)]
        bench = await sync_bench(db, *locations)
        bench.direct = {"ann"}
        for each in locations[:-1]:
            await bench.syncs.start(each, None, "ann", queue=True)
        with pytest.raises(SyncBusy) as caught:
            await bench.syncs.start(locations[-1], None, "ann", queue=True)
        assert (caught.value.full, caught.value.waiting) == (True, MAX_WAITING)
        bench.runner.go.set()
        async with bench.running():
            await bench.until(lambda: not bench.syncs._open)
        ended = await db.fetch(
            "SELECT l.name FROM syncs s JOIN locations l ON l.id = location_id ORDER BY ended_at, number"
        )
        assert [row["name"] for row in ended] == [each.name for each in locations[:-1]]

    async def test_a_location_with_a_sync_can_not_be_deleted_nor_a_deleted_one_synced(self, db: Database) -> None:
        a = new_location("a")
        bench = await sync_bench(db, a)
        bench.direct = {"ann"}
        await bench.syncs.start(a, None, "ann", queue=False)
        with pytest.raises(LocationHeld) as caught:
            await bench.bench.locations.delete(a.id, "ann")
        assert [holder.name for holder in caught.value.holders] == ["Pending since 2027-01-15 08:00 UTC"]
        bench.runner.go.set()
        async with bench.running():
            await bench.until(lambda: not bench.syncs._open)
        await bench.bench.locations.delete(a.id, "ann")
        with pytest.raises(LocationGoing):
            await bench.syncs.start(a, None, "ann", queue=False)
        await db.execute("DELETE FROM locations")
        assert await db.fetchval("SELECT (SELECT count(*) FROM syncs) + (SELECT count(*) FROM inventories)") == 0


class TestAgents:
    async def test_its_inventory_is_kept_and_all_the_others_are_not_read_for_it(
        self, db: Database, clusters: list[UUID]
    ) -> None:
        """They have up to 40 KB each, and there is one a location."""
        a = new_location("a", *clusters)
        bench = await sync_bench(db, a)
        bench.agents = set(clusters)
        bench.syncs._store = SyncStore(db, {k: v for k, v in SYNC_QUERIES.items() if k != "read_inventories"})
        async with bench.running():
            sync = await bench.syncs.start(a, clusters[0], "ann", queue=False)
            await bench.until(lambda: bench.requests.asked)
            bench.say(sync.id, Reported.SUCCEEDED, inventory=to_document(inventory()))
            await bench.until(lambda: bench.syncs.open_of(a.id) is None)
        assert (kept := bench.syncs.inventory(a.id)) is not None
        after = await sync_bench(db)
        assert after.syncs.inventory(a.id) == kept

    async def test_an_agent_lists_and_only_its_own_pair_is_judged(self, db: Database, clusters: list[UUID]) -> None:
        a = new_location("a", *clusters)
        bench = await sync_bench(db, a)
        bench.agents = set(clusters)
        bench.names = {clusters[0]: {"berlin"}, clusters[1]: {"paris"}}
        async with bench.running():
            sync = await bench.syncs.start(a, clusters[0], "ann", queue=False)
            await bench.until(lambda: bench.requests.asked)
            bench.say(sync.id, Reported.IN_PROGRESS, 7)
            assert bench.syncs.of(a.id) is not None
            assert (bench.syncs.of(a.id).state, bench.syncs.of(a.id).listed) == (SyncState.IN_PROGRESS, 7)  # type: ignore[union-attr]
            bench.say(sync.id, Reported.SUCCEEDED, cluster_id=clusters[1])  # another's agent
            bench.say(sync.id, Reported.SUCCEEDED, location_id=uuid4())
            await asyncio.sleep(0.05)
            assert bench.syncs.open_of(a.id) is not None
            bench.time.advance(20)
            found = to_document(inventory(bench.time.wall_s - 3600, prefix="berlin"))
            bench.say(sync.id, Reported.SUCCEEDED, inventory=found)
            await bench.until(lambda: bench.recorded)
        verdicts = {(each.cluster_id, each.check): each.outcome for each in bench.recorded}
        assert verdicts == {
            (clusters[0], Check.BACKUPS): Outcome.PASS,
            (clusters[0], Check.MISSING_FILES): Outcome.PASS,
        }
        assert bench.requests.asked == {}
        last = bench.syncs.of(a.id)
        assert last is not None
        assert (last.state, last.ended_at) == (SyncState.SUCCEEDED, bench.time.wall_s)

    async def test_what_an_agent_sends_is_not_believed(self, db: Database, clusters: list[UUID]) -> None:
        a = new_location("a", clusters[0])
        bench = await sync_bench(db, a)
        bench.agents = set(clusters)
        async with bench.running():
            for found in ({"objects": "many"}, None, {}):
                sync = await bench.syncs.start(a, None, "ann", queue=True)
                await bench.until(lambda sync=sync: sync.id in bench.requests.asked)  # type: ignore[misc]
                bench.say(sync.id, Reported.SUCCEEDED, inventory=found)
                await bench.until(lambda: not bench.syncs._open)
                ended = bench.syncs.of(a.id)
                assert ended is not None
                assert (ended.state, ended.reason) == (SyncState.FAILED, Reason.UNEXPECTED_STORAGE_ANSWER)
        assert bench.recorded == []

    async def test_silence_ends_it_and_the_next_one_gets_the_bucket(self, db: Database, clusters: list[UUID]) -> None:
        a, b = new_location("a", clusters[0]), new_location("b", clusters[1], allow_shared=True)
        bench = await sync_bench(db, a, b, untaken_s=60.0, silent_s=60.0)
        bench.agents = set(clusters)
        async with bench.running():
            first = await bench.syncs.start(a, None, "ann", queue=False)
            second = await bench.syncs.start(b, None, "ann", queue=True)
            await bench.until(lambda: first.id in bench.requests.asked)
            bench.time.advance(61)
            await bench.until(lambda: second.id in bench.requests.asked)
            ended = bench.syncs.of(a.id)
            assert ended is not None
            assert (ended.state, ended.reason) == (SyncState.FAILED, Reason.AGENT_SILENT)
            assert first.id not in bench.requests.asked
            bench.say(second.id, Reported.IN_PROGRESS, 3)
            bench.time.advance(61)
            await bench.until(lambda: not bench.syncs._open)
            ended = bench.syncs.of(b.id)
            assert ended is not None
            assert (ended.listed, "no progress for 60 s" in ended.message) == (3, True)

    async def test_a_cluster_that_is_unassigned_lists_nothing(self, db: Database, clusters: list[UUID]) -> None:
        a = new_location("a", clusters[0])
        bench = await sync_bench(db, a)
        bench.agents = set(clusters)
        with pytest.raises(NoAsker):
            await bench.syncs.start(a, clusters[1], "ann", queue=False)
        await bench.syncs.start(a, clusters[0], "ann", queue=False)
        bench.bench.locations._known[a.id] = replace(a, assignments={})
        async with bench.running():
            await bench.until(lambda: not bench.syncs._open)
        assert bench.requests.asked == {}


class TestTakeover:
    async def test_the_next_hub_goes_on_and_what_is_too_old_has_failed(
        self, db: Database, clusters: list[UUID]
    ) -> None:
        a, b = new_location("a", clusters[0]), new_location("b", owner="provider", container="other")
        bench = await sync_bench(db, a, b)
        bench.agents, bench.direct = {clusters[0]}, {"provider"}
        async with bench.running():
            first = await bench.syncs.start(a, None, "ann", queue=False)
            second = await bench.syncs.start(b, None, "ann", queue=False)
            await bench.until(lambda: first.id in bench.requests.asked and second.id in bench.runner.progress)
        after = await sync_bench(db)
        after.agents, after.direct = bench.agents, bench.direct
        async with after.running():
            await after.until(lambda: first.id in after.requests.asked and second.id in after.runner.progress)
        late = await sync_bench(db)
        late.time.advance(7200)
        await late.lead()
        async with late.running():
            await late.until(lambda: not late.syncs._open)
        assert (late.requests.asked, late.runner.progress) == ({}, {})
        ended = late.syncs.of(a.id)
        assert ended is not None
        assert "The hub ended" in ended.message
        with pytest.raises(StoreRefused):  # the first hub does not lead any more
            await bench.syncs.start(a, None, "ann", queue=False)

    async def test_a_defect_of_the_hubs_listing_ends_one_sync(self, db: Database) -> None:
        a = new_location("a", owner="provider")
        bench = await sync_bench(db, a)
        bench.direct = {"provider"}
        bench.runner.result = SyncResult(3, reason=Reason.ROLE_MISSING, message="no right")
        bench.runner.go.set()
        async with bench.running():
            await bench.syncs.start(a, None, "ann", queue=False)
            await bench.until(lambda: not bench.syncs._open)
        ended = bench.syncs.of(a.id)
        assert ended is not None
        assert (ended.state, ended.reason, ended.message) == (SyncState.FAILED, Reason.ROLE_MISSING, "no right")


class TestInterval:
    async def test_the_first_sync_starts_at_creation_and_the_next_when_it_is_due(
        self, db: Database, clusters: list[UUID]
    ) -> None:
        bench = await sync_bench(db)
        bench.agents = {clusters[0]}
        async with bench.running():
            await asyncio.sleep(0.05)
            a = await bench.bench.locations.create(new_location("a", clusters[0], sync=True))
            await bench.bench.locations.create(new_location("no-flag", clusters[0], container="other"))
            bench.syncs.hasten()
            await bench.until(lambda: bench.requests.asked)
            [(first, asked)] = bench.requests.asked.items()
            assert asked == (clusters[0], a.id)
            bench.say(first, Reported.SUCCEEDED, inventory=to_document(inventory(bench.time.wall_s - 20 * 3600)))
            await bench.until(lambda: not bench.syncs._open)
            for hours, due in ((5.9, False), (0.2, True)):  # six hours later that backup is too old
                bench.time.advance(hours * 3600)
                bench.syncs.hasten()
                await asyncio.sleep(0.1)
                assert bool(bench.requests.asked) is due
            bench.say(next(iter(bench.requests.asked)), Reported.FAILED, message="refused")
            await bench.until(lambda: not bench.syncs._open)
            bench.time.advance(1800)
            bench.syncs.hasten()
            await asyncio.sleep(0.1)
            assert not bench.requests.asked
            bench.time.advance(1900)
            bench.syncs.hasten()
            await bench.until(lambda: bench.requests.asked)
        assert bench.known[Pair(clusters[0], a.id)][Check.BACKUPS].evidence["period_h"] == 6.0

    async def test_the_hub_lists_its_own_for_all_pairs(self, db: Database, clusters: list[UUID]) -> None:
        a = new_location("a", *clusters, owner="provider", sync=True)
        bench = await sync_bench(db, a)
        bench.direct = {"provider"}
        bench.names = {clusters[0]: {"berlin"}, clusters[1]: {"paris"}}
        bench.runner.result = SyncResult(40, inventory(bench.time.wall_s, prefix="x/berlin", missing=1))
        bench.runner.go.set()
        async with bench.running():
            await bench.until(lambda: len(bench.recorded) == 4)
        outcomes = {(each.cluster_id, each.check): (each.outcome, each.reason) for each in bench.recorded}
        assert outcomes == {
            (clusters[0], Check.BACKUPS): (Outcome.PASS, None),
            (clusters[1], Check.BACKUPS): (Outcome.FAIL, Reason.BACKUPS_TOO_OLD),
            (clusters[0], Check.MISSING_FILES): (Outcome.FINDING, Reason.BACKUP_FILES_MISSING),
            (clusters[1], Check.MISSING_FILES): (Outcome.FINDING, Reason.BACKUP_FILES_MISSING),
        }


async def test_one_listing_decides_where_a_line_that_flickers_needs_three(fleet_database: Database) -> None:
    [cluster] = await add_clusters(fleet_database, 1)
    bench = Bench(fleet_database, HealthSettings())
    await bench.lead()
    for check, after in ((Check.BACKUPS, Health.UNHEALTHY), (Check.APISERVER, Health.HEALTHY)):
        bench.hear(cluster, check=check)
        bench.hear(cluster, Reason.BACKUPS_TOO_OLD, check=check)
        assert bench.health(cluster, check) is after


def test_an_estimate_is_what_is_left_at_the_speed_so_far() -> None:
    sync = Sync(uuid4(), uuid4(), "b", None, "ann", 0.0, 400, holds=True, began_at=100.0, listed=100)
    assert estimate_s(sync, 110.0) == 30.0
    for unknown in (replace(sync, expected=None), replace(sync, listed=0), replace(sync, listed=500)):
        assert estimate_s(unknown, 110.0) is None
