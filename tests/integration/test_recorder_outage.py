"""The recorder while PostgreSQL is cut off, killed or full: nothing committed is lost or doubled, all is counted."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from uuid import UUID

import pytest

from store.embedded import EmbeddedPostgres
from store.pool import Database
from tests.support import disk
from tests.support.collecting import Bench, add_clusters, committed, flaws, prepare
from tests.support.disk import fill
from tests.support.line import ANSWERED, Line, open_line
from validator.reasons import Health, Reason

DOWN = Reason.CONNECT_TIMEOUT
NOT_READY = Reason.NOT_READY
small_disk = disk.small_disk


@asynccontextmanager
async def bench_on_a_line(url: str, direct: Database) -> AsyncIterator[tuple[Line, Bench, UUID]]:
    """A recorder behind a line, one cluster that is healthy, and the statements prepared on a connection."""
    async with open_line(url) as (line, through):
        database = await Database.open(through, connections=1)
        bench = Bench(database)
        await bench.lead()
        [cluster] = await add_clusters(direct, 1)
        bench.hear(cluster)
        assert await bench.recorder.flush()
        try:
            yield line, bench, cluster
        finally:
            await database.close()


class TestInDoubt:
    """The connection is cut between a commit and its answer, or just before the commit."""

    async def test_a_commit_whose_answer_was_lost_is_published_once(
        self, database_url: str, fleet_database: Database
    ) -> None:
        async with bench_on_a_line(database_url, fleet_database) as (line, bench, cluster):
            bench.hear(cluster, DOWN, message="went down")
            line.cut_at_answer = ANSWERED
            assert not await bench.recorder.flush()
            assert line.cuts == 1
            assert len(await committed(fleet_database)) == 2
            assert len(bench.told) == 1
            assert bench.recorder.pending(cluster)

            assert await bench.recorder.flush()
            assert [one.to_health for one in bench.told] == [Health.HEALTHY, Health.UNREACHABLE]
            assert bench.told == await committed(fleet_database)
            assert not bench.recorder.pending(cluster)
            assert bench.recorder.stats.conflicts == 0
            assert await bench.recorder.flush()
            assert await flaws(fleet_database, bench.told) == []

    async def test_a_commit_that_never_arrived_is_done_again(self, database_url: str, fleet_database: Database) -> None:
        async with bench_on_a_line(database_url, fleet_database) as (line, bench, cluster):
            bench.hear(cluster, DOWN, message="never heard of")
            line.cut_at_question = b"never heard of"
            assert not await bench.recorder.flush()
            assert line.cuts == 1
            assert len(await committed(fleet_database)) == 1
            assert await bench.recorder.flush()
            assert await flaws(fleet_database, bench.told) == []
            assert len(bench.told) == 2

    @pytest.mark.parametrize("afterwards", [NOT_READY, None], ids=["worse", "well again"])
    async def test_the_health_changes_again_while_the_commit_is_in_doubt(
        self, database_url: str, fleet_database: Database, afterwards: Reason | None
    ) -> None:
        """The second change is tried while the database is away, so that two versions are in doubt."""
        async with bench_on_a_line(database_url, fleet_database) as (line, bench, cluster):
            bench.hear(cluster, DOWN)
            line.cut_at_answer = ANSWERED
            assert not await bench.recorder.flush()
            line.down = True
            bench.hear(cluster, afterwards)
            assert not await bench.recorder.flush()
            line.down = False
            assert await bench.recorder.flush()
            assert await bench.recorder.flush()
            last = Health.HEALTHY if afterwards is None else Health.UNHEALTHY
            assert [one.to_health for one in bench.told] == [Health.HEALTHY, Health.UNREACHABLE, last]
            assert [one.collapsed for one in bench.told] == [0, 0, 0]
            assert bench.recorder.stats.conflicts == 0
            assert await flaws(fleet_database, bench.told) == []

    async def test_a_quiet_save_whose_answer_was_lost_loses_nothing_that_came_after_it(
        self, database_url: str, fleet_database: Database
    ) -> None:
        async with bench_on_a_line(database_url, fleet_database) as (line, bench, cluster):
            bench.hear(cluster, DOWN)
            bench.hear(cluster, message="it was a hiccup")  # two changes that collapse to none
            line.cut_at_answer = b"SELECT 0\0"
            assert not await bench.recorder.flush()
            assert line.cuts == 1
            assert await fleet_database.fetchval("SELECT changes FROM check_states") == 3
            bench.hear(cluster, NOT_READY)
            assert await bench.recorder.flush()
            assert await bench.recorder.flush()
            assert bench.health(cluster) is Health.UNHEALTHY
            assert [one.changes for one in bench.told] == [1, 4]
            assert bench.recorder.stats.conflicts == 0
            assert await flaws(fleet_database, bench.told) == []

    async def test_a_commit_that_is_cancelled_before_its_answer_is_published_by_the_next_flush(
        self, database_url: str, fleet_database: Database
    ) -> None:
        """As at SIGTERM: the recorder's task is cancelled, then the composition root flushes once more."""
        async with bench_on_a_line(database_url, fleet_database) as (line, bench, cluster):
            bench.hear(cluster, DOWN)
            line.hold_at_answer = ANSWERED
            flushing = asyncio.create_task(bench.recorder.flush(), name="flush")
            await line.held.wait()
            flushing.cancel()
            line.cut()
            await asyncio.wait([flushing])
            assert flushing.cancelled()
            assert len(await committed(fleet_database)) == 2
            assert await bench.recorder.flush()
            assert bench.told == await committed(fleet_database)
            assert bench.recorder.stats.conflicts == 0

    async def test_a_session_that_is_terminated_at_the_crash_point_costs_nothing(
        self, bench: Bench, database_url: str
    ) -> None:
        clusters = await add_clusters(bench.db, 8)
        for cluster in clusters:
            bench.hear(cluster, DOWN)
        killing: list[asyncio.Task[object]] = []
        other = await Database.open(database_url, application_name="killer", connections=1)

        def kill() -> None:
            sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'muster'"
            killing.append(asyncio.create_task(other.execute(sql), name="killer"))

        bench.at.do("before commit", kill)
        await bench.recorder.flush()
        await asyncio.gather(*killing)
        await other.close()
        await bench.until_written()
        assert len(bench.told) == 8
        assert await flaws(bench.db, bench.told) == []


class TestAway:
    async def test_changes_that_nobody_could_write_down_collapse_and_are_counted(
        self, database_url: str, fleet_database: Database
    ) -> None:
        async with bench_on_a_line(database_url, fleet_database) as (line, bench, cluster):
            line.down = True
            line.cut()
            for reason in (DOWN, None, DOWN, None, NOT_READY):
                bench.hear(cluster, reason)
                assert not await bench.recorder.flush()
            assert bench.recorder.degraded_since is not None
            assert bench.recorder.pending(cluster)
            assert bench.health(cluster) is Health.UNHEALTHY, "the picture goes on from memory"

            line.down = False
            assert await bench.recorder.flush()
            assert bench.recorder.degraded_since is None
            assert [(one.from_health, one.to_health, one.collapsed) for one in bench.told[1:]] == [
                (Health.HEALTHY, Health.UNHEALTHY, 4)
            ]
            assert bench.recorder.stats.collapsed == 4
            assert await flaws(fleet_database, bench.told) == []

    async def test_postgresql_is_killed_and_restarted_under_load(self, own_postgres: EmbeddedPostgres) -> None:
        random = Random(7)
        database = await Database.open(await own_postgres.start())
        await prepare(database)
        bench = Bench(database)
        await bench.lead()
        clusters = await add_clusters(database, 60)
        degraded = 0
        try:
            for _ in range(3):
                killer = asyncio.create_task(_kill_and_restart(own_postgres, random.uniform(0, 0.2)), name="killer")
                while not killer.done():
                    for cluster in random.sample(clusters, 30):
                        bench.hear(cluster, random.choice([None, DOWN, NOT_READY, Reason.CLOCK_SKEW]), after_s=0.01)
                    degraded += not await bench.recorder.flush()
                    await asyncio.sleep(0)
                await killer
                await bench.until_written()
            assert degraded > 0
            assert bench.recorder.degraded_since is None
            assert await bench.recorder.flush()
            assert await flaws(database, bench.told) == []
            assert len(bench.told) == len(await committed(database)), "what was in doubt is published too"
            counted = sum(one.collapsed for one in bench.told)
            assert counted <= bench.recorder.stats.collapsed
            after = bench.restarted()
            await after.lead()
            assert after.recorder.states == bench.recorder.states
        finally:
            await database.close()

    async def test_a_full_disk_is_survived_and_what_was_known_is_written_afterwards(self, small_disk: Path) -> None:
        server = EmbeddedPostgres(small_disk / "data", settings={"max_wal_size": "32MB"})
        try:
            database = await Database.open(await server.start())
            await prepare(database)
            bench = Bench(database)
            await bench.lead()
            clusters = await add_clusters(database, 600)
            filler = fill(small_disk)
            for cluster in clusters:
                bench.hear(cluster, DOWN, message="x" * 500, evidence={"w": "y" * 900}, after_s=0.001)
            assert not await bench.recorder.flush()
            assert bench.recorder.degraded_since is not None
            assert bench.recorder.pending(clusters[-1])

            filler.unlink()
            await bench.until_written()
            assert bench.recorder.degraded_since is None
            assert len(bench.told) == 600
            assert await flaws(database, bench.told) == []
            await database.close()
        finally:
            await server.stop()

    async def test_a_server_that_only_reads_keeps_everything_unwritten(
        self, database_url: str, fleet_database: Database
    ) -> None:
        name = database_url.rpartition("/")[2].partition("?")[0]
        bench = Bench(fleet_database)
        await bench.lead()
        one, other = await add_clusters(fleet_database, 2)
        bench.hear(one)
        await bench.recorder.flush()
        await fleet_database.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        reading = await Database.open(database_url)
        bench.recorder._writer._db = reading
        bench.hear(one, message="quiet")
        bench.hear(other, DOWN)
        assert not await bench.recorder.flush()
        assert len(bench.recorder._dirty) == 2
        await fleet_database.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await reading.close()
        bench.recorder._writer._db = fleet_database
        assert await bench.recorder.flush()
        assert sorted(row["message"] for row in await fleet_database.fetch("SELECT message FROM check_states")) == [
            "",
            "quiet",
        ]


async def _kill_and_restart(server: EmbeddedPostgres, after_s: float) -> None:
    await asyncio.sleep(after_s)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await server.exited()
    await server.start()
