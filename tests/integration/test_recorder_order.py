"""Transitions are published in the order of their ids, so that an id is a point to go on from. On a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from uuid import UUID

from store.pool import Database
from tests.support.collecting import QUERIES, Bench, add_clusters, committed, flaws
from tests.support.line import ANSWERED, Line, open_line
from validator.health import HealthSettings
from validator.model import Check
from validator.reasons import Health, Reason

DOWN = Reason.CONNECT_TIMEOUT
NOT_READY = Reason.NOT_READY


@asynccontextmanager
async def fleet_on_a_line(url: str, direct: Database, clusters: int) -> AsyncIterator[tuple[Line, Bench, list[UUID]]]:
    """A recorder that commits through a line on several connections."""
    async with open_line(url) as (line, through):
        database = await Database.open(through, connections=4)
        bench = Bench(database)
        await bench.lead()
        try:
            yield line, bench, await add_clusters(direct, clusters)
        finally:
            await database.close()


async def retire(bench: Bench, direct: Database, cluster: UUID) -> None:
    await direct.execute(QUERIES["retire_clusters"], [cluster])
    bench.recorder.forget(cluster)


async def test_whatever_is_answered_first_the_ids_only_rise(bench: Bench) -> None:
    for cluster in await add_clusters(bench.db, 300):
        bench.hear(cluster, DOWN, after_s=0.001)
    assert await bench.recorder.flush()
    assert bench.told == await committed(bench.db)
    assert len(bench.told) == 300
    assert bench.recorder.position == bench.told[-1].id


async def test_what_is_committed_beside_a_lost_answer_waits_for_it(database_url: str, fleet_database: Database) -> None:
    async with fleet_on_a_line(database_url, fleet_database, 40) as (line, bench, clusters):
        for cluster in clusters:
            bench.hear(cluster)
        assert await bench.recorder.flush()
        first = len(bench.told)
        for cluster in clusters:
            bench.hear(cluster, DOWN)
        line.cut_at_answer = ANSWERED
        assert not await bench.recorder.flush()
        assert line.cuts == 1
        known = await committed(fleet_database)
        assert first < len(known)
        assert bench.told == known[: len(bench.told)], "no hole"
        assert len(bench.told) < len(known)

        await bench.until_written()
        assert bench.told == await committed(fleet_database)
        assert len(bench.told) == first + 40
        assert await flaws(fleet_database, bench.told) == []


async def test_answers_are_lost_again_and_again_while_clusters_come_and_go(
    database_url: str, fleet_database: Database
) -> None:
    random = Random(3)
    async with fleet_on_a_line(database_url, fleet_database, 12) as (line, bench, clusters):
        for number in range(60):
            for cluster in random.sample(clusters, 4):
                bench.hear(cluster, random.choice([None, DOWN, NOT_READY]), after_s=0.01)
            if number % 3 == 0:
                line.cut_at_answer = ANSWERED
            await bench.recorder.flush()
            if number % 10 == 4:
                await retire(bench, fleet_database, clusters.pop())
                clusters.extend(await add_clusters(fleet_database, 1))
        await bench.until_written()
        assert line.cuts > 5
        assert bench.told == await committed(fleet_database)


async def test_the_last_change_of_a_cluster_that_went_while_it_was_in_doubt_is_published(
    database_url: str, fleet_database: Database
) -> None:
    async with fleet_on_a_line(database_url, fleet_database, 2) as (line, bench, [one, other]):
        bench.hear(one, DOWN)
        line.cut_at_answer = ANSWERED
        assert not await bench.recorder.flush()
        await retire(bench, fleet_database, one)
        bench.hear(other, NOT_READY)
        assert await bench.recorder.flush()
        assert [told.cluster_id for told in bench.told] == [one, other]
        assert bench.told == await committed(fleet_database)
        assert bench.recorder._writer.publication.doubts == {}
        assert bench.recorder.stats.committed == 2


async def test_a_cluster_that_went_in_doubt_and_came_back_is_told_of_once_for_each_of_its_lives(
    database_url: str, fleet_database: Database
) -> None:
    """Both lives begin with version 1."""
    async with fleet_on_a_line(database_url, fleet_database, 1) as (line, bench, [cluster]):
        for _ in range(2):
            bench.hear(cluster, DOWN)
            line.cut_at_answer = ANSWERED
            assert not await bench.recorder.flush()
            await retire(bench, fleet_database, cluster)
            await fleet_database.execute("UPDATE clusters SET gone_at = NULL")
        bench.hear(cluster, NOT_READY)
        await bench.until_written()
        assert [told.to_health for told in bench.told] == [Health.UNREACHABLE, Health.UNREACHABLE, Health.UNHEALTHY]
        assert [told.changes for told in bench.told] == [1, 1, 1]
        assert bench.told == await committed(fleet_database)


async def test_a_cluster_that_went_before_its_commit_arrived_holds_nobody_up(
    database_url: str, fleet_database: Database
) -> None:
    async with fleet_on_a_line(database_url, fleet_database, 2) as (line, bench, [one, other]):
        bench.hear(one, DOWN, message="never heard of")
        line.cut_at_question = b"never heard of"
        assert not await bench.recorder.flush()
        await retire(bench, fleet_database, one)
        bench.hear(other, DOWN)
        assert await bench.recorder.flush()
        assert [told.cluster_id for told in bench.told] == [other]


async def test_a_row_that_is_no_good_holds_nobody_up(bench: Bench) -> None:
    one, *others = await add_clusters(bench.db, 20)
    bench.hear(one, DOWN, message="\0")
    for cluster in others:
        bench.hear(cluster, DOWN)
    assert not await bench.recorder.flush()
    assert len(bench.told) == 19
    assert bench.told == await committed(bench.db)


async def test_a_row_that_is_no_good_after_a_lost_answer_holds_nobody_up(
    database_url: str, fleet_database: Database
) -> None:
    async with fleet_on_a_line(database_url, fleet_database, 2) as (line, bench, [one, other]):
        bench.hear(one, DOWN)
        line.cut_at_answer = ANSWERED
        assert not await bench.recorder.flush()
        bench.hear(one, NOT_READY, message="\0")
        bench.hear(other, DOWN)
        for _ in range(3):
            await bench.recorder.flush()
        assert [told.cluster_id for told in bench.told] == [one, other]
        assert bench.told == await committed(fleet_database)


async def test_a_flush_that_is_cancelled_with_answers_on_their_way_is_made_good_by_the_last_one(
    database_url: str, fleet_database: Database
) -> None:
    """As at SIGTERM."""
    async with fleet_on_a_line(database_url, fleet_database, 30) as (line, bench, clusters):
        for cluster in clusters:
            bench.hear(cluster, DOWN)
        line.hold_at_answer = ANSWERED
        flushing = asyncio.create_task(bench.recorder.flush(), name="flush")
        await line.held.wait()
        flushing.cancel()
        line.cut()
        await asyncio.wait([flushing])
        assert flushing.cancelled()
        assert len(bench.told) < len(await committed(fleet_database))
        await bench.until_written()
        assert bench.told == await committed(fleet_database)
        assert len(bench.told) == 30


async def test_a_new_leader_goes_on_where_history_ends(bench: Bench) -> None:
    [cluster] = await add_clusters(bench.db, 1)
    assert bench.recorder.position == 0
    for reason in (DOWN, None, DOWN):
        bench.hear(cluster, reason)
        assert await bench.recorder.flush()
    after = Bench(bench.db, HealthSettings(fail_after=1, pass_after=1), bench.time)
    await after.lead()
    assert after.recorder.position == bench.recorder.position == bench.told[-1].id
    after.hear(cluster)
    assert await after.recorder.flush()
    assert after.told[0].id > bench.told[-1].id
    assert after.health(cluster, Check.APISERVER) is Health.HEALTHY
