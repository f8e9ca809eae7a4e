"""What is known of pairs, on a real PostgreSQL: in one history with their clusters', and gone with their assignment."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from collector.history import History, Only
from store.pool import Database
from tests.support.collecting import QUERIES, Bench, add_clusters, flaws, verdict
from validator.health import HealthSettings
from validator.model import Check, Pair, SubjectId
from validator.reasons import Health, Reason


async def add_location(db: Database, *clusters: UUID) -> UUID:
    location_id = uuid4()
    await db.execute(
        "INSERT INTO locations (id, name, provider, container, path_style, write_probe, sync, owner, bucket, "
        "allow_shared, created_at, created_by) "
        "VALUES ($1::uuid, $1::uuid::text, 's3', 'backups', false, false, false, 'us', $1::uuid::text, false, now(), "
        "'test')",
        location_id,
    )
    for cluster_id in clusters:
        await db.execute("INSERT INTO assignments VALUES ($1, $2, now(), 'test')", location_id, cluster_id)
    return location_id


def hear(bench: Bench, subject: SubjectId, reason: Reason | None = None, check: Check = Check.LOCATION) -> None:
    bench.time.advance(1.0)
    cluster_id, location_id = subject if isinstance(subject, Pair) else (subject, None)
    heard = verdict(cluster_id, bench.time.clock.now(), reason, check=check)
    bench.recorder.record([replace(heard, location_id=location_id)])


@pytest.fixture
async def pair(bench: Bench) -> Pair:
    [cluster_id] = await add_clusters(bench.db, 1)
    return Pair(cluster_id, await add_location(bench.db, cluster_id))


async def test_survive_a_restart_beside_the_cluster_s_own_checks(bench: Bench, pair: Pair) -> None:
    hear(bench, pair.cluster_id, check=Check.APISERVER)
    hear(bench, pair, Reason.ROLE_MISSING)
    hear(bench, pair, check=Check.OBJECT_LOCK)
    assert bench.recorder.pending(pair)
    assert bench.recorder.pending(pair.cluster_id)
    assert await bench.recorder.flush()
    assert not bench.recorder.pending(pair)
    hear(bench, pair, Reason.ROLE_MISSING)  # no change of health: the other statement
    assert await bench.recorder.flush()

    after = bench.restarted()
    await after.lead()
    assert after.recorder.states == bench.recorder.states
    assert after.recorder.states[pair][Check.LOCATION].health is Health.UNHEALTHY
    assert set(after.recorder.states[pair.cluster_id]) == {Check.APISERVER}
    assert await flaws(bench.db, bench.told) == []


async def test_are_in_one_order_of_ids_with_their_clusters(bench: Bench, pair: Pair) -> None:
    hear(bench, pair.cluster_id, check=Check.APISERVER)
    hear(bench, pair)
    await bench.recorder.flush()
    hear(bench, pair, Reason.NETWORK_BLOCKED)
    await bench.recorder.flush()
    assert [told.id for told in bench.told] == sorted(told.id for told in bench.told)
    ours = [told for told in bench.told if told.location_id == pair.location_id]
    assert [(told.cluster_id, told.to_health) for told in ours] == [
        (pair.cluster_id, Health.HEALTHY),
        (pair.cluster_id, Health.UNHEALTHY),
    ]
    history = History(bench.db, QUERIES)
    of_pair = Only(location_id=pair.location_id)
    assert await history.page(None, 10, None, of_pair) == ours[::-1]
    assert await history.page(pair.cluster_id, 10, None, of_pair) == ours[::-1]
    assert await history.page(uuid4(), 10, None, of_pair) == []
    assert sorted(told.id for told in await history.page(pair.cluster_id, 10)) == [told.id for told in bench.told]


async def test_go_with_their_assignment_and_begin_anew(bench: Bench, pair: Pair) -> None:
    hear(bench, pair, Reason.ROLE_MISSING)
    await bench.recorder.flush()
    await bench.db.execute("DELETE FROM assignments WHERE location_id = $1", pair.location_id)
    assert await bench.db.fetchval("SELECT count(*) FROM pair_states") == 0
    hear(bench, pair)  # an answer that was under way
    await bench.recorder.flush()
    bench.recorder.forget(pair)
    assert await bench.recorder.flush()
    assert await bench.db.fetchval("SELECT count(*) FROM pair_states") == 0
    assert bench.recorder.degraded_since is None

    await bench.db.execute("INSERT INTO assignments VALUES ($1, $2, now(), 'test')", pair.location_id, pair.cluster_id)
    hear(bench, pair)
    assert await bench.recorder.flush()
    assert [(told.from_health, told.changes) for told in bench.told] == [(Health.UNKNOWN, 1), (Health.UNKNOWN, 1)]


async def test_of_a_cluster_that_is_gone_are_gone_too(bench: Bench, pair: Pair) -> None:
    hear(bench, pair)
    await bench.recorder.flush()
    await bench.db.execute(QUERIES["retire_clusters"], [pair.cluster_id])
    after = bench.restarted()
    await after.lead()
    assert after.recorder.states == {}
    assert await bench.db.fetchval("SELECT count(*) FROM pair_states") == 0
    assert await bench.db.fetchval("SELECT count(*) FROM assignments") == 1, "which hold the location still"


async def test_an_old_leader_writes_none(bench: Bench, pair: Pair) -> None:
    successor = bench.restarted()
    await successor.lead()
    hear(bench, pair)
    assert not await bench.recorder.flush()
    assert await bench.db.fetchval("SELECT count(*) FROM pair_states") == 0


async def test_a_lost_answer_is_found_in_history(bench: Bench, pair: Pair) -> None:
    hear(bench, pair)

    def lost() -> None:
        raise ConnectionResetError

    bench.at.do("after commit", lost)
    with pytest.raises(BaseExceptionGroup):
        await bench.recorder.flush()
    assert bench.told == []
    await bench.until_written()
    assert [told.location_id for told in bench.told] == [pair.location_id]
    assert await flaws(bench.db, bench.told) == []


async def test_that_nobody_asks_any_more_is_known_at_once_and_held_through_nothing(bench: Bench, pair: Pair) -> None:
    """Two more such answers would be half an hour of green, at an age of seconds."""
    patient = Bench(bench.db, HealthSettings(), bench.time)
    await patient.lead()
    hear(patient, pair)
    await patient.recorder.flush()
    hear(patient, pair, Reason.ROLE_MISSING)
    assert patient.recorder.states[pair][Check.LOCATION].health is Health.HEALTHY  # what may flicker is confirmed first
    hear(patient, pair, Reason.NO_ASKER)
    state = patient.recorder.states[pair][Check.LOCATION]
    assert (state.health, state.reason, state.last_known) == (Health.UNKNOWN, Reason.NO_ASKER, Health.HEALTHY)
    await patient.recorder.flush()
    assert patient.told[-1].reason is Reason.NO_ASKER
    assert await flaws(patient.db, patient.told) == []
