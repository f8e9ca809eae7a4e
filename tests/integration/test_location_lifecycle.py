"""Locations in a real database: made once, changed by one writer at a time, fenced, deleted across crashes."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from collector.location import BackupLocation
from collector.location_store import Holder, HolderKind, LocationHeld, LocationStore, Reassignment
from collector.locations import (
    MAX_LOCATIONS,
    BucketShared,
    LocationConflict,
    NameTaken,
    TooManyLocations,
)
from store.errors import StoreConflict, StoreError, StoreRefused, StoreUnavailable
from store.pool import Database, Statements
from tests.support.collecting import add_clusters
from tests.support.locations import LOCATION_QUERIES, Held, LocationBench, new_location, whole_schema
from validator.locations import Provider


@pytest.fixture
async def db(database: Database) -> Database:
    return await whole_schema(database)


@pytest.fixture
async def bench(db: Database) -> LocationBench:
    return await LocationBench(db).lead()


@pytest.fixture
async def clusters(db: Database) -> list[UUID]:
    return await add_clusters(db, 4)


def change(
    location: BackupLocation, add: Sequence[UUID] = (), remove: Sequence[UUID] = (), version: int | None = None
) -> Reassignment:
    return Reassignment(location.id, add, remove, "bob", 1_800_000_100.0, version)


@asynccontextmanager
async def running(bench: LocationBench) -> AsyncIterator[None]:
    task = asyncio.create_task(bench.locations.run(), name="locations")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def until_gone(bench: LocationBench, *ids: UUID) -> None:
    async with asyncio.timeout(5):
        while any(each in bench.locations.known for each in ids):  # noqa: ASYNC110 - memory has no event
            await asyncio.sleep(0.01)


class TestCreation:
    async def test_what_is_made_is_found_again_by_the_next_leader(
        self, bench: LocationBench, clusters: list[UUID]
    ) -> None:
        azure = new_location(
            "azure",
            *clusters[:2],
            resource_group="rg-backup",
            subscription_id="12345678-1234-1234-1234-123456789abc",
            write_probe=True,
            encryption_key="https://acme.vault.azure.net/keys/backups",
            sync=True,
            owner="team-a",
            allow_shared=True,
        )
        minio = new_location(
            "minio",
            provider=Provider.S3,
            account=None,
            environment=None,
            container="daily",
            region="eu-central-1",
            endpoint="https://minio.example.com:9000",
            path_style=True,
        )
        for each in (azure, minio):
            assert await bench.locations.create(each) == each
            assert bench.locations.known[each.id] == each
        after = await LocationBench(bench.db).lead()
        assert dict(after.locations.known) == {azure.id: azure, minio.id: minio}
        assert after.locations.find("minio") == after.locations.find(str(minio.id)) == minio
        assert after.locations.find("mini") is None

    async def test_a_name_is_of_one_location_however_many_ask_at_once(self, bench: LocationBench) -> None:
        attempts = [bench.locations.create(new_location("one", container=f"c{n}00")) for n in range(6)]
        results = await asyncio.gather(*attempts, return_exceptions=True)
        made = [each for each in results if isinstance(each, BackupLocation)]
        taken = [each.current for each in results if isinstance(each, NameTaken)]
        assert (len(made), taken) == (1, made * 5)
        assert await bench.rows() == [("one", 1, False)]

    async def test_the_same_bucket_takes_somebody_who_means_it(self, bench: LocationBench) -> None:
        attempts = [bench.locations.create(new_location(f"l{n}")) for n in range(6)]
        results = await asyncio.gather(*attempts, return_exceptions=True)
        [first] = [each for each in results if isinstance(each, BackupLocation)]
        refused = [each for each in results if isinstance(each, BucketShared)]
        assert [each.others for each in refused] == [(first,)] * 5
        meant = await bench.locations.create(new_location("meant", allow_shared=True))
        assert bench.locations.sharing(first) == [meant]
        assert bench.locations.sharing(meant) == [first]
        with pytest.raises(BucketShared) as caught:
            await bench.locations.create(new_location("third"))
        assert caught.value.others == tuple(sorted((first, meant), key=lambda each: each.name))

    async def test_a_request_that_was_sent_before_finds_what_it_has_made(
        self, bench: LocationBench, clusters: list[UUID]
    ) -> None:
        asked = new_location("one", clusters[0])
        made = await bench.locations.create(asked)
        assert await bench.locations.create(asked) is made
        assert await (await LocationBench(bench.db).lead()).locations.create(asked) == made
        await bench.lead()
        for other in (new_location("one", clusters[0]), replace(asked, sync=True), replace(asked, assignments={})):
            with pytest.raises(NameTaken):
                await bench.locations.create(other)
        assert await bench.rows() == [("one", 1, False)]

    async def test_there_is_an_upper_bound(self, bench: LocationBench) -> None:
        for number in range(MAX_LOCATIONS):
            bench.locations._remember(new_location(f"l{number}", container=f"c{number:05}"))
        with pytest.raises(TooManyLocations):
            await bench.locations.create(new_location("one-more"))

    async def test_what_can_not_be_written_down_beside_it_does_not_happen(self, bench: LocationBench) -> None:
        async def no_audit(_: Statements) -> None:
            raise StoreUnavailable("the audit log can't be written")

        with pytest.raises(StoreUnavailable):
            await bench.locations.create(new_location("one"), no_audit)
        assert await bench.rows() == []
        await bench.locations.settle()
        assert not bench.locations.known
        made = await bench.locations.create(new_location("one"))
        with pytest.raises(StoreUnavailable):
            await bench.locations.reassign(change(made), no_audit)
        with pytest.raises(StoreUnavailable):
            await bench.locations.delete(made.id, "bob", None, no_audit)
        await bench.locations.settle()
        assert await bench.rows() == [("one", 1, False)]
        assert bench.locations.known[made.id] == made


class TestAssignment:
    async def test_each_change_is_a_version_and_says_who_did_it(
        self, bench: LocationBench, clusters: list[UUID]
    ) -> None:
        made = await bench.locations.create(new_location("one", *clusters[:2]))
        second = await bench.locations.reassign(change(made, add=clusters[1:3], remove=clusters[:1]))
        assert (second.version, set(second.assignments)) == (2, set(clusters[1:3]))
        assert [second.assignments[each].by for each in clusters[1:3]] == ["ann", "bob"]
        assert (await LocationBench(bench.db).lead()).locations.known[made.id] == second

    async def test_of_two_writers_who_saw_the_same_one_wins(self, bench: LocationBench, clusters: list[UUID]) -> None:
        made = await bench.locations.create(new_location("one"))
        attempts = [bench.locations.reassign(change(made, add=[each], version=1)) for each in clusters]
        results = await asyncio.gather(*attempts, return_exceptions=True)
        won = [each for each in results if isinstance(each, BackupLocation)]
        lost = [each.current for each in results if isinstance(each, LocationConflict)]
        assert (len(won), len(lost)) == (1, 3)
        assert {each.version for each in lost if each is not None} == {2}
        assert bench.locations.known[made.id] == won[0]

    async def test_those_who_add_their_own_cluster_do_not_undo_each_other(
        self, bench: LocationBench, clusters: list[UUID]
    ) -> None:
        made = await bench.locations.create(new_location("one"))
        await asyncio.gather(*(bench.locations.reassign(change(made, add=[each])) for each in clusters))
        known = bench.locations.known[made.id]
        assert (known.version, set(known.assignments)) == (5, set(clusters))

    async def test_a_cluster_that_is_forgotten_takes_its_assignment_along(
        self, bench: LocationBench, clusters: list[UUID]
    ) -> None:
        made = await bench.locations.create(new_location("one", *clusters[:2]))
        await bench.db.execute("DELETE FROM clusters WHERE id = $1", clusters[0])
        await bench.locations.refresh()
        assert set(bench.locations.known[made.id].assignments) == {clusters[1]}


class TestFence:
    async def test_a_leader_that_was_replaced_writes_nothing(self, bench: LocationBench, clusters: list[UUID]) -> None:
        made = await bench.locations.create(new_location("one"))
        gone = await bench.locations.create(new_location("gone", container="gone"))
        await bench.locations.delete(gone.id, "ann")
        held = Held(rows=10)
        former = await LocationBench(bench.db, forgettings=[held.forgetting]).lead()
        bench.locations = former.locations
        after = await LocationBench(bench.db).lead()
        for attempt in (
            lambda: bench.locations.create(new_location("two", container="other")),
            lambda: bench.locations.reassign(change(made, add=clusters)),
            lambda: bench.locations.delete(made.id, "bob"),
            lambda: bench.locations._store.remove(bench.locations._epoch, gone.id),
        ):
            with pytest.raises(StoreRefused, match="another instance leads"):
                await attempt()
        assert await bench.rows() == [("gone", 2, True), ("one", 1, False)]
        assert await bench.assigned() == 0
        assert (len(after.locations.known), held.rows) == (2, 10)

    async def test_writes_whose_answers_were_lost_are_found_again(self, db: Database, clusters: list[UUID]) -> None:
        lost = LocationBench(db)
        lost.locations._store = Lost(db, LOCATION_QUERIES)
        await lost.lead()
        new = new_location("one")
        with pytest.raises(StoreUnavailable):
            await lost.locations.create(new)
        assert not lost.locations.known
        with pytest.raises(StoreUnavailable):
            await lost.locations.reassign(change(new, add=clusters[:1]))
        assert lost.locations.known[new.id].version == 1, "what is in doubt is read before the next write"
        await lost.locations.settle()
        assert set(lost.locations.known[new.id].assignments) == {clusters[0]}
        with pytest.raises(StoreUnavailable):
            await lost.locations.reassign(change(new, remove=clusters))
        with pytest.raises(StoreUnavailable):
            await lost.locations.delete(new.id, "bob")
        async with running(lost):
            await until_gone(lost, new.id)


class Lost(LocationStore):
    """Commits, and does not hear of it."""

    async def insert(self, *args: Any) -> BackupLocation | None:
        await super().insert(*args)
        raise StoreUnavailable("the connection is lost")

    async def reassign(self, *args: Any) -> BackupLocation | None:
        await super().reassign(*args)
        raise StoreUnavailable("the connection is lost")

    async def begin_deletion(self, *args: Any) -> BackupLocation | None:
        await super().begin_deletion(*args)
        raise StoreUnavailable("the connection is lost")


class TestDeletion:
    async def test_it_is_marked_then_removed_and_its_name_is_free(self, bench: LocationBench) -> None:
        made = await bench.locations.create(new_location("one"))
        marked = await bench.locations.delete(made.id, "bob")
        assert (marked.deleting_by, marked.deleting_at, marked.version) == ("bob", bench.time.clock.now(), 2)
        with pytest.raises(NameTaken):
            await bench.locations.create(new_location("one"))
        async with running(bench):
            await until_gone(bench, made.id)
        assert await bench.rows() == []
        assert (await bench.locations.create(new_location("one"))).version == 1

    async def test_it_is_removed_at_once_where_the_task_runs_already(self, bench: LocationBench) -> None:
        made = await bench.locations.create(new_location("one"))
        async with running(bench):
            await asyncio.sleep(0.1)
            began = asyncio.get_running_loop().time()
            await bench.locations.delete(made.id, "bob")
            await until_gone(bench, made.id)
            assert asyncio.get_running_loop().time() - began < 1.0

    async def test_what_is_assigned_holds_it(self, bench: LocationBench, clusters: list[UUID]) -> None:
        made = await bench.locations.create(new_location("one", *clusters[:2]))
        with pytest.raises(LocationHeld) as caught:
            await bench.locations.delete(made.id, "bob")
        assert {(each.kind, each.id) for each in caught.value.holders} == {
            (HolderKind.CLUSTER, str(each)) for each in clusters[:2]
        }
        assert all(each.name.startswith("cluster-") for each in caught.value.holders)
        assert await bench.rows() == [("one", 1, False)]
        await bench.db.execute("UPDATE clusters SET gone_at = now() WHERE id = $1", clusters[0])
        with pytest.raises(LocationHeld):
            await bench.locations.delete(made.id, "bob")
        with pytest.raises(StoreConflict):  # the database itself says so, too
            await bench.db.execute("DELETE FROM locations")
        await bench.locations.reassign(change(made, remove=clusters))
        assert (await bench.locations.delete(made.id, "bob")).deleting_at is not None

    async def test_what_others_keep_holds_it(self, db: Database) -> None:
        sync = Holder(HolderKind.SYNC, "InProgress since 12:00")
        backup = Holder(HolderKind.BACKUP, "prod/velero/daily-1")
        held, other = Held(sync), Held(backup)
        bench = await LocationBench(db, holdings=[held.holding, other.holding]).lead()
        made = await bench.locations.create(new_location("one"))
        for left in ((sync, backup), (backup,)):
            with pytest.raises(LocationHeld) as caught:
                await bench.locations.delete(made.id, "bob")
            assert caught.value.holders == left
            held.holders = []
        other.holders = []
        await bench.locations.delete(made.id, "bob")

    async def test_whoever_begins_to_hold_it_meanwhile_is_seen_or_refused(
        self, bench: LocationBench, clusters: list[UUID]
    ) -> None:
        for number in range(10):
            made = await bench.locations.create(new_location(f"l{number}"))
            both = [bench.locations.reassign(change(made, add=clusters)), bench.locations.delete(made.id, "bob")]
            assigned, deleted = await asyncio.gather(*both, return_exceptions=True)
            assert isinstance(assigned, LocationConflict) != isinstance(deleted, LocationHeld), (assigned, deleted)
            known = bench.locations.known[made.id]
            assert bool(known.assignments) != (known.deleting_at is not None)
            await bench.db.execute("DELETE FROM assignments")
            await bench.db.execute("DELETE FROM locations")
            await bench.locations.refresh()

    async def test_nothing_is_assigned_to_what_is_going(self, bench: LocationBench, clusters: list[UUID]) -> None:
        made = await bench.locations.create(new_location("one"))
        marked = await bench.locations.delete(made.id, "bob")
        with pytest.raises(LocationConflict) as caught:
            await bench.locations.reassign(change(made, add=clusters))
        assert caught.value.current == marked
        assert await bench.assigned() == 0
        assert await bench.locations.delete(made.id, "eve") == marked

    async def test_only_the_state_that_was_seen_is_deleted(self, bench: LocationBench, clusters: list[UUID]) -> None:
        made = await bench.locations.create(new_location("one"))
        await bench.locations.reassign(change(made, add=clusters))
        await bench.locations.reassign(change(made, remove=clusters))
        with pytest.raises(LocationConflict):
            await bench.locations.delete(made.id, "bob", version=1)
        await bench.locations.delete(made.id, "bob", version=3)

    async def test_a_takeover_goes_on_where_the_former_leader_was(self, db: Database) -> None:
        held = Held(rows=35)
        bench = await LocationBench(db, forgettings=[held.forgetting]).lead()
        made = await bench.locations.create(new_location("one"))
        await bench.locations.delete(made.id, "bob")
        after = await LocationBench(db, forgettings=[held.forgetting]).lead()
        assert after.locations.known[made.id].deleting_by == "bob"
        async with running(after):
            await until_gone(after, made.id)
        assert (held.rows, held.asked, await after.rows()) == (0, 5, [])

    async def test_one_that_can_not_be_removed_keeps_no_other_waiting(self, db: Database) -> None:
        ids: list[UUID] = []

        async def fails_for_the_first(_: Statements, location_id: UUID) -> int:
            if location_id == ids[0]:
                raise StoreError("no")
            return 0

        bench = await LocationBench(db, forgettings=[fails_for_the_first]).lead()
        for name in ("one", "two"):
            ids.append((await bench.locations.create(new_location(name, container=name))).id)
            await bench.locations.delete(ids[-1], "bob")
        async with running(bench):
            await until_gone(bench, ids[1])
        assert await bench.rows() == [("one", 2, True)]

    async def test_a_late_answer_brings_nothing_back(self, bench: LocationBench) -> None:
        made = await bench.locations.create(new_location("one"))
        await bench.locations.delete(made.id, "bob")
        async with running(bench):
            await until_gone(bench, made.id)
        bench.locations._remember(made)
        assert not bench.locations.known
        assert await bench.locations.create(made) == made
        assert made.id in bench.locations.known


@pytest.mark.parametrize("dies_at", range(1, 5))
async def test_a_removal_that_is_killed_is_ended_by_the_next_process(
    db: Database, database_url: str, dies_at: int
) -> None:
    """SIGKILL in the middle of the pieces; nothing is left behind and nothing else is touched."""
    await db.execute("CREATE TABLE leftovers (location_id uuid NOT NULL, number int NOT NULL)")
    bench = await LocationBench(db).lead()
    made = await bench.locations.create(new_location("one"))
    kept = await bench.locations.create(new_location("kept", container="kept"))
    for each in (made, kept):
        await db.execute("INSERT INTO leftovers SELECT $1, generate_series(1, 30)", each.id)
    await bench.locations.delete(made.id, "bob")
    for step in (dies_at, 0):
        command = (sys.executable, "-m", "tests.support.removing", database_url, str(step))
        child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        async with asyncio.timeout(20):
            await child.communicate()
        assert child.returncode == (-signal.SIGKILL if step else 0)
        if step:
            assert await bench.rows() == [("kept", 1, False), ("one", 2, True)]
            left = await db.fetchval("SELECT count(*) FROM leftovers WHERE location_id = $1", made.id)
            assert left == 30 - 10 * (dies_at - 1)
    assert await bench.rows() == [("kept", 1, False)]
    assert await db.fetchval("SELECT count(*) FROM leftovers WHERE location_id = $1", made.id) == 0
    assert await db.fetchval("SELECT count(*) FROM leftovers WHERE location_id = $1", kept.id) == 30
