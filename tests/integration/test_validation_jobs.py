"""Validation jobs in a real database: one a pair, written before shown, carried on by the next leader, gone with it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from uuid import UUID

import pytest

from collector.location_store import Reassignment
from collector.validation import JobState, Limits
from collector.validation_jobs import Nobody, Way
from store.errors import StoreConflict, StoreRefused
from store.pool import Database, Statements
from tests.support.collecting import add_clusters
from tests.support.locations import whole_schema
from tests.support.validating import NOBODY, ValidationBench, answer_of
from validator.model import Check, Pair
from validator.reasons import Reason

PENDING, IN_PROGRESS, VALID, FAILED = JobState


@pytest.fixture
async def db(database: Database) -> Database:
    return await whole_schema(database)


@pytest.fixture
async def bench(db: Database) -> ValidationBench:
    return await ValidationBench(db).lead()


@pytest.fixture
async def pairs(bench: ValidationBench) -> list[Pair]:
    return await bench.with_location(await add_clusters(bench.db, 4))


def clusters(pairs: list[Pair]) -> list[UUID]:
    return [pair.cluster_id for pair in pairs]


async def test_jobs_go_from_pending_to_their_end_each_for_itself(bench: ValidationBench, pairs: list[Pair]) -> None:
    one, two, three, offline = pairs
    async with bench.running():
        asked = await bench.jobs.ask(bench.location_id, clusters(pairs), "ann")
        assert {job.state for job in asked.jobs.values()} == {PENDING}
        assert asked.joined == frozenset()
        assert await bench.rows() == dict.fromkeys(pairs, "Pending")
        await bench.until(lambda: len(bench.carrier.taken) == 4)
        bench.carrier.begun(one, two, three)
        await bench.until(lambda: Counter(bench.states().values())[IN_PROGRESS] == 3)
        bench.time.advance(2)
        bench.carrier.answer(one, [answer_of(one), answer_of(one, Reason.OBJECT_LOCK_UNREADABLE, Check.OBJECT_LOCK)])
        bench.carrier.answer(two, [answer_of(two, Reason.ROLE_MISSING, text="no role")])
        await bench.until(lambda: bench.states()[two] is FAILED)
        expected = {one: VALID, two: FAILED, three: IN_PROGRESS, offline: PENDING}
        assert bench.states() == expected
        assert await bench.rows() == {pair: state.value for pair, state in expected.items()}
        assert bench.jobs.is_running(bench.location_id)
        assert bench.carrier.withdrawn == [one, two]
    ended = next(job for job in bench.jobs.of(bench.location_id) if job.pair == two)
    assert (ended.reason, ended.message, ended.method, ended.by) == (Reason.ROLE_MISSING, "no role", "direct", "ann")
    assert ended.ended_at == ended.asked_at + 2
    after = await ValidationBench(bench.db).lead()
    assert sorted(after.jobs.of(bench.location_id), key=lambda j: j.number) == sorted(
        bench.jobs.of(bench.location_id), key=lambda j: j.number
    )


async def test_what_is_told_is_committed_and_told_once(bench: ValidationBench, pairs: list[Pair]) -> None:
    pair = pairs[0]
    async with bench.running():
        await bench.jobs.ask(bench.location_id, [pair.cluster_id], "ann")
        await bench.until(lambda: bool(bench.carrier.taken))
        bench.carrier.begun(pair)
        bench.carrier.begun(pair)
        await bench.until(lambda: any(job.state is IN_PROGRESS for job in bench.told))
        bench.carrier.answer(pair, [answer_of(pair)])
        await bench.until(lambda: any(job.state is VALID for job in bench.told))
    steps = [job.state for job in bench.told]
    assert [state for at, state in enumerate(steps) if at == 0 or steps[at - 1] is not state] == [
        PENDING,
        IN_PROGRESS,
        VALID,
    ]


async def test_whoever_asks_while_one_is_under_way_joins_it(bench: ValidationBench, pairs: list[Pair]) -> None:
    """Also those who ask at the same moment, before any of them is answered."""
    written: list[str] = []

    async def beside(_: Statements) -> None:
        written.append("audited")

    asks = [bench.jobs.ask(bench.location_id, clusters(pairs), f"u{n}", beside) for n in range(5)]
    results = await asyncio.gather(*asks)
    assert Counter(len(each.joined) for each in results) == {0: 1, 4: 4}
    assert written == ["audited"]
    assert all(
        {c: j.id for c, j in each.jobs.items()} == {c: j.id for c, j in results[0].jobs.items()} for each in results
    )
    async with bench.running():
        await bench.until(lambda: len(bench.carrier.taken) == 4)
        bench.carrier.answer(pairs[0], [answer_of(pairs[0])])
        await bench.until(lambda: bench.states()[pairs[0]] is VALID)
        again = await bench.jobs.ask(bench.location_id, clusters(pairs), "ann")
    assert again.joined == set(clusters(pairs[1:]))
    assert again.jobs[pairs[0].cluster_id].id != results[0].jobs[pairs[0].cluster_id].id
    assert len(await bench.rows()) == 4


async def test_a_pair_that_nobody_asks_about_fails_at_once(db: Database) -> None:
    bench = await ValidationBench(db, lambda _: NOBODY).lead()
    [pair] = await bench.with_location(await add_clusters(db, 1))
    bench.time.advance(31)  # it leads for a while: the sources have been read
    async with bench.running():
        await bench.jobs.ask(bench.location_id, [pair.cluster_id], "ann")
        await bench.until(lambda: bench.states()[pair] is FAILED)
    [job] = bench.jobs.of(bench.location_id)
    assert (job.reason, job.message) == (Reason.NO_ASKER, "nobody asks: install the agent")


async def test_one_that_is_left_too_long_is_ended_and_delays_no_other(db: Database) -> None:
    bench = await ValidationBench(db, limits=Limits(answer_s=5, queued_s=20)).lead()
    pairs = await bench.with_location(await add_clusters(db, 3))
    hanging, waiting, quick = pairs
    async with bench.running():
        await bench.jobs.ask(bench.location_id, clusters(pairs), "ann")
        await bench.until(lambda: len(bench.carrier.taken) == 3)
        bench.carrier.begun(hanging, quick)
        bench.carrier.answer(quick, [answer_of(quick)])
        await bench.until(lambda: bench.states()[quick] is VALID)
        bench.time.advance(6)
        await bench.until(lambda: bench.states()[hanging] is FAILED)
        assert bench.states()[waiting] is PENDING
        bench.time.advance(15)
        await bench.until(lambda: bench.states()[waiting] is FAILED)
    assert {job.reason for job in bench.jobs.of(bench.location_id)} == {None, Reason.VALIDATION_TIMEOUT}
    assert bench.carrier.withdrawn == [quick, hanging, waiting]


async def test_a_clock_that_is_set_ends_no_job(bench: ValidationBench, pairs: list[Pair]) -> None:
    async with bench.running():
        await bench.jobs.ask(bench.location_id, clusters(pairs), "ann")
        await bench.until(lambda: len(bench.carrier.taken) == 4)
        bench.carrier.begun(*pairs)
        await bench.until(lambda: set(bench.states().values()) == {IN_PROGRESS})
        for step_s in (-7200.0, 7200.0, 7200.0):
            bench.time.step(step_s)
            bench.time.clock.follow(bench.time.clock.step_s())
            bench.jobs.shift(step_s)
            await asyncio.sleep(0.15)
        assert set(bench.states().values()) == {IN_PROGRESS}
        assert bench.carrier.withdrawn == []


async def test_an_unassigned_cluster_takes_its_job_along(bench: ValidationBench, pairs: list[Pair]) -> None:
    gone, stays = pairs[:2]
    async with bench.running():
        await bench.jobs.ask(bench.location_id, clusters(pairs[:2]), "ann")
        await bench.until(lambda: len(bench.carrier.taken) == 2)
        _, listener = bench.carrier.taken[gone]
        job = bench.carrier.taken[gone][0]
        await bench.locations.locations.reassign(
            Reassignment(bench.location_id, (), [gone.cluster_id], "bob", bench.time.clock.now())
        )
        assert await bench.rows() == {stays: "Pending"}
        assert bench.states() == {stays: PENDING}
        listener.answered(job, [answer_of(gone)])  # too late
        await bench.until(lambda: gone in bench.carrier.withdrawn)
        asked = await bench.jobs.ask(bench.location_id, [gone.cluster_id], "ann")
        assert asked.jobs == {}
        await asyncio.sleep(0.15)
        assert bench.states() == {stays: PENDING}


async def test_a_location_that_is_deleted_takes_its_jobs_along(bench: ValidationBench, pairs: list[Pair]) -> None:
    locations = bench.locations.locations
    async with bench.running():
        await bench.jobs.ask(bench.location_id, clusters(pairs), "ann")
        await bench.until(lambda: len(bench.carrier.taken) == 4)
        wanted = Reassignment(bench.location_id, (), clusters(pairs), "bob", bench.time.clock.now())
        await locations.reassign(wanted)
        await locations.delete(bench.location_id, "bob")
        removing = asyncio.create_task(locations.run(), name="locations")
        await bench.until(lambda: not locations.known and not bench.carrier.taken)
        removing.cancel()
        await asyncio.wait([removing])
    assert await bench.rows() == {}
    assert not bench.jobs.is_running(bench.location_id)


async def test_the_database_refuses_jobs_of_no_pair(bench: ValidationBench, pairs: list[Pair]) -> None:
    [stranger] = await add_clusters(bench.db, 1)
    with pytest.raises(StoreConflict):
        await bench.db.execute(
            "INSERT INTO validation_jobs (location_id, cluster_id, id, state, method, asked_at, by_whom, message) "
            "VALUES ($1, $2, $2, 'Pending', '', 0, '', '')",
            bench.location_id,
            stranger,
        )


async def test_what_a_carrier_gives_back_goes_to_whoever_asks_now(db: Database) -> None:
    ways: list[Way | Nobody] = []
    bench = await ValidationBench(db, lambda _: ways[0]).lead()
    bench.time.advance(31)
    ways.append(Way(bench.carrier, "direct"))
    [pair] = await bench.with_location(await add_clusters(db, 1))
    async with bench.running():
        await bench.jobs.ask(bench.location_id, [pair.cluster_id], "ann")
        await bench.until(lambda: pair in bench.carrier.taken)
        bench.carrier.begun(pair)
        job, listener = bench.carrier.taken.pop(pair)
        listener.answered(job, None)
        await bench.until(lambda: pair in bench.carrier.taken)
        await bench.until(lambda: bench.states()[pair] is IN_PROGRESS)
        ways[0] = NOBODY
        bench.carrier.answer(pair, [])
        await bench.until(lambda: bench.states()[pair] is FAILED)


async def test_a_carrier_without_room_is_asked_again(bench: ValidationBench, pairs: list[Pair]) -> None:
    bench.carrier.has_room = False
    async with bench.running():
        await bench.jobs.ask(bench.location_id, clusters(pairs), "ann")
        await asyncio.sleep(0.15)
        bench.carrier.has_room = True
        await bench.until(lambda: len(bench.carrier.taken) == 4)


async def test_steps_wait_for_a_database_that_is_away(bench: ValidationBench, pairs: list[Pair]) -> None:
    async with bench.running():
        await bench.jobs.ask(bench.location_id, clusters(pairs), "ann")
        await bench.until(lambda: len(bench.carrier.taken) == 4)
        await bench.db.execute("ALTER TABLE validation_jobs RENAME TO away")
        for pair in pairs:
            bench.carrier.begun(pair)
            bench.carrier.answer(pair, [answer_of(pair)])
        await asyncio.sleep(0.3)
        assert set(bench.states().values()) == {PENDING}
        await bench.db.execute("ALTER TABLE away RENAME TO validation_jobs")
        await bench.until(lambda: set(bench.states().values()) == {VALID})
    assert await bench.rows() == dict.fromkeys(pairs, "Valid")


async def test_a_request_whose_answer_was_lost_is_found_and_carried_out(
    bench: ValidationBench, pairs: list[Pair]
) -> None:
    real = bench.jobs._store.ask

    async def lost(*args: object) -> list[object]:
        await real(*args)  # type: ignore[arg-type]
        raise StoreRefused("the connection was lost")

    bench.jobs._store.ask = lost  # type: ignore[method-assign, assignment]
    with pytest.raises(StoreRefused):
        await bench.jobs.ask(bench.location_id, clusters(pairs), "ann")
    assert bench.states() == {}
    async with bench.running():
        await bench.until(lambda: len(bench.carrier.taken) == 4)


async def test_an_instance_that_leads_no_more_writes_nothing(bench: ValidationBench, pairs: list[Pair]) -> None:
    async with bench.running():
        await bench.jobs.ask(bench.location_id, clusters(pairs[:1]), "ann")
        await bench.until(lambda: len(bench.carrier.taken) == 1)
        after = await ValidationBench(bench.db).lead()
        bench.carrier.answer(pairs[0], [answer_of(pairs[0])])
        with pytest.raises(StoreRefused):
            await bench.jobs.ask(bench.location_id, clusters(pairs[1:]), "ann")
        await asyncio.sleep(0.2)
    assert await after.rows() == {pairs[0]: "Pending"}


# -- restarts


async def test_what_a_killed_hub_leaves_is_ended_by_the_next(
    bench: ValidationBench, pairs: list[Pair], database_url: str
) -> None:
    command = (sys.executable, "-m", "tests.support.abandoning", database_url)
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    assert await asyncio.wait_for(child.stdout.readline(), 20) == b"begun\n"
    child.send_signal(signal.SIGKILL)
    await child.wait()
    assert Counter((await bench.rows()).values()) == {"Valid": 1, "InProgress": 2, "Pending": 1}
    one, two, three, four = sorted(pairs)

    after = await ValidationBench(bench.db).lead()
    assert after.states() == {one: VALID, two: IN_PROGRESS, three: IN_PROGRESS, four: PENDING}
    before = {job.pair: job.id for job in after.jobs.of(after.location_id)}
    async with after.running():
        await after.until(lambda: len(after.carrier.taken) == 3)
        assert after.told == []
        after.carrier.begun(two, four)
        after.carrier.answer(two, [answer_of(two)])
        after.carrier.answer(four, [answer_of(four, Reason.ROLE_MISSING)])
        after.time.advance(130)  # nobody answers for the third
        await after.until(lambda: not after.jobs.is_running(after.location_id))
    assert after.states() == {one: VALID, two: VALID, three: FAILED, four: FAILED}
    assert {job.pair: job.id for job in after.jobs.of(after.location_id)} == before


async def test_after_a_restart_a_job_waits_for_somebody_to_ask(bench: ValidationBench, pairs: list[Pair]) -> None:
    """The sources have to be read first. Only a hub that has led for a while knows that nobody will come."""
    await bench.jobs.ask(bench.location_id, clusters(pairs), "ann")
    ways: list[Way | Nobody] = [NOBODY]
    after = await ValidationBench(bench.db, lambda _: ways[0]).lead()
    async with after.running():
        await asyncio.sleep(0.2)
        assert set(after.states().values()) == {PENDING}
        ways[0] = Way(after.carrier, "direct")
        await after.until(lambda: len(after.carrier.taken) == 4)


async def test_a_job_of_long_ago_ends_when_a_hub_comes_back(bench: ValidationBench, pairs: list[Pair]) -> None:
    await bench.jobs.ask(bench.location_id, clusters(pairs), "ann")
    after = ValidationBench(bench.db)
    after.time.advance(3600)
    await after.lead()
    async with after.running():
        await after.until(lambda: set(after.states().values()) == {FAILED})
    assert {job.reason for job in after.jobs.of(after.location_id)} == {Reason.VALIDATION_TIMEOUT}
    assert after.carrier.taken == {}
